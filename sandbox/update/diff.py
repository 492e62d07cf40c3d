"""In what two versions of a server differ, as far as anybody can see without running it for somebody (P)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from sandbox.examine.judging import Seen
from sandbox.inspect.canonical import NAMES
from sandbox.inspect.pinned import Item, Pinned
from sandbox.looked import Looked
from sandbox.records import replace
from sandbox.supply import manifest
from sandbox.supply.lock import Lock, Tree
from sandbox.update import packages
from sandbox.update.difference import Difference, Level, Sort, Version

MOST_NAMED: Final = 40
"""Files of a kind of change that are named; the rest is counted."""
GROWN: Final = 1.5
"""From this on more bytes are more than a release usually brings."""


def differences(old: Version, new: Version) -> tuple[Difference, ...]:
    """Everything, in the order in which a person reads it: what is to be feared first, within each part."""
    found = [
        *packages.compared(old.lock, new.lock),
        *_contents(old.lock, new.lock),
        *_files(old.manifest, new.manifest),
        *_sizes(old.lock, new.lock),
        *_machines(old.lock, new.lock),
        *_looks(old, new),
        *_grants(old, new),
        *_unchecked(old.lock, new.lock),
    ]
    return tuple(found)


def pinned(old: Version, new: Version) -> Pinned:
    """What the server said of itself before and, as waiting, what it says now, in the shape of `approve`."""
    made = Pinned(new.lock.name)
    if old.looked is None or new.looked is None:
        return made
    made.approved = {kind: dict(items) for kind, items in old.looked.items.items()}
    for kind, items in new.looked.items.items():
        held = made.holds(kind)
        fresh = {key: one for key, one in items.items() if key not in held or held[key].digest != one.digest}
        if fresh:
            made.waiting[kind] = fresh
    return made


# --- what is started ---------------------------------------------------------------------------------


def _contents(old: Lock, new: Lock) -> Iterator[Difference]:
    yield from _programs(old, new)
    if old.bundle != new.bundle:
        yield Difference("bundle", "changed", new.name, old.bundle, new.bundle, "warning", "another bundle")
    if old.image and new.image and old.image.id != new.image.id:
        fresh = [layer for layer in new.image.layers if layer not in old.image.layers]
        words = f"another image: {len(fresh)} of its {len(new.image.layers)} layers are new"
        yield Difference("image", "changed", new.image.name, old.image.id, new.image.id, "warning", words)
    yield from _named("place", _places(old), _places(new), "warning")


def _programs(old: Lock, new: Lock) -> Iterator[Difference]:
    """Of the trees for this kind of machine; one that a lock gains is no change of another."""
    for tree in new.trees:
        held = old.tree_for(tree.fits)
        if held is not None:
            yield from _named("program", dict(held.starts), dict(tree.starts), "note")


def _machines(old: Lock, new: Lock) -> Iterator[Difference]:
    before, after = ({tree.fits for tree in lock.trees} for lock in (old, new))
    for fits in sorted(after - before):
        yield Difference("machine", "added", fits, None, fits, words=f"it is locked for `{fits}` too")
    for fits in sorted(before - after):
        words = f"it is not locked for `{fits}` any more: update it there too"
        yield Difference("machine", "removed", fits, fits, None, "warning", words)


def _files(old: bytes | None, new: bytes | None) -> Iterator[Difference]:
    if old is None or new is None or old == new:
        return
    for sort, paths in zip(("added", "removed", "changed"), manifest.diff(old, new), strict=True):
        if paths:
            words = f"{len(paths)} file{'s' if len(paths) > 1 else ''} {sort}"
            named = list(paths[:MOST_NAMED])
            yield Difference("file", sort, str(len(paths)), None, named, "note", words)  # type: ignore[arg-type]


def _sizes(old: Lock, new: Lock) -> Iterator[Difference]:
    for tree in new.trees:
        held = old.tree_for(tree.fits)
        if held is None or (held.size, held.files) == (tree.size, tree.files):
            continue
        level: Level = "warning" if tree.size > held.size * GROWN else "note"
        words = f"{_size(held)} before, {_size(tree)} now"
        yield Difference("size", "changed", tree.fits, held.size, tree.size, level, words)


def _size(tree: Tree) -> str:
    size = f"{tree.size / 1e6:.1f} MB" if tree.size >= 1_000_000 else f"{tree.size / 1e3:.1f} kB"
    return f"{size} in {tree.files} files"


# --- what it says and tries ---------------------------------------------------------------------------


def _looks(old: Version, new: Version) -> Iterator[Difference]:
    before, after = old.looked, new.looked
    if before is None or after is None:
        yield from _unheard(old, new)
        return
    for kind in NAMES:
        yield from _items(kind, before, after)
    yield from _set("host", before.wants, after.wants, "error")
    yield from _set("path", before.files, after.files, "error")
    yield from _set("call", before.calls, after.calls, "warning")
    yield from _findings(before.found, after.found)


def _unheard(old: Version, new: Version) -> Iterator[Difference]:
    """Where only the new one was heard, the lock's digests still tell what is another."""
    if new.looked is None:
        words = "the new version could not be looked at: what it lists and reaches is not known"
        yield Difference("unheard", "changed", new.lock.name, level="error", words=words)
        return
    before = {(one.kind, one.key): one.digest for one in old.lock.pins}
    after = {(one.kind, one.key): one.digest for one in new.looked.pins}
    for kind, key in sorted({*before, *after}):
        if before.get((kind, key)) != after.get((kind, key)):
            yield _item(kind, key, before.get((kind, key)), after.get((kind, key)))
    yield from _set("host", old.lock.wants, new.looked.wants, "error")


def _items(kind: str, before: Looked, after: Looked) -> Iterator[Difference]:
    held, has = before.items.get(kind, {}), after.items.get(kind, {})
    for key in sorted({*held, *has}):
        old, new = held.get(key), has.get(key)
        if old is None or new is None or old.digest != new.digest:
            yield _item(kind, key, _text(old), _text(new))


def _text(item: Item | None) -> str | None:
    """The definition, else its digest: something that is there must not look as if it were not."""
    return None if item is None else item.text or item.digest


def _item(kind: str, key: str, old: str | None, new: str | None) -> Difference:
    sort: Sort = "added" if old is None else "removed" if new is None else "changed"
    level: Level = "note" if sort == "removed" or key == "identity" else "warning"
    return Difference(kind, sort, key, old, new, level)  # type: ignore[arg-type]  # NAMES are rules


def _findings(before: Iterable[Seen], after: Iterable[Seen]) -> Iterator[Difference]:
    """What the inspectors have against the new version, and had not against the old one."""
    known = {(one.kind, one.name, one.finding.rule) for one in before}
    for one in after:
        if (one.kind, one.name, one.finding.rule) not in known:
            words = f"{one.kind} {one.name}".strip() + f": {one.finding.reason}"
            new = {"field": one.field, "shown": one.finding.shown, "consequence": one.consequence}
            level: Level = "note" if one.consequence == "told" else "error"
            yield Difference("finding", "added", one.finding.rule, None, new, level, words)


# --- under which grants -------------------------------------------------------------------------------


def _grants(old: Version, new: Version) -> Iterator[Difference]:
    if old.tier and new.tier and old.tier != new.tier:
        words = f"the tier of its system calls was `{old.tier}` and is `{new.tier}`"
        yield Difference("tier", "changed", new.tier, old.tier, new.tier, "error", words)
    before, after = old.lock, new.lock
    if (before.profile, before.profile_digest) != (after.profile, after.profile_digest):
        if before.profile != after.profile:
            words = f"profile `{after.profile}` in place of `{before.profile}`"
        else:
            words = f"profile `{after.profile}` grants something else than when this was locked"
        yield Difference(
            "profile", "changed", after.profile, before.profile_digest, after.profile_digest, "warning", words
        )
    held, has = (" ".join(filter(None, (one.python, *one.options))) for one in (before, after))
    if held != has:
        words = f"its packages are asked for with `{has}` in place of `{held}`"
        yield Difference("options", "changed", has, held, has, "warning", words)


def same(old: Lock, new: Lock) -> bool:
    """Whether both start the very same under the same grants: then nobody needs to look at either."""
    return _started(old) == _started(new)


def merged(old: Lock, new: Lock) -> Lock:
    """The new lock with the trees that the same packages have on other machines, and in the image."""
    if _packages(old) != _packages(new):
        return new
    fits = {tree.fits for tree in new.trees}
    others = tuple(tree for tree in old.trees if tree.fits not in fits)
    inside = any(tree.fits.startswith("image ") for tree in others)
    return replace(new, trees=(*others, *new.trees), image=new.image or (old.image if inside else None))


def _packages(lock: Lock) -> list[Any]:
    return sorted((one.name, one.version, one.integrity, one.place) for one in lock.packages)


def _started(lock: Lock) -> tuple[Any, ...]:
    packages = _packages(lock)
    trees = sorted((one.fits, one.digest, one.starts) for one in lock.trees)
    granted = lock.profile, lock.profile_digest, lock.options, lock.python
    return packages, trees, lock.image and lock.image.id, lock.bundle, sorted(_places(lock).items()), granted


def _places(lock: Lock) -> dict[str, str]:
    return {one.path: one.digest for one in lock.places}


def _unchecked(old: Lock, new: Lock) -> Iterator[Difference]:
    for sentence in new.unchecked:
        if sentence not in old.unchecked:
            yield Difference(
                "unchecked", "added", sentence, level="warning", words=f"not checked: {sentence}"
            )


# --- lists -----------------------------------------------------------------------------------------------


def _set(rule: Any, before: Iterable[str], after: Iterable[str], level: Level) -> Iterator[Difference]:
    held, has = {*before}, {*after}
    for name in sorted(has - held):
        yield Difference(rule, "added", name, None, name, level)
    for name in sorted(held - has):
        yield Difference(rule, "removed", name, name)


def _named(rule: Any, before: dict[str, Any], after: dict[str, Any], level: Level) -> Iterator[Difference]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new:
            sort: Sort = "added" if old is None else "removed" if new is None else "changed"
            yield Difference(rule, sort, name, old, new, level)
