"""Where profiles are found: a path, the project, the user's config directory, the shipped ones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence

from sandbox.errors import ProfileError
from sandbox.hints import Literal
from sandbox.patterns import regex
from sandbox.places import config_dir
from sandbox.records import dataclass

PROJECT_DIR = ".mcp-sandbox"
SUFFIX = ".toml"
Kind = Literal["path", "project", "user", "shipped"]
KINDS: tuple[Kind, ...] = ("path", "project", "user", "shipped")

_NAME = regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Found:
    """One profile file and the kind of place it was found in."""

    name: str
    path: str
    kind: Kind


Places = Sequence[tuple[Kind, str]]


def shipped() -> str:
    """The directory of the profiles that come with us, installed or in the source tree."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    installed = os.path.join(package, "data", "profiles")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), "profiles")


def places(environ: Mapping[str, str], cwd: str) -> Places:
    """The directories searched, first match wins."""
    found: list[tuple[Kind, str]] = [
        ("project", path) for path in _project_dirs(environ.get("HOME", ""), cwd)
    ]
    user = os.path.join(config_dir(environ), "profiles")
    return [*found, ("user", user), ("shipped", shipped())]


def find(name: str, *, environ: Mapping[str, str], cwd: str) -> Found:
    """The profile that `name` or a path means, or ProfileError."""
    if "/" in name or name.endswith(SUFFIX):
        return _by_path(name, environ.get("HOME", ""), cwd)
    searched = places(environ, cwd)
    return _in(searched, name) or _missing(name, searched)


def parent(child: Found, name: str, searched: Places) -> Found:
    """The profile that `child` extends: never one of a place that comes before its own.

    A profile that extends its own name means the next place's: a user's `node` builds on the shipped one.
    """
    later = _from(child, searched)
    return _in(later[1:] if name == child.name else later, name) or _missing(name, later, child)


def everything(environ: Mapping[str, str], cwd: str) -> list[Found]:
    """Every profile that a name can mean, in the order of the search; shadowed ones are left out."""
    named: dict[str, Found] = {}
    for kind, directory in places(environ, cwd):
        for name in sorted(names_in(directory)):
            named.setdefault(name, Found(name, os.path.join(directory, name + SUFFIX), kind))
    return list(named.values())


def _from(child: Found, searched: Places) -> Places:
    own = (child.kind, os.path.dirname(child.path))
    later = KINDS[KINDS.index(child.kind) :]
    rest = [place for place in searched if place[0] in later and place != own]
    if child.kind == "project":
        # Only directories further up: the nearest one has had its turn.
        rest = [place for place in rest if place[0] != "project" or own[1].startswith(_project_of(place[1]))]
    return [own, *(place for place in rest if child.kind != "path" or place[0] != "project")]


def _project_of(directory: str) -> str:
    return directory.removesuffix(PROJECT_DIR)


def _in(searched: Places, name: str) -> Found | None:
    if not _NAME.fullmatch(name):
        raise ProfileError(
            "invalid-profile-name",
            f"`{_shown(name)}` is not a profile's name",
            rule="letters, digits, `.`, `_` and `-`",
        )
    for kind, directory in searched:
        path = os.path.join(directory, name + SUFFIX)
        if os.path.lexists(path):
            return Found(name, path, kind)
    return None


def _by_path(text: str, home: str, cwd: str) -> Found:
    expanded = home + text[1:] if text.startswith("~/") else text
    path = os.path.abspath(os.path.join(cwd, expanded))
    name = os.path.basename(path).removesuffix(SUFFIX)
    if not os.path.exists(path):
        raise ProfileError(
            "profile-not-found", f"`{_shown(path)}` does not exist", hint="mcp-sandbox profile list"
        )
    if not _NAME.fullmatch(name) or not path.endswith(SUFFIX):
        what = f"`{_shown(path)}` is not a profile's file"
        raise ProfileError(
            "invalid-profile-name", what, rule="letters, digits, `.`, `_` and `-`, ending in `.toml`"
        )
    return Found(name, path, "path")


def _missing(name: str, searched: Places, child: Found | None = None) -> Found:
    import difflib  # on the way to an error only

    known = [known for _, directory in searched for known in names_in(directory)]
    near = difflib.get_close_matches(name, known, 1)
    what = f"no profile is called `{name}`" + (f", which `{child.path}` extends" if child else "")
    rule = "searched " + ", ".join(directory for _, directory in searched)
    hint = f"did you mean `{near[0]}`?" if near else "mcp-sandbox profile list"
    raise ProfileError("profile-not-found", what, rule=rule, hint=hint)


def names_in(directory: str) -> Iterator[str]:
    """The profile names that a directory holds; none where it cannot be listed."""
    try:
        entries = os.listdir(directory)
    except OSError:
        return
    names = (entry.removesuffix(SUFFIX) for entry in entries if entry.endswith(SUFFIX))
    yield from (name for name in names if _NAME.fullmatch(name))


def project(home: str, cwd: str) -> str:
    """The directory of the project that `cwd` is in; nothing for a home and for the root of all."""
    found = _project(home, cwd)
    return found[-1] if found and found[-1] != "/" else ""


def _project_dirs(home: str, cwd: str) -> list[str]:
    """Where the project's own profiles may lie, nearest first."""
    return [os.path.join(path, PROJECT_DIR) for path in _project(home, cwd)]


def _project(home: str, cwd: str) -> list[str]:
    """The project's directories, nearest first: up to the one that holds `.git`, else up to below home.

    Where neither is above us only `cwd` counts: `/tmp` belongs to everyone.
    """
    above = _ancestors(cwd)
    ends = [index for index, path in enumerate(above) if os.path.lexists(os.path.join(path, ".git"))]
    if home in above:
        ends.append(above.index(home) - 1)
    return above[: min(ends) + 1] if ends else above[:1]


def _ancestors(cwd: str) -> list[str]:
    above = [cwd.rstrip("/") or "/"]
    while above[-1] not in ("/", ""):
        above.append(os.path.dirname(above[-1]))
    return above


def _shown(text: str) -> str:
    return text.encode("unicode_escape").decode()
