"""What a record of the OSV format (schema 1.x, ossf.github.io/osv-schema) says of one version: no I/O.

A range that cannot be read counts as one that holds the version: who wrote it meant to warn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from sandbox.records import dataclass
from sandbox.supply import semver
from sandbox.supply.spec import normal

Ecosystem = Literal["npm", "pypi"]
SPELT: Mapping[Ecosystem, str] = {"npm": "npm", "pypi": "PyPI"}
_MOST = 20_000
"""Versions, ranges and events of one record that are looked at; a longer record is no record."""


@dataclass(frozen=True, slots=True)
class Advisory:
    """One record that is about the version."""

    id: str
    also: tuple[str, ...]
    """Its other ids, such as a CVE."""
    summary: str
    malicious: bool
    severity: str
    """`critical`, `high`, `moderate`, `low`, or empty where it is not said."""
    fixed: str = ""
    """The first version above this one in which it is mended; empty where there is none."""


def named(record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The ecosystem, in OSV's spelling, and the name of every package that a record is about."""
    found = (_package(one) for one in _list(record.get("affected")))
    return tuple(dict.fromkeys(one for one in found if one is not None))


def affecting(record: Mapping[str, Any], ecosystem: Ecosystem, name: str, version: str) -> Advisory | None:
    """The record as an advisory, where it is about that version and was not withdrawn."""
    if record.get("withdrawn"):
        return None
    wanted = (SPELT[ecosystem], canonical(ecosystem, name))
    about = [one for one in _list(record.get("affected")) if _package(one) == wanted]
    if not any(_affects(one, ecosystem, version) for one in about):
        return None
    return _advisory(record, _mended(about, ecosystem, version))


def canonical(ecosystem: Ecosystem, name: str) -> str:
    """The name by which records are found."""
    return normal(name) if ecosystem == "pypi" else name


def _package(affected: object) -> tuple[str, str] | None:
    package = affected.get("package") if isinstance(affected, dict) else None
    if not isinstance(package, dict):
        return None
    spelt, name = str(package.get("ecosystem", "")).partition(":")[0], str(package.get("name", ""))
    known: Ecosystem | None = next((each for each, osv in SPELT.items() if osv == spelt), None)
    return (spelt, canonical(known, name)) if known and name else None


def _affects(affected: Mapping[str, Any], ecosystem: Ecosystem, version: str) -> bool:
    order = _order(ecosystem)
    listed = _list(affected.get("versions"))
    at = order(version)
    if version in listed or (at is not None and any(order(str(one)) == at for one in listed)):
        return True
    ranges = [one for one in _list(affected.get("ranges")) if isinstance(one, dict)]
    spoken = [one for one in ranges if one.get("type") in ("SEMVER", "ECOSYSTEM")]
    if not spoken and not listed:
        return not ranges  # nothing but commits says nothing of a version; nothing at all means every one
    return any(_holds(_list(one.get("events")), order, at) for one in spoken)


def _holds(events: list[Any], order: Callable[[str], Any], at: Any) -> bool:
    """Whether the version lies in the range; True where that cannot be told."""
    read: list[tuple[Any, int, str]] = []
    for event in events:
        for kind, text in event.items() if isinstance(event, dict) else ():
            place = _LOWEST if text == "0" else _Place(order(str(text)))
            if kind == "limit" and text == "*":
                continue
            if place.rank is None and place is not _LOWEST:
                return True
            read.append((place, kind == "introduced", str(kind)))
    if at is None:
        return bool(read)
    limits = [place for place, _, kind in read if kind == "limit"]
    if limits and not any(_Place(at) < limit for limit in limits):
        return False
    return _walked(sorted(read), _Place(at))


def _walked(events: list[tuple[Any, int, str]], at: _Place) -> bool:
    """The state behind the last event that comes before the version."""
    held = False
    for place, _, kind in events:
        if kind == "introduced" and not at < place:
            held = True
        elif (kind == "fixed" and not at < place) or (kind == "last_affected" and place < at):
            held = False
    return held


class _Place:
    """A place on the line of versions; that of `0` is below all others, pre-releases too."""

    __slots__ = ("rank",)

    def __init__(self, rank: Any) -> None:
        self.rank = rank

    def __lt__(self, other: _Place) -> bool:
        if self is _LOWEST or other is _LOWEST:
            return self is _LOWEST and other is not _LOWEST
        return bool(self.rank < other.rank)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Place) and not self < other and not other < self

    __hash__ = None  # type: ignore[assignment]


_LOWEST = _Place(None)


def _order(ecosystem: Ecosystem) -> Callable[[str], Any]:
    return semver.rank if ecosystem == "npm" else _pep440


def _pep440(version: str) -> Any:
    from packaging.version import InvalidVersion, Version  # 10 ms: only a lock is judged

    try:
        return Version(version[:200])
    except InvalidVersion:
        return None


def _mended(about: list[Any], ecosystem: Ecosystem, version: str) -> str:
    order = _order(ecosystem)
    at, found = order(version), list[tuple[Any, str]]()
    for affected in about:
        for one in _list(affected.get("ranges")):
            for event in _list(one.get("events")) if isinstance(one, dict) else ():
                text = str(event.get("fixed", "")) if isinstance(event, dict) else ""
                if text and at is not None and (place := order(text)) is not None and place > at:
                    found.append((place, text))
    return min(found)[1] if found else ""


def _advisory(record: Mapping[str, Any], fixed: str) -> Advisory:
    name = plain(record.get("id"), 80) or "an advisory without an id"
    also = tuple(plain(one, 80) for one in _list(record.get("aliases"))[:10])
    special = record.get("database_specific")
    special = special if isinstance(special, dict) else {}
    malicious = (
        any(one.startswith("MAL-") for one in (name, *also)) or "malicious-packages-origins" in special
    )
    summary = plain(record.get("summary"), 200) or plain(record.get("details"), 200)
    return Advisory(
        name, also, summary, malicious, plain(special.get("severity"), 20).lower(), plain(fixed, 60)
    )


def plain(value: object, longest: int) -> str:
    """The first line of a text, cut, without anything that a terminal would act on."""
    line = next(iter(value.strip().splitlines()), "") if isinstance(value, str) else ""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        return []
    if len(value) > _MOST:
        raise ValueError(f"more than {_MOST} entries in one list")
    return value
