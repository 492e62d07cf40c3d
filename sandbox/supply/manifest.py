"""The list of all that is in a tree: spelt, read and compared (no I/O).

NUL-ended records, depth first: `x` or `f` (a file that runs or does not) and its SHA-256, `l` and a
link's target, `d`; then the path. A target with a space in it is `L` and hexadecimal, so that no two
trees have one list.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from sandbox.digest import sha256

FILE, PROGRAM, LINK, DIRECTORY = b"f", b"x", b"l", b"d"
_SPACED = b"L"
_HASH = re.compile(rb"[0-9a-f]{64}")
_UNSAFE = frozenset((b"", b".", b".."))

Record = tuple[bytes, bytes, bytes]
"""Kind, then the hash or the target or nothing, then the path below the tree's root."""


def spell(records: Iterable[Record]) -> bytes:
    """The manifest of a tree's records, given in their order."""
    return b"".join([_record(*one) for one in records])


def _record(kind: bytes, value: bytes, path: bytes) -> bytes:
    if kind == DIRECTORY:
        return b"d %b\0" % path
    if kind == LINK and b" " in value:
        return b"%b %b %b\0" % (_SPACED, value.hex().encode(), path)
    return b"%b %b %b\0" % (kind, value, path)


def parse(manifest: bytes) -> list[Record]:
    """The records of a manifest; anything that no tree of ours has is a ValueError."""
    if manifest and not manifest.endswith(b"\0"):
        raise ValueError("it does not end with a record")
    return [_parsed(one) for one in manifest[:-1].split(b"\0")] if manifest[:-1] else []


def _parsed(record: bytes) -> Record:
    kind, _, rest = record.partition(b" ")
    value, path = b"", rest
    if kind != DIRECTORY:
        value, _, path = rest.partition(b" ")
    if _UNSAFE & frozenset(path.split(b"/")):
        raise ValueError(f"`{shown(path)}` is no path in a tree")
    if kind in (FILE, PROGRAM) and _HASH.fullmatch(value):
        return kind, value, path
    if kind == _SPACED:
        target = bytes.fromhex(value.decode("ascii"))
        if b" " in target and b"\0" not in target and value == target.hex().encode():
            return LINK, target, path
    elif (kind == LINK and value) or kind == DIRECTORY:
        return kind, value, path
    raise ValueError(f"`{shown(path)}` has no kind and hash of ours")


def digest(manifest: bytes) -> str:
    """The name of the tree that this lists."""
    return str(sha256(manifest).hexdigest())


def diff(old: bytes, new: bytes) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The paths that were added, that were removed, and that are not what they were, as they are shown."""
    before = {path: (kind, value) for kind, value, path in parse(old)}
    after = {path: (kind, value) for kind, value, path in parse(new)}
    changed = [path for path, what in before.items() if after.get(path, what) != what]
    return _shown(after.keys() - before.keys()), _shown(before.keys() - after.keys()), _shown(changed)


def _shown(paths: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(shown(path) for path in sorted(paths))


def shown(path: bytes) -> str:
    """A path on one line: a package chose it, and it must not end or hide a message."""
    text = os.fsdecode(path)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
