"""Which shipped profile a server's command asks for: found by the package it starts, and by nothing else.

A name that only looks like it, another spelling, an alias, a URL, a path and a package from another
registry match nothing: what does not match gets `base`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from sandbox.errors import ProfileError, SandboxError
from sandbox.hints import Any, Literal
from sandbox.places import config_dir
from sandbox.policy import paths
from sandbox.policy.load import content_of, read
from sandbox.policy.model import Policy
from sandbox.policy.search import SUFFIX, names_in, project, shipped
from sandbox.prepared import Matched
from sandbox.records import dataclass
from sandbox.supply import spec
from sandbox.supply.request import Request, parse
from sandbox.supply.shell import behind_env

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.supply.docker_run import DockerRun

INDEX = "index.json"
Access = Literal["none", "read", "write"]
Known = Mapping[str, Mapping[str, Any]]

# Options of the installers that do not change where a package comes from.
_SAME_SOURCE = frozenset(
    ("--prerelease", "--resolution", "--index-strategy", "--exclude-newer", "--native-tls", "--no-sources")
)


@dataclass(frozen=True, slots=True)
class _Package:
    """The package of a command, and the server's own arguments at its end."""

    name: str
    version: str | None
    args: tuple[str, ...]
    place: str = ""


def match(command: Sequence[str], environ: Mapping[str, str], cwd: str | None = None) -> Matched | None:
    """What `run -- COMMAND` finds in `cwd` (the current directory); None where no profile is for it."""
    try:
        request = parse(command)
        behind = behind_env(command)
        return best(command if behind is None else behind[1], request, environ, cwd or os.getcwd())
    except (SandboxError, ValueError):
        return None  # `run` says what is wrong with it; no path has a NUL, nor half of a surrogate pair


def best(
    command: Sequence[str], request: Request | None, environ: Mapping[str, str], cwd: str
) -> Matched | None:
    """The profile for a command: one of the user's own that is for its package, else the shipped one.

    What a project brings along says itself what package it is: it gets a profile by name alone.
    """
    found = _best(command, request, environ, cwd) if command else None
    return None if found is None or _of_project(found.place, environ, cwd) else found


def _of_project(place: str, environ: Mapping[str, str], cwd: str) -> bool:
    folder = project(environ.get("HOME", ""), cwd)
    return bool(place and folder) and paths.below(place, os.path.realpath(folder))


def _best(
    command: Sequence[str], request: Request | None, environ: Mapping[str, str], cwd: str
) -> Matched | None:
    for name in _mentioning(request, environ):
        policy = read(name, environ=environ, cwd=cwd, trusted_only=True)
        known = dict.fromkeys(policy.match.packages, row(policy))
        if (own := matched(command, request, environ, cwd, known)) is not None:
            return own
    return matched(command, request, environ, cwd)


def matched(
    command: Sequence[str],
    request: Request | None,
    environ: Mapping[str, str],
    cwd: str,
    known: Known | None = None,
) -> Matched | None:
    """As `match`, for a command whose request is known already, among the shipped profiles or `known`."""
    known = index() if known is None else known
    package = _package(command, request, known, environ, cwd) if command else None
    if package is None:
        return None
    row = known[package.name]
    home = environ.get("HOME", "")
    named = _mounted(package.args, row["paths"], environ, cwd)
    args = tuple(_at_home(word, home) if word in named else word for word in package.args)
    places = tuple(dict.fromkeys(named.values()))
    return Matched(
        row["profile"],
        package.name,
        package.version,
        row["versions"],
        row["paths"],
        places,
        args,
        package.place,
    )


def index() -> Known:
    """By package, the shipped profile that names it; `scripts/build-index` writes the file."""
    import json

    path = os.path.join(shipped(), INDEX)
    try:
        with open(path, "rb") as file:
            found: Known = json.load(file)["packages"]
    except (OSError, ValueError, KeyError) as error:
        what = f"`{path}`, which comes with the program, cannot be read: {error}"
        raise ProfileError("unreadable-index", what, hint="install mcp-sandbox again") from None
    return found


def row(policy: Policy) -> dict[str, Any]:
    """What the index says of a profile's packages."""
    own = parse(policy.server.command)
    packages = set(policy.match.packages)
    beside = [name for one in own.specs if (name := name_of(own, one)) not in packages] if own else []
    return {
        "profile": policy.name,
        "versions": policy.match.versions,
        "paths": policy.match.paths,
        "with": beside,
        "programs": [own.bin] if own and own.bin else [],
    }


# --- the user's own profiles ------------------------------------------------------------------------

_MENTIONED = rb"""["']((?:npm|pypi|oci):[a-z0-9@~][a-z0-9@~._:/-]{0,212})["']"""
# A name may be spelt in escapes (TOML 1.0, strings): then the file is read as what it is.
_ESCAPED = (b"\\u", b"\\U")


def _mentioning(request: Request | None, environ: Mapping[str, str]) -> list[str]:
    """The user's own profiles whose text mentions what the command could start; a load says whether."""
    folder = os.path.join(config_dir(environ), "profiles")
    names = sorted(names_in(folder))
    wanted = {name_of(request, one).encode() for one in request.specs} if request else None
    return [name for name in names if _mentions(os.path.join(folder, name + SUFFIX), wanted)]


def _mentions(path: str, wanted: set[bytes] | None) -> bool:
    text = content_of(path)  # one that cannot be read stops the start: it may be the stricter one
    packages = set(re.findall(_MENTIONED, text))
    return any(one in text for one in _ESCAPED) or bool(packages if wanted is None else packages & wanted)


# --- the package -----------------------------------------------------------------------------------


def _package(
    command: Sequence[str], request: Request | None, known: Known, environ: Mapping[str, str], cwd: str
) -> _Package | None:
    if request is not None:
        return _requested(request, known)
    if (run := image_run(command)) is not None:
        name = f"oci:{run.name}"
        # Another entry point is another program, and the arguments are paths of the image.
        own = name in known and not run.values("--entrypoint")
        return _Package(name, run.tag or None, ()) if own else None
    from sandbox.host.installed import installed  # where no registry is asked

    found = installed(command, known, environ=environ, cwd=cwd)
    if found is None:
        return None
    return _Package(found.package, found.version, tuple(command[found.words :]), found.place)


def image_run(command: Sequence[str]) -> DockerRun | None:
    """What `docker run IMAGE` and its kin ask for."""
    if os.path.basename(command[0]) not in ("docker", "podman", "nerdctl"):
        return None
    from sandbox.supply import docker_run

    return docker_run.parse(command)


def _requested(request: Request, known: Known) -> _Package | None:
    """The package that a runner fetches, alone or with what its profile's own command adds to it."""
    names = [name_of(request, one) for one in request.specs]
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


def name_of(request: Request, one: str) -> str:
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
    """Whether an option has the packages come from another registry than the user's, or another python."""
    options = [word for word in request.options if word.startswith("-")]
    own_python = request.python is not None and "/" in request.python
    return own_python or any(option not in _SAME_SOURCE for option in options)


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
    found = ((word, spelt(_value(word), home, cwd)) for word in args[:_MOST_PATHS])
    return {word: path for word, path in found if path and os.path.exists(path)}


def _mounted(args: Sequence[str], access: Access, environ: Mapping[str, str], cwd: str) -> dict[str, str]:
    """The arguments that name what is mounted, and the mount of each."""
    home = environ.get("HOME", "")
    if access == "none":
        return {}
    if access == "read":
        return named_paths(args, home, cwd)
    found = ((word, spelt(_value(word), home, cwd)) for word in args[:_MOST_PATHS])
    return {word: place for word, path in found if path and (place := _writable(path, environ))}


def _writable(path: str, environ: Mapping[str, str]) -> str:
    """A directory; of a file, which need not exist yet, its own, unless that is or shows a secret place."""
    if os.path.isdir(path):
        return path
    folder = os.path.dirname(path)
    if os.path.isdir(folder) and not secret(folder, environ):
        return folder
    return path if os.path.exists(path) else ""


def secret(place: str, environ: Mapping[str, str]) -> bool:
    """Whether a mount of `place` would be refused: it is, shows or lies in a secret place."""
    home = environ.get("HOME", "")
    places = paths.secret_places(home, environ)
    return any(
        paths.protected(real, home=at, places=places)
        for real in {place, os.path.realpath(place)}
        for at in {home, os.path.realpath(home) if home else ""}
    )


def _value(word: str) -> str:
    return word.partition("=")[2] if word.startswith("-") else word


def spelt(text: str, home: str, cwd: str) -> str:
    """The absolute path that `text` spells as a path; a bare name is a word like any other."""
    if text not in (".", "..", "~") and not text.startswith(_PATH_STARTS):
        return ""
    try:
        path = paths.expand(text, home=home, cwd=cwd, environ={})
    except ValueError:
        return ""  # `$`, `a/../b`, control characters: what no rule of a profile could say either
    return "" if path.split("/")[1] in _INSIDE_ANYWAY else path


def _at_home(word: str, home: str) -> str:
    """`~/x` and `--dir=~/x` with the caller's home spelt out."""
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    return f"{option}{equals}{home}{value[1:]}" if value == "~" or value.startswith("~/") else word


def unsafe(word: str) -> bool:
    """Whether a shell would read more or less than the word itself, or a terminal would."""
    return not word or not all(char.isascii() and (char.isalnum() or char in "@%+=:,./-_") for char in word)
