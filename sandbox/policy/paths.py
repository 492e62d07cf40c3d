"""Paths as profiles write them, and which of them would expose a secret place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from sandbox.patterns import regex
from sandbox.policy.secret_places import EVERY_HOME, OTHER_HOME, secret_places
from sandbox.records import dataclass

__all__ = ["Exposure", "Judgement", "below", "expand", "judge", "protected", "secret_places", "split"]

_VARIABLE = regex(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Exposure:
    """A mount that is, lies below or contains a secret place."""

    mount: str
    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the waivers leave refused, what they waive, and which of them waive nothing."""

    refused: tuple[Exposure, ...] = ()
    waived: tuple[Exposure, ...] = ()
    idle: tuple[str, ...] = ()


def split(text: str) -> tuple[str, str | None]:
    """`host` or `host:inside`, before expansion, so that a variable's value cannot add a target."""
    _refuse_control(text)
    source, colon, target = text.partition(":")
    if not source or (colon and not target):
        raise ValueError(f"`{text}` is not `path` or `path:place-inside`")
    if not colon:
        return source, None
    if not target.startswith("/") or ":" in target:
        raise ValueError(f"`{text}`: the place inside is an absolute path without `:`")
    if ".." in target.split("/") or not target.strip("/."):
        raise ValueError(f"`{text}`: `{target}` is not a place of its own inside")
    return source, _normal(target)


def expand(text: str, *, home: str, cwd: str, environ: Mapping[str, str]) -> str:
    """The absolute path that `~`, `.`, `..`, `$VAR` and `${VAR}` mean; symlinks are the plan's to resolve."""
    _refuse_control(text)
    path = _substitute(text, environ)
    _refuse_control(path)
    if path.startswith("~"):
        path = _at_home(text, path, home)
    elif not path.startswith("/"):
        path = _relative(path, cwd)
    if ".." in path.split("/"):
        # `a/../b` is not `b` where `a` is a symlink: no reading is right without asking the host.
        raise ValueError(f"`{text}`: `..` may only lead a relative path")
    return _normal(path)


def below(path: str, place: str) -> bool:
    """True when `path` is `place` or lies below it; `/allow_evil` does not lie below `/allow`."""
    return path == place or place == "/" or path.startswith(place.rstrip("/") + "/")


def protected(path: str, *, home: str, places: Mapping[str, str]) -> str | None:
    """Why mounting `path` would expose a secret; None when it would not."""
    found = exposures(path, home=home, places=places)
    return found[0].reason if found else None


def exposures(mount: str, *, home: str, places: Mapping[str, str]) -> tuple[Exposure, ...]:
    """Every secret place that the mount is, lies below or contains; the most exact first."""
    near = {**places, **_other_home(mount, home)}
    found = [Exposure(mount, place, why) for place, why in near.items() if _touches(mount, place)]
    whole = {"/": "the whole file system", "/home": "every user's home", home: "the home directory"}
    found += [Exposure(mount, place, why) for place, why in whole.items() if place and below(place, mount)]
    return tuple(sorted(found, key=lambda one: (not below(mount, one.place), len(one.place), one.place)))


def judge(mounts: Iterable[str], expose: Sequence[str], *, home: str, places: Mapping[str, str]) -> Judgement:
    """Compares what the mounts expose with what the profile waives by name."""
    found = [one for mount in mounts for one in exposures(mount, home=home, places=places)]
    waived = tuple(one for one in found if any(_waives(entry, one) for entry in expose))
    idle = tuple(entry for entry in expose if not any(_waives(entry, one) for one in found))
    return Judgement(tuple(one for one in found if one not in waived), waived, idle)


def waiver(one: Exposure, found: Iterable[Exposure]) -> str:
    """The name to waive that grants no more than was denied; empty where no single one does."""
    # The smaller of the two.
    name = one.mount if below(one.mount, one.place) else one.place
    more = any(other.mount == one.mount and other.place != one.place for other in found)
    return "" if name in ("/", "/home") or (more and name != one.mount) else name


def _waives(entry: str, exposure: Exposure) -> bool:
    # By name: the mount itself or the very place; an ancestor of either would waive what nobody read.
    return entry in (exposure.place, exposure.mount)


def _touches(mount: str, place: str) -> bool:
    return below(mount, place) or below(place, mount)


def _other_home(mount: str, home: str) -> dict[str, str]:
    """The secret places of the other user in whose home the mount lies, and that home itself."""
    parts = mount.split("/")
    other = "/".join(parts[:3]) if parts[1:2] == ["home"] and len(parts) > 2 else ""
    if not other or other == home or below(home, other):
        return {}
    places = {f"{other}/{name}": f"{why} of another user" for name, why in EVERY_HOME}
    return {**places, **({other: OTHER_HOME} if mount == other else {})}


def _substitute(text: str, environ: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if not environ.get(name):
            # An empty value would turn `$DIR/x` into `/x`.
            raise ValueError(f"`{text}`: `${name}` is not set")
        return environ[name]

    if "$" in _VARIABLE.sub("", text):
        raise ValueError(f"`{text}`: `$` must be followed by a variable's name")
    return _VARIABLE.sub(value, text)


def _at_home(text: str, path: str, home: str) -> str:
    if not path.startswith("~/") and path != "~":
        raise ValueError(f"`{text}`: only `~` and `~/…` are read, not another user's home")
    if not home.startswith("/"):
        raise ValueError(f"`{text}`: `~` means nothing without a home directory")
    return home + path[1:]


def _relative(path: str, cwd: str) -> str:
    base = _normal(cwd)
    parts = path.split("/")
    # Only leading `..` are taken off: `cwd` is a real path, what follows may be a link.
    while parts and parts[0] in ("..", ".", ""):
        if parts.pop(0) == "..":
            base = base.rpartition("/")[0] or "/"
    return "/".join([base.rstrip("/"), *parts]) or "/"


def _normal(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _refuse_control(text: str) -> None:
    if not text:
        raise ValueError("a path is empty")
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError(f"`{text.encode('unicode_escape').decode()}` holds a control character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"`{text.encode('unicode_escape').decode()}` is not UTF-8") from None
