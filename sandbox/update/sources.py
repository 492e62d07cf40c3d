"""The files of the server's own packages that an update changes, read from both trees, as lines to read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from sandbox.inspect.pin_diff import visible
from sandbox.records import dataclass
from sandbox.supply import manifest, spec
from sandbox.supply.lock import Lock
from sandbox.update.text_diff import Line, lines

MOST_BYTES: Final = 512 << 10
"""A longer file is a bundle of other people's files: nobody reads it here."""
MOST_LINES: Final = 80
"""Lines of one file."""
MOST_IN_ALL: Final = 400
_COMPILED = (b".pyc", b".map")
_BINARY = b"\0"


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the server's own that came, went or is another."""

    path: str
    sort: Literal["added", "removed", "changed"]
    lines: tuple[Line, ...]
    unread: str = ""
    """Why its lines are not shown; empty where they are."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two trees."""

    lock: Lock
    root: str
    manifest: bytes


def sources(old: Side, new: Side) -> tuple[Source, ...]:
    """Of the packages that were asked for: each file that differs, and as many lines as a person reads."""
    before, after = _own(old), _own(new)
    found: list[Source] = []
    left = MOST_IN_ALL
    differing = [path for path in {*before, *after} if before.get(path) != after.get(path)]
    # What is new in a file that runs already first; what is gone runs no more, and is only named.
    for path in sorted(differing, key=lambda path: (path not in after, path not in before, path)):
        one = _source(path, old if path in before else None, new if path in after else None, left)
        left -= len(one.lines)
        found.append(one)
    return tuple(found)


def _source(path: bytes, old: Side | None, new: Side | None, left: int) -> Source:
    sort: Literal["added", "removed", "changed"]
    sort = "added" if old is None else "removed" if new is None else "changed"
    name = visible(manifest.shown(path))
    if new is None:
        return Source(name, sort, ())
    if path.endswith(_COMPILED):
        return Source(name, sort, (), "it is made from another file")
    try:
        texts = [_text(side, path) for side in (old, new)]
    except OSError as error:
        return Source(name, sort, (), f"it cannot be read: {error.strerror}")
    if None in texts:
        return Source(name, sort, (), "it is no text, or too long a one")
    if left <= 0:
        return Source(name, sort, (), "enough lines are shown already")
    return Source(name, sort, tuple(lines(texts[0] or "", texts[1] or "", min(left, MOST_LINES))))


def _text(side: Side | None, path: bytes) -> str | None:
    """The text of a file, empty where there is none; None for what nobody reads."""
    if side is None:
        return ""
    # A link's target is in the manifest and no file behind it is the tree's.
    fd = os.open(os.path.join(os.fsencode(side.root), path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES or _BINARY in content:
        return None
    return content.decode("utf-8", "backslashreplace")


# --- which files are a package's own -------------------------------------------------------------------


def _own(side: Side) -> dict[bytes, bytes]:
    """Path and hash of each file of the packages that were asked for."""
    records = manifest.parse(side.manifest)
    held = {path: value for kind, value, path in records if kind in (manifest.FILE, manifest.PROGRAM)}
    mine = _npm(side.lock.asked) if side.lock.kind == "npm" else tuple(_recorded(side, held))
    return {path: value for path, value in held.items() if path.startswith(mine)} if mine else {}


def _npm(asked: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(f"node_modules/{spec.npm_name(each)}/".encode() for each in asked)


def _recorded(side: Side, held: dict[bytes, bytes]) -> Iterator[bytes]:
    """The tops of a distribution's files, as its RECORD lists them."""
    wanted = {spec.normal(spec.pypi_base(each)) for each in side.lock.asked}
    for path in held:
        folder, _, last = path.rpartition(b"/")
        site, _, info = folder.rpartition(b"/")
        name, _, _ = os.fsdecode(info).removesuffix(".dist-info").rpartition("-")
        if last != b"RECORD" or not info.endswith(b".dist-info") or spec.normal(name) not in wanted:
            continue
        listed = _text(side, path) or ""
        for line in listed.splitlines():
            top, slash, _ = line.partition(",")[0].strip('"').partition("/")
            if top and top not in (".", "..") and os.fsencode(top) != info:
                yield site + b"/" + os.fsencode(top) + (b"/" if slash else b"")
