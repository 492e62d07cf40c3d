"""An open tree compared with the list of what belongs in it; the first difference is named."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping

from sandbox.records import dataclass, field
from sandbox.supply import stamps
from sandbox.supply.manifest import DIRECTORY, FILE, LINK, PROGRAM, Record, shown
from sandbox.supply.stamps import Stamp

SEALED: Mapping[bytes, int] = {PROGRAM: 0o555, FILE: 0o444, DIRECTORY: 0o755}
"""The modes of a sealed tree. Directories stay writable for their owner so that a person can delete the
cache; inside, the mount is read-only."""
LARGEST = 16 << 30
"""A file that grew to this would be hashed for minutes, at a start that somebody waits for."""
_WORDS = {stat.S_IFREG: "a file", stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link"}
_FORMAT = {FILE: stat.S_IFREG, PROGRAM: stat.S_IFREG, DIRECTORY: stat.S_IFDIR, LINK: stat.S_IFLNK}
_ROOT: Record = (DIRECTORY, b"", b"")


class Changed(Exception):
    """What is not as it was, and how; the empty path is the list's own."""

    def __init__(self, path: bytes, how: str) -> None:
        super().__init__(how)
        self.path = path
        self.how = how


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a tree has to be."""

    records: list[Record]
    modes: Mapping[bytes, int] = field(default_factory=dict)
    """The exact mode of a kind; without one, only whether a file runs."""
    without: frozenset[str] = frozenset()
    """Names at its top that are not looked at."""

    def names(self) -> dict[bytes, set[bytes]]:
        """What belongs into each directory."""
        found: dict[bytes, set[bytes]] = {}
        for _, _, path in self.records:
            above, _, name = path.rpartition(b"/")
            found.setdefault(above, set()).add(name)
        return found


def compare(root: int, wanted: Wanted, known: Mapping[bytes, Stamp]) -> Iterator[tuple[bytes, Stamp]]:
    """The stamp of the root, of each file and of each directory, once it is what is wanted; else `Changed`.

    What has its `known` stamp is not read.
    """
    names, ignored = wanted.names(), {os.fsencode(name) for name in wanted.without}
    for record in (_ROOT, *wanted.records):
        kind, _, path = record
        stamp = stamps.of(_status(root, path))
        if known.get(path) != stamp:
            _kind(path, kind, stamp[3], wanted.modes)
            if kind == DIRECTORY:
                _directory(root, path, names.get(path, set()), set() if path else ignored)
            elif stamp[1] > LARGEST:
                raise Changed(path, "is larger than any file of a server")
            else:
                _content(root, record)
            if stamps.of(_status(root, path)) != stamp:
                raise Changed(path or b".", "changes while it is read")
        if kind != LINK:
            yield path, stamp


def _status(root: int, path: bytes) -> os.stat_result:
    try:
        return os.stat(path, dir_fd=root, follow_symlinks=False) if path else os.fstat(root)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Changed(path, "is gone") from error


def _kind(path: bytes, kind: bytes, mode: int, modes: Mapping[bytes, int]) -> None:
    if stat.S_IFMT(mode) != _FORMAT[kind]:
        found = _WORDS.get(stat.S_IFMT(mode), "no file")
        raise Changed(path or b".", f"is {found}, not {_WORDS[_FORMAT[kind]]}")
    exact = modes.get(kind)
    if exact is not None and stat.S_IMODE(mode) != exact:
        raise Changed(path or b".", f"has the mode {stat.S_IMODE(mode):04o}, not {exact:04o}")
    if kind in (FILE, PROGRAM) and (kind == PROGRAM) != bool(mode & 0o111):
        raise Changed(path, "is a program now" if kind == FILE else "is no program any more")


def _directory(root: int, path: bytes, names: set[bytes], ignored: set[bytes]) -> None:
    """Nothing is in it that does not belong there, and nothing is missing."""
    fd = _open(root, path or b".", os.O_DIRECTORY)
    missing = set(names)
    try:
        with os.scandir(fd) as entries:
            # One at a time: whoever added one file may have added ten million.
            for name in (os.fsencode(entry.name) for entry in entries):
                if name not in names and (name not in ignored):
                    raise Changed(path + b"/" + name if path else name, "was added")
                missing.discard(name)
    finally:
        os.close(fd)
    for name in sorted(missing)[:1]:
        raise Changed(path + b"/" + name if path else name, "is gone")


def _content(root: int, record: Record) -> None:
    kind, value, path = record
    if kind != LINK:
        if hashed(root, path) != value.decode():
            raise Changed(path, "has another content")
    elif (target := os.readlink(path, dir_fd=root)) != value:
        raise Changed(path, f"leads to `{shown(target)}`, not to `{shown(value)}`")


def _open(root: int | None, path: bytes, how: int = 0) -> int:
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | how, dir_fd=root)


def hashed(root: int | None, path: bytes) -> str:
    """SHA-256 of a file, below the open directory where there is one, and not of what a link leads to."""
    import hashlib  # a start whose stamps hold reads no file

    with os.fdopen(_open(root, path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
