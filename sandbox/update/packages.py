"""How two resolutions of the same request differ, package by package (P)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from sandbox.supply.lock import Lock, Package
from sandbox.update.difference import Difference

_SCRIPTS: Final = "scripts"
Held = Mapping[str, list[Package]]


def compared(old: Lock, new: Lock) -> Iterator[Difference]:
    """Every package that came, went or is another one, who published it, and what its installation runs."""
    before, after = _by_name(old), _by_name(new)
    for name in sorted({*before, *after}):
        yield from _package(name, before.get(name, []), after.get(name, []))
    yield from _scripts(before, after, old, new)


def _by_name(lock: Lock) -> Held:
    found: dict[str, list[Package]] = {}
    for one in lock.packages:
        found.setdefault(one.name, []).append(one)
    return found


def _package(name: str, before: list[Package], after: list[Package]) -> Iterator[Difference]:
    old, new = _versions(before), _versions(after)
    if not before:
        yield Difference("package", "added", name, new=_told(after), level="warning")
    elif not after:
        yield Difference("package", "removed", name, old=_told(before))
    else:
        if old != new:
            yield Difference("package", "changed", name, _told(before), _told(after), "warning")
        yield from _content(name, before, after)
        yield from _publisher(name, before, after)
        yield from _provenance(name, before, after)
        yield from _origin(name, before, after)


def _versions(packages: list[Package]) -> tuple[str, ...]:
    return tuple(sorted({one.version for one in packages}))


def _told(packages: list[Package]) -> dict[str, Any]:
    """A package as a person and a program read of it."""
    told: dict[str, Any] = {"versions": list(_versions(packages))}
    for key in ("published", "publisher"):
        if values := sorted({getattr(one, key) for one in packages} - {""}):
            told[key] = ", ".join(values)
    if words := sorted({word for one in packages for word in one.provenance}):
        told["provenance"] = words
    return told


def _content(name: str, before: list[Package], after: list[Package]) -> Iterator[Difference]:
    """A version is published once: files under the same number that were not there are nobody's update."""
    known, has = _integrity(before), _integrity(after)
    for version in sorted({*known} & {*has}):
        old, new = known[version], has[version]
        if old and new - old:
            words = f"{name} {version} has content that it had not when it was locked"
            yield Difference("content", "changed", name, sorted(old), sorted(new), "error", words)


def _integrity(packages: list[Package]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in packages:
        found.setdefault(one.version, set()).update(one.integrity)
    return found


def _publisher(name: str, before: list[Package], after: list[Package]) -> Iterator[Difference]:
    old, new = ({one.publisher for one in each} - {""} for each in (before, after))
    if old and new - old:
        words = f"{name} was published by {_and(old)} and now by {_and(new)}"
        yield Difference("publisher", "changed", name, sorted(old), sorted(new), "error", words)


def _provenance(name: str, before: list[Package], after: list[Package]) -> Iterator[Difference]:
    had = {word for one in before for word in one.provenance}
    bare = [one.version for one in after if not one.provenance]
    if had and bare:
        words = f"of {name} {', '.join(bare)} nothing was verified; before: {_and(had)}"
        yield Difference("provenance", "removed", name, sorted(had), [], "error", words)


def _origin(name: str, before: list[Package], after: list[Package]) -> Iterator[Difference]:
    """The registry's host; a path says only which version it is."""
    old, new = ({_host(one.source) for one in each} - {""} for each in (before, after))
    if old and new - old:
        words = f"{name} came from {_and(old)} and now from {_and(new)}"
        yield Difference("origin", "changed", name, sorted(old), sorted(new), "warning", words)


def _host(source: str) -> str:
    try:
        return urlsplit(source).hostname or ""
    except ValueError:
        return ""


def _and(words: set[str]) -> str:
    return ", ".join(sorted(words))


# --- install scripts -------------------------------------------------------------------------------------


def _scripts(before: Held, after: Held, old: Lock, new: Lock) -> Iterator[Difference]:
    ran = {one.what.partition(" ")[2] for one in new.scripts}
    run_before = {one.what.partition(" ")[2] for one in old.scripts}
    for name in sorted({*before, *after}):
        had, has = (any(one.scripts for one in each.get(name, ())) for each in (before, after))
        how = "ran while it was built" if name in ran else "did not run"
        if has and not had:
            words = f"{name} has install scripts now, which {how}"
            yield Difference(_SCRIPTS, "added", name, None, how, "error", words)
        elif had and not has:
            yield Difference(_SCRIPTS, "removed", name, words=f"{name} has no install scripts any more")
        elif name in ran - run_before:
            words = f"the install scripts of {name} {how}, and did not before"
            yield Difference(_SCRIPTS, "changed", name, "did not run", how, "error", words)
