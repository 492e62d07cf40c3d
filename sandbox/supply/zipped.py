"""A hostile zip file, unpacked into an empty directory: bounded, and nothing outside of it.

What two readers of zip files could understand differently is refused: a bundle that was looked at is the
bundle that runs.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

LARGEST = 512 << 20
"""Bytes of the file itself."""
MOST = 50_000
"""Entries: a bundled `node_modules` of a large server comes to some 20,000."""
UNPACKED = 2 << 30
"""Bytes of all files together."""
LONGEST_PATH = 1024
DEEPEST = 64
_LONGEST_NAME = 255
_DIRECTORY_BYTES = 64 << 20
_LOCAL_HEADER = 30
_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\5\6"
_LONGEST_COMMENT = 0xFFFF
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_PIECE = 1 << 20


class Refused(ValueError):
    """Why a file is no bundle that is unpacked."""


class Part:
    """The first `size` bytes of an open file, as a file of its own: what is behind them is not there."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.size, self._at = file, size, 0

    def read(self, count: int = -1) -> bytes:
        """The next bytes, none behind the end."""
        left = max(0, self.size - self._at)
        self._file.seek(self._at)
        data = self._file.read(left if count is None or count < 0 else min(count, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file; where it leads to must not be negative."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError(22, "a place before the file")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seekable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """The file below belongs to who opened it."""


class Archive:
    """A zip file whose directory was checked as a whole before anything of it is read."""

    def __init__(self, file: BinaryIO, size: int, *, whole: int | None = None) -> None:
        """`size`: where the archive ends; `whole`: the file's size, where a signature stands behind it."""
        if size > LARGEST:
            raise Refused(f"it is larger than {LARGEST >> 20} MiB")
        part = Part(file, size)
        _refuse_a_tail(part, size if whole is None else whole)
        try:
            self._zip = zipfile.ZipFile(part)
        except _BROKEN as error:
            raise Refused(f"it is no zip file: {_plain(error)}") from None
        self._entries = self._zip.infolist()
        _check(self._entries, size)
        self._named = {entry.filename: entry for entry in self._entries}

    @property
    def names(self) -> tuple[str, ...]:
        """The files in it."""
        return tuple(entry.filename for entry in self._entries if not entry.is_dir())

    def member(self, name: str, largest: int) -> bytes | None:
        """One file of it; None where there is none."""
        found = self._named.get(name)
        if found is None:
            return None
        if found.file_size > largest:
            raise Refused(f"`{name}` in it is larger than {largest >> 10} KiB")
        return b"".join(self._pieces(found))

    def digest(self, name: str, algorithm: str = "sha256") -> str:
        """The hash of one of its files, in hexadecimal."""
        made = hashlib.new(algorithm)
        for piece in self._pieces(self._named[name]):
            made.update(piece)
        return made.hexdigest()

    def unpack(self, root: str) -> None:
        """Every file of it below `root`, an empty directory that nobody else writes to."""
        for entry in self._entries:
            place = os.path.join(root, entry.filename)
            os.makedirs(place if entry.is_dir() else os.path.dirname(place), mode=0o755, exist_ok=True)
            if entry.is_dir():
                continue
            fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as opened:
                for piece in self._pieces(entry):
                    opened.write(piece)
                os.fchmod(fd, 0o755 if _runs(entry) else 0o644)

    def _pieces(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        """The content, never longer than the directory said, nor shorter."""
        left = entry.file_size
        try:
            with self._zip.open(entry) as opened:
                while piece := opened.read(_PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise Refused(f"`{shown(entry.filename)}` in it is longer than it says")
                    yield piece
        except _BROKEN as error:
            raise Refused(f"`{shown(entry.filename)}` in it is damaged: {_plain(error)}") from None
        if left:
            raise Refused(f"`{shown(entry.filename)}` in it is shorter than it says")


_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    MemoryError,
    struct.error,
    UnicodeError,
    OSError,
    KeyError,
)


def _plain(error: Exception) -> str:
    return shown(str(error) or type(error).__name__)


def shown(name: str) -> str:
    """A name of theirs for a message: short, and without what a terminal would obey."""
    return name[:120].encode("unicode_escape").decode() if not name[:120].isprintable() else name[:120]


def _refuse_a_tail(part: Part, whole: int) -> None:
    """The end of the directory stands at the end of the archive, and there is one of it alone."""
    part.seek(max(0, part.size - _END.size - _LONGEST_COMMENT))
    tail = part.read()
    at = tail.rfind(_END_MAGIC)
    if at < 0 or len(tail) - at < _END.size:
        raise Refused("it is no zip file")
    _, _, _, _, _, size, _, comment = _END.unpack_from(tail, at)
    end = part.size - len(tail) + at + _END.size + comment
    if end not in (part.size, whole):
        raise Refused("something stands behind the archive in it")
    if size != 0xFFFFFFFF and size > _DIRECTORY_BYTES:
        raise Refused("its directory is too large")


def _check(entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    if len(entries) > MOST:
        raise Refused(f"it has more than {MOST} entries")
    if sum(entry.file_size for entry in entries) > UNPACKED:
        raise Refused(f"it unpacks to more than {UNPACKED >> 30} GiB")
    files, folders = set[str](), set[str]()
    for entry in entries:
        _check_entry(entry)
        _check_place(entry, files, folders)
    _check_order(entries, size)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = shown(entry.orig_filename)
    why = _wrong_name(entry.orig_filename)
    if why:
        raise Refused(f"the name `{name}` in it {why}")
    if entry.flag_bits & _ENCRYPTED:
        raise Refused(f"`{name}` in it is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused(f"`{name}` in it is compressed by a method that is not understood")
    kind = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == 3 else 0
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "neither a file nor a directory"
        raise Refused(f"`{name}` in it is {what}")
    if entry.is_dir() != (kind == stat.S_IFDIR) and kind:
        raise Refused(f"`{name}` in it is both a file and a directory")
    if entry.is_dir() and entry.file_size:
        raise Refused(f"the directory `{name}` in it has content")


def _wrong_name(name: str) -> str:
    """What is wrong with it; nothing where nothing is."""
    if not name or not name.isprintable() or "\\" in name:
        return "has characters that no path should have"
    if any("\ud800" <= char <= "\udfff" for char in name):
        return "is not UTF-8"
    words = name.removesuffix("/").split("/")
    if name.startswith("/") or ":" in words[0]:
        return "leads out of it"
    if any(word in ("", ".", "..") for word in words):
        return "leads out of it" if ".." in words else "is no plain path"
    if len(words) > DEEPEST or len(name.encode()) > LONGEST_PATH:
        return "is too long"
    if any(len(word.encode()) > _LONGEST_NAME for word in words):
        return "is too long"
    return ""


def _check_place(entry: zipfile.ZipInfo, files: set[str], folders: set[str]) -> None:
    """No two entries of one name, even where a file system folds them; and no file above another."""
    whole = unicodedata.normalize("NFC", entry.filename.removesuffix("/")).casefold()
    above = whole.split("/")
    parents = {"/".join(above[:n]) for n in range(1, len(above))}
    if whole in files or parents & files or (whole in folders and not entry.is_dir()):
        raise Refused(f"`{shown(entry.filename)}` in it is there twice, or differs in its case alone")
    folders |= parents
    (folders if entry.is_dir() else files).add(whole)


def _check_order(entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    """No two entries share bytes: what unpacks to a thousand times its size does it so."""
    end = 0
    for entry in sorted(entries, key=lambda one: one.header_offset):
        if entry.header_offset < end or (end == 0 and entry.header_offset != 0):
            where = "stands before the archive" if end == 0 else "belongs to two of its entries"
            raise Refused(f"something in it {where}")
        end = entry.header_offset + _LOCAL_HEADER + len(entry.orig_filename) + entry.compress_size
    if end > size:
        raise Refused("its directory points behind its end")


def _runs(entry: zipfile.ZipInfo) -> bool:
    return entry.create_system == 3 and bool((entry.external_attr >> 16) & 0o111)
