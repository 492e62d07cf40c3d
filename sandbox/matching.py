"""Which shipped profile a server's command asks for: found by the package it starts, and by nothing else.

A name that only looks like it, another spelling, an alias, a URL, a path and a package from another
registry match nothing: what does not match gets `base`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sandbox.errors import SandboxError
from sandbox.policy import paths
from sandbox.policy.model import Files, Origin, PathRule, Policy
from sandbox.policy.search import shipped
from sandbox.policy.versions import within
from sandbox.records import dataclass, replace
from sandbox.supply import spec
from sandbox.supply.request import Request, parse

INDEX = "index.json"
Access = Literal["none", "read", "write"]
Known = Mapping[str, Mapping[str, Any]]

COMMAND = Origin("command")
"""Where a mount comes from that the command's own arguments name."""

# Options of the installers that do not change where a package comes from.
_SAME_SOURCE = frozenset(
    ("--prerelease", "--resolution", "--index-strategy", "--exclude-newer", "--native-tls", "--no-sources")
)


@dataclass(frozen=True, slots=True)
class Matched:
    """The profile of a command, and what of the command counts."""

    profile: str
    package: str
    """`npm:@scope/name`, `pypi:name` or `oci:name`, without a version."""
    version: str | None
    """The exact version that the command names or that is installed; None where a registry decides."""
    versions: str
    """Those that the profile was proven with, as it spells them; empty: any."""
    access: Access
    """How `paths` are mounted."""
    paths: tuple[str, ...]
    """Absolute paths that the command's own arguments name and that exist; none where `access` is `none`."""
    args: tuple[str, ...]
    """The server's own arguments; with `~/` spelt out in `paths`, since its home inside is another one."""

    def respelt(
        self, command: tuple[str, ...], request: Request | None
    ) -> tuple[tuple[str, ...], Request | None]:
        """The command and its request with these arguments."""
        if request is not None:
            before = request.args[: len(request.args) - len(self.args)]
            return command, replace(request, args=(*before, *self.args))
        return (*command[: len(command) - len(self.args)], *self.args), None


@dataclass(frozen=True, slots=True)
class _Package:
    """The package of a command, and the server's own arguments at its end."""

    name: str
    version: str | None
    args: tuple[str, ...]


def match(command: Sequence[str], environ: Mapping[str, str], cwd: str | None = None) -> Matched | None:
    """What `run -- COMMAND` finds in `cwd` (the current directory); None where no profile is for it."""
    try:
        request = parse(command)
    except SandboxError:
        return None  # `run` says what is wrong with it
    return matched(command, request, environ, cwd or os.getcwd())


def matched(
    command: Sequence[str], request: Request | None, environ: Mapping[str, str], cwd: str
) -> Matched | None:
    """As `match`, for a command whose request is known already."""
    known = index()
    package = _package(command, request, known, environ, cwd) if command else None
    if package is None:
        return None
    row = known[package.name]
    home = environ.get("HOME", "")
    named = named_paths(package.args, home, cwd) if row["paths"] != "none" else {}
    args = tuple(_at_home(word, home) if word in named else word for word in package.args)
    places = tuple(dict.fromkeys(named.values()))
    return Matched(row["profile"], package.name, package.version, row["versions"], row["paths"], places, args)


def index() -> Known:
    """By package, the shipped profile that names it; `scripts/build-index` writes the file."""
    import json

    try:
        with open(os.path.join(shipped(), INDEX), "rb") as file:
            found: Known = json.load(file)["packages"]
    except (OSError, ValueError):
        return {}
    return found


def row(policy: Policy) -> dict[str, Any]:
    """What the index says of a profile's packages."""
    own = parse(policy.server.command)
    packages = set(policy.match.packages)
    beside = [name for one in own.specs if (name := _name(own, one)) not in packages] if own else []
    return {
        "profile": policy.name,
        "versions": policy.match.versions,
        "paths": policy.match.paths,
        "with": beside,
        "programs": [own.bin] if own and own.bin else [],
    }


# --- the package -----------------------------------------------------------------------------------


def _package(
    command: Sequence[str], request: Request | None, known: Known, environ: Mapping[str, str], cwd: str
) -> _Package | None:
    if request is not None:
        return _requested(request, known)
    from sandbox.host.installed import installed  # where no registry is asked
    from sandbox.supply import docker_run

    if (run := docker_run.parse(command)) is not None:
        name = f"oci:{run.name}"
        # Another entry point is another program, and the arguments are paths of the image.
        return (
            _Package(name, run.tag or None, ()) if name in known and not run.values("--entrypoint") else None
        )
    found = installed(command, known, environ=environ, cwd=cwd)
    return _Package(found.package, found.version, tuple(command[found.words :])) if found else None


def _requested(request: Request, known: Known) -> _Package | None:
    """The package that a runner fetches, alone or with what its profile's own command adds to it."""
    names = [_name(request, one) for one in request.specs]
    args, program = request.args, request.bin
    if request.ecosystem == "pypi" and program == "python" and args[:1] == ("-m",) and len(args) > 1:
        args, program = args[2:], args[1].partition(".")[0]  # `uv run --with mcp-server-git python -m …`
    first = _first(names, program)
    row = known.get(first)
    if row is None or _elsewhere(request) or not _own_program(program, first, row):
        return None
    if any(name not in (first, *row["with"]) for name in names):
        return None
    return _Package(first, pinned_version(request.specs[names.index(first)]), args)


def _name(request: Request, one: str) -> str:
    return f"npm:{spec.npm_name(one)}" if request.ecosystem == "npm" else f"pypi:{spec.pypi_base(one)}"


def _first(names: Sequence[str], program: str | None) -> str:
    """The package named as the program, wherever it stands: `uv run --with A --with B b` starts B's."""
    wanted = f"pypi:{spec.normal(program or '')}"
    return wanted if wanted in names else names[0]


def _own_program(program: str | None, package: str, row: Mapping[str, Any]) -> bool:
    """Whether it is the package's own: a python of its tree would run anything, under its profile."""
    if program is None or program in row["programs"]:
        return True
    base = spec.normal(package.rpartition(":")[2].rpartition("/")[2])
    return spec.normal(program) in (base, f"mcp-{base}")


def _elsewhere(request: Request) -> bool:
    """Whether an option has the packages come from another place than the user's own registry."""
    options = [word for word in request.options if word.startswith("-")]
    return any(option not in _SAME_SOURCE for option in options)


def pinned_version(one: str) -> str | None:
    """The version of a canonical spec that names exactly one."""
    if "@" in one:
        return one[one.index("@", 1) + 1 :] if spec.npm_pinned(one) else None
    exact = [part for part in one[len(spec.pypi_base(one)) :].rpartition("]")[2].split(",") if part]
    return exact[0].lstrip("=") if len(exact) == 1 and spec.pypi_pinned(one) else None


# --- the paths that the command names --------------------------------------------------------------

_MOST_PATHS = 64
_PATH_STARTS = ("/", "./", "../", "~/")
# What every sandbox has of its own: there is nothing to mount.
_INSIDE_ANYWAY = frozenset(("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "dev"))


def named_paths(args: Sequence[str], home: str, cwd: str) -> dict[str, str]:
    """The arguments that are or hold (`--dir=./data`) a path that exists, and the absolute path of each."""
    found = {word: path for word in args if (path := _existing(_value(word), home, cwd))}
    return dict(list(found.items())[:_MOST_PATHS])


def _value(word: str) -> str:
    return word.partition("=")[2] if word.startswith("-") else word


def _existing(text: str, home: str, cwd: str) -> str:
    """The path that `text` spells as a path, if there is one; a bare name is a word like any other."""
    if text not in (".", "..", "~") and not text.startswith(_PATH_STARTS):
        return ""
    try:
        path = paths.expand(text, home=home, cwd=cwd, environ={})
        return path if path.split("/")[1] not in _INSIDE_ANYWAY and os.path.exists(path) else ""
    except ValueError:
        return ""  # `$`, `a/../b`, control characters: what no rule of a profile could say either


def _at_home(word: str, home: str) -> str:
    """`~/x` and `--dir=~/x` with the caller's home spelt out."""
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    return f"{option}{equals}{home}{value[1:]}" if value == "~" or value.startswith("~/") else word


# --- what a match grants ---------------------------------------------------------------------------


def granted(policy: Policy, found: Matched, environ: Mapping[str, str], cwd: str) -> Policy:
    """The policy with the command's own paths in the place of the profile's relative ones.

    A profile's `.` stands for the paths of its own command. It stays where this one names none, unless
    the working directory is or shows a secret place: a client with windows starts servers in a home.
    """
    access = policy.match.paths
    if access == "none":
        return policy
    keep = not found.paths and not _secret(cwd, environ)
    rules = tuple(PathRule(path, None, COMMAND) for path in found.paths)
    files = policy.files if keep else _without_relative(policy.files)
    if access == "read":
        files = replace(files, read=(*files.read, *rules))
    else:
        files = replace(files, write=(*files.write, *rules))
    origins = {**dict(policy.origins), **{f"files.{access}.{path}": COMMAND for path in found.paths}}
    return replace(policy, files=files, origins=tuple(origins.items()))


def _without_relative(files: Files) -> Files:
    read = tuple(rule for rule in files.read if not _relative(rule))
    return replace(files, read=read, write=tuple(rule for rule in files.write if not _relative(rule)))


def _relative(rule: PathRule) -> bool:
    """Whether a file, not an option of this run, says a path below the working directory."""
    return bool(rule.origin.line) and not rule.source.startswith(("/", "~", "$"))


def _secret(cwd: str, environ: Mapping[str, str]) -> bool:
    home = environ.get("HOME", "")
    places = paths.secret_places(home, environ)
    return any(
        paths.protected(real, home=at, places=places)
        for real in (cwd, os.path.realpath(cwd))
        for at in (home, os.path.realpath(home) if home else "")
    )


# --- what a person is told -------------------------------------------------------------------------


def told(found: Matched, before: Policy, after: Policy) -> str:
    """The line that says which profile was found, by what, and what the command's words changed of it."""
    access = {"read": "read-only", "write": "writable"}.get(after.match.paths, "")
    mounts = [
        f"`{rule.source}`" for rule in (*after.files.read, *after.files.write) if rule.origin == COMMAND
    ]
    text = f"profile `{found.profile}`, found by `{found.package}`"
    if mounts:
        text += f"; the command names {', '.join(mounts)}: {access}"
    elif after.files != before.files:
        text += "; the working directory is not mounted: it is or shows a secret place"
    return text


def unproven(found: Matched, policy: Policy, resolved: Sequence[str]) -> str:
    """The line for a version that the profile was not proven with; else nothing."""
    version = found.version or _resolved(found.package, resolved)
    if not policy.match.versions or not version or within(version, policy.match.versions) is not False:
        return ""
    proven = f"`{found.package}` {policy.match.versions}"
    return f"profile `{found.profile}` was proven with {proven}, and this is {version}"


def _resolved(package: str, resolved: Sequence[str]) -> str | None:
    """The version that a frozen tree holds of a package."""
    name = package.partition(":")[2]
    of = (one for one in resolved if one[1:].startswith(name[1:]) and one[0] == name[0])
    return next((version for one in of if _bare(one) == name and (version := pinned_version(one))), None)


def _bare(one: str) -> str:
    return spec.npm_name(one) if "@" in one else spec.pypi_base(one)


def unmatched(command: Sequence[str], request: Request | None) -> str:
    """The line for a server that no profile is for."""
    before = command[: len(command) - len(request.args)] if request and request.args else command
    whole = request is not None and not any(unsafe(word) for word in before)
    shown = " ".join(before) if whole else "COMMAND"
    return (
        "no profile is for this server, so it has no files and no network; "
        f"`mcp-sandbox profile new -- {shown}` writes one"
    )


def unsafe(word: str) -> bool:
    """Whether a shell would read more or less than the word itself, or a terminal would."""
    return not word or not all(char.isascii() and (char.isalnum() or char in "@%+=:,./-_") for char in word)
