"""Which packages a command such as `npx -y pkg` or `uvx pkg` asks for: a pure reading of its words."""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Mapping, Sequence

from sandbox.errors import SandboxError
from sandbox.hints import Literal
from sandbox.patterns import regex
from sandbox.records import dataclass, replace
from sandbox.supply import spec
from sandbox.supply.shell import decides, taken_apart

Kind = Literal["ignore", "skip", "package", "with", "python", "flag", "value"]
"""What an option means: nothing; nothing, with a value; …; a flag or a valued option of the installer."""
Table = Mapping[str, Kind]


@dataclass(frozen=True, slots=True)
class Request:
    """Packages of one registry and the program of theirs that is wanted; `specs` are canonical."""

    ecosystem: Literal["npm", "pypi"]
    specs: tuple[str, ...]
    runner: str
    bin: str | None = None
    """None: npx's rule (the sole bin, else the one named as the package)."""
    python: str | None = None
    args: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """Index options that the installer gets word for word."""
    no_project: bool = True
    """False where `uv run` would add the environment of a project in the working directory."""

    @property
    def pinned(self) -> bool:
        """Every package is named with one exact version."""
        exact = spec.npm_pinned if self.ecosystem == "npm" else spec.pypi_pinned
        return all(exact(each) for each in self.specs)

    @property
    def title(self) -> str:
        """The packages as a person names them."""
        return f"{' '.join(self.specs)} ({'npm' if self.ecosystem == 'npm' else 'PyPI'})"


@dataclass(frozen=True, slots=True)
class _Words:
    """A command line split at its first operand, options by kind."""

    runner: str
    rest: tuple[str, ...]
    named: Mapping[str, tuple[str, ...]]
    flags: frozenset[str]

    def one(self, kind: Kind) -> str | None:
        values = self.named.get(kind, ())
        return values[-1] if values else None


def _unsupported(runner: str, word: str, why: str = "") -> SandboxError:
    return SandboxError(
        "unsupported-option",
        f"`{word}` of `{runner}` {why or 'is not understood'}, so its packages cannot be frozen",
        hint="leave the option out, or install the package yourself and name its program as the command",
    )


_LOCAL_VALUE = regex(r"(https?|file)://|/|([\w.-]+=)(https?|file)://")
_PLACES = frozenset(
    (
        "--registry",
        "--index",
        "--default-index",
        "-i",
        "--index-url",
        "--extra-index-url",
        "-f",
        "--find-links",
    )
)


# Which Python it is is asked outside of any sandbox, so a file that anybody may have put somewhere is none.
_PYTHON = regex(r"[A-Za-z0-9<>=~!][\w.+<>=~!,*@-]*|/(?:usr|bin|opt|nix)/[\w.+@/-]+", re.ASCII)


def _value(runner: str, option: str, words: list[str], joined: str | None) -> str:
    if joined is None and not words:
        raise _unsupported(runner, option, "needs a value")
    value = words.pop(0) if joined is None else joined
    if option in _PLACES and not _LOCAL_VALUE.match(value):
        raise _unsupported(runner, f"{option} {value}", "is neither a URL nor an absolute path")
    return value


def _read(runner: str, words: Sequence[str], table: Table) -> _Words:
    """The options before the first operand or `--`; an option outside `table` is an error."""
    left, named, flags = list(words), dict[str, tuple[str, ...]](), set[str]()
    while left and left[0].startswith("-") and left[0] != "-":
        word = left.pop(0)
        if word == "--":
            flags.add(word)
            break
        option, equals, after = word.partition("=")
        kind = table.get(option)
        if kind is None or (equals and kind in ("ignore", "flag")):
            raise _unsupported(runner, word)
        flags.add(option)
        if kind == "flag":
            named["installer"] = (*named.get("installer", ()), option)
        elif kind == "value":
            value = _value(runner, option, left, after if equals else None)
            named["installer"] = (*named.get("installer", ()), option, value)
        elif kind != "ignore":
            value = _value(runner, option, left, after if equals else None)
            if kind == "python" and not (_PYTHON.fullmatch(value) and "/../" not in value):
                raise _unsupported(runner, f"{option} {value}", "is no version, such as `3.12`")
            named[kind] = (*named.get(kind, ()), value)
    return _Words(runner, tuple(left), named, frozenset(flags))


_NPX: Table = {
    **dict.fromkeys(
        ("-y", "--yes", "-q", "--quiet", "-s", "--silent", "--prefer-online", "--prefer-offline"), "ignore"
    ),
    **dict.fromkeys(("--no-audit", "--no-fund", "--no-update-notifier", "--ignore-existing"), "ignore"),
    **dict.fromkeys(("--loglevel", "--cache"), "skip"),
    **dict.fromkeys(("-p", "--package"), "package"),
    "--registry": "value",
}
_BUNX: Table = {**dict.fromkeys(("-p", "--package"), "package"), "--silent": "ignore", "--verbose": "ignore"}
_DLX: Table = {**dict.fromkeys(("-p", "--package"), "package"), **dict.fromkeys(("-s", "--silent"), "ignore")}
_UVX: Table = {
    **dict.fromkeys(("-q", "--quiet", "-v", "--verbose", "-n", "--no-cache", "--isolated"), "ignore"),
    **dict.fromkeys(("--no-progress", "--no-env-file", "--no-python-downloads", "--no-build"), "ignore"),
    **dict.fromkeys(("--color", "--cache-dir"), "skip"),
    **dict.fromkeys(("--with", "-w"), "with"),
    **dict.fromkeys(("--python", "-p"), "python"),
    **dict.fromkeys(("--native-tls", "--no-config", "--no-index", "--no-sources"), "flag"),
    **dict.fromkeys(("--prerelease", "--resolution", "--index-strategy", "--exclude-newer"), "value"),
    **dict.fromkeys(("--index", "--default-index", "-i", "--index-url", "--extra-index-url"), "value"),
    **dict.fromkeys(("-f", "--find-links", "--allow-insecure-host"), "value"),
    "--from": "package",
}
_UV_RUN: Table = {
    **{option: kind for option, kind in _UVX.items() if kind != "package"},
    **dict.fromkeys(("-m", "--module"), "ignore"),
    "--no-project": "ignore",
}
# These make `uv run` a project's: without `--with` it is left alone, with it there is nothing to freeze.
_PROJECT: Table = {
    **dict.fromkeys(("--directory", "--project", "--package", "--extra", "--group", "--env-file"), "skip"),
    **dict.fromkeys(("--all-extras", "--dev", "--no-dev", "--no-sync", "--frozen", "--locked"), "ignore"),
}
_PIPX: Table = {
    **dict.fromkeys(("-q", "--quiet", "-v", "--verbose", "--no-cache"), "ignore"),
    "--spec": "package",
    "--python": "python",
    "--with": "with",
    **dict.fromkeys(("-i", "--index-url"), "value"),
}


def _operand(words: _Words) -> tuple[str, tuple[str, ...]]:
    if not words.rest:
        raise SandboxError(
            "no-package",
            f"`{words.runner}` names no package to run",
            hint=f"name one, for example `{words.runner} some-mcp-server`",
        )
    return words.rest[0], words.rest[1:]


def _npm(words: _Words) -> Request:
    """npx, and what follows its rule: without `-p` the operand is the package, with it the program."""
    first, args = _operand(words)
    packages = words.named.get("package", ())
    if packages and (first.startswith((".", "/")) or "/" in first):
        raise _unsupported(words.runner, first, "is a path, not a program of the packages")
    return Request(
        "npm",
        tuple(spec.npm(each) for each in (packages or (first,))),
        words.runner,
        bin=first if packages else None,
        args=args,
        options=words.named.get("installer", ()),
    )


def _npm_exec(words: _Words) -> Request:
    """`npm exec` reads options up to `--`, even after the package."""
    request = _npm(words)
    if "--" in words.flags:
        return request
    cut = request.args.index("--") if "--" in request.args else len(request.args)
    before, after = request.args[:cut], request.args[cut + 1 :]
    for word in before:
        if word.startswith("-"):
            raise _unsupported(
                words.runner, word, "comes after the package and before `--`, where npm reads it itself"
            )
    return replace(request, args=(*before, *after))


def _pypi(words: _Words, *, bin: str, packages: Sequence[str], args: tuple[str, ...]) -> Request:
    extra = [one for each in words.named.get("with", ()) for one in spec.split_with(each)]
    return Request(
        "pypi",
        tuple(spec.pypi(each) for each in (*packages, *extra)),
        words.runner,
        bin=bin,
        python=words.one("python"),
        args=args,
        options=words.named.get("installer", ()),
    )


def _uvx(words: _Words) -> Request:
    """The operand is the program; its package is `--from`'s (`--spec`'s for pipx), else its own name."""
    first, args = _operand(words)
    package = words.one("package")
    if package is None:
        return _pypi(words, bin=spec.pypi_name(first), packages=[first], args=args)
    if not spec.is_program(first):
        raise _unsupported(words.runner, first, "is not the name of a program")
    return _pypi(words, bin=first, packages=[package], args=args)


def _uv_run(words: _Words) -> Request | None:
    """`uv run --with X program`; without `--with` it runs a project, which is the user's own tree."""
    if not words.named.get("with"):
        return None
    if of_project := sorted(words.flags & _PROJECT.keys()):
        raise _unsupported(words.runner, of_project[0], "names a project")
    program, args = _operand(words)
    if words.flags & {"-m", "--module"}:
        program, args = "python", ("-m", program, *args)
    if program.endswith((".py", ".pyw")) or not spec.is_program(program):
        raise _unsupported(
            words.runner, program, "is a script: name `python` and the script as its argument, not the script"
        )
    request = _pypi(words, bin=program, packages=(), args=args)
    return replace(request, no_project="--no-project" in words.flags)


_RUNNERS: Mapping[tuple[str, ...], tuple[Table, Callable[[_Words], Request | None]]] = {
    ("npx",): (_NPX, _npm),
    ("npm", "exec"): (_NPX, _npm_exec),
    ("npm", "x"): (_NPX, _npm_exec),
    ("bunx",): (_BUNX, _npm),
    ("bun", "x"): (_BUNX, _npm),
    ("pnpm", "dlx"): (_DLX, _npm),
    ("pnpx",): (_DLX, _npm),
    ("yarn", "dlx"): (_DLX, _npm),
    ("uvx",): (_UVX, _uvx),
    ("uv", "tool", "run"): (_UVX, _uvx),
    ("uv", "run"): ({**_UV_RUN, **_PROJECT}, _uv_run),
    ("pipx", "run"): (_PIPX, _uvx),
}
_LONGEST = max(map(len, _RUNNERS))


def parse(command: Sequence[str]) -> Request | None:
    """The packages that `command` would fetch and run; None where it is no package runner at all."""
    if not command:
        return None
    variables, command = taken_apart(command)
    words = (os.path.basename(command[0]), *command[1:])
    for length in range(_LONGEST, 0, -1):
        found = _RUNNERS.get(words[:length])
        if found is None or len(words) < length:
            continue
        if words[:2] == ("uv", "run") and not any(word.startswith(("--with", "-w")) for word in words):
            return None
        table, build = found
        refuse_steered(command[0], variables)
        return build(_read(command[0], words[length:], table))
    return None


# What a build's settings (`supply.settings`) and an engine are found by: no variable of the server's own.
_STEERS = regex(
    r"(npm_config|uv|pip|pipx|bun|pnpm|yarn)_.*|npm_token|node_auth_token|(https?|all|no)_proxy"
    r"|node_extra_ca_certs|ssl_cert_.*|\w+_ca_bundle|netrc|home|xdg_\w+|virtual_env|docker_.*|container_host",
    re.ASCII,
)


def refuse_steered(runner: str, variables: Mapping[str, str]) -> None:
    """The variables of `env` reach the server alone: what is meant for what fetches it would be lost."""
    for name in variables:
        if decides(name):
            raise SandboxError(
                "unsupported-option",
                f"`env {name}=…` before `{runner}` may have other code run than its package's",
                hint=f"`--set-env {name}=…` gives it to the server, if that is what it is for",
            )
        if _STEERS.fullmatch(name.lower()):
            raise SandboxError(
                "unsupported-option",
                f"`env {name}=…` before `{runner}` says how it is fetched, and would reach the server alone",
                hint=f"set `{name}` where mcp-sandbox itself is started",
            )
