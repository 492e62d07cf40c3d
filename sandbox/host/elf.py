"""Which shared objects a program outside /usr takes from beside itself: a light reading of elf(5) headers."""

from __future__ import annotations

import os
import struct

_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_NEEDED, _STRTAB, _RPATH, _RUNPATH = 1, 5, 15, 29
_ENTRIES = 4096  # of a dynamic section: more is no program of a compiler's


def own_libraries(path: str) -> tuple[str, ...]:
    """The loader and the libraries that `path` names by DT_NEEDED and finds through its own RUNPATH.

    One that is no 64-bit little-endian ELF file, or a damaged one, names none: the loader will say so.
    """
    found: dict[str, None] = {}
    todo = [path]
    while todo and len(found) < 256:
        for library in _direct(todo.pop()):
            # A hostile program could name any file of the host; only another ELF file is worth mounting.
            if library not in found and is_elf(library):
                found[library] = None
                todo.append(library)
    return tuple(found)


def is_elf(path: str) -> bool:
    """True for a readable file that starts as ELF files do."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _direct(path: str) -> tuple[str, ...]:
    try:
        with open(path, "rb") as file:
            return _read(file.fileno(), path)
    except (OSError, struct.error, OverflowError, ValueError):
        return ()


def _read(fd: int, path: str) -> tuple[str, ...]:
    head = os.pread(fd, 64, 0)
    if head[:6] != b"\x7fELF\x02\x01":
        return ()
    start, size, count = struct.unpack_from("<32xQ14xHH", head)
    if size != 56 or count > 128:
        return ()
    raw = os.pread(fd, size * count, start)
    # type, offset, virtual address, size in the file
    segments = [struct.unpack_from("<I4xQQ8xQ", raw, size * n) for n in range(count)]
    loader = [
        os.pread(fd, min(s[3], 4096), s[1]).split(b"\0")[0].decode() for s in segments if s[0] == _INTERP
    ]
    return (*loader, *_dynamic(fd, segments, path))


def _dynamic(fd: int, segments: list[tuple[int, ...]], path: str) -> list[str]:
    place = next((s for s in segments if s[0] == _DYNAMIC), None)
    if place is None:
        return []
    raw = os.pread(fd, min(place[3], _ENTRIES * 16), place[1])
    entries = list(struct.iter_unpack("<QQ", raw[: len(raw) // 16 * 16]))
    strings = next((_offset(segments, value) for tag, value in entries if tag == _STRTAB), None)
    if strings is None:
        return []

    def names(*tags: int) -> list[str]:
        values = [v for tag, v in entries if tag in tags]
        return [os.pread(fd, 4096, strings + v).split(b"\0")[0].decode() for v in values]

    folders = [f for text in names(_RUNPATH, _RPATH) for f in text.split(":") if f]
    origin = os.path.dirname(path)
    folders = [os.path.normpath(f.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)) for f in folders]
    return [p for name in names(_NEEDED) if (p := _found(name, folders))]


def _offset(segments: list[tuple[int, ...]], address: int) -> int | None:
    for kind, offset, start, size in segments:
        if kind == _LOAD and start <= address < start + size:
            return offset + address - start
    return None


def _found(name: str, folders: list[str]) -> str:
    if "/" in name:
        return name if name.startswith("/") and os.path.exists(name) else ""
    places = (f"{folder}/{name}" for folder in folders if folder.startswith("/"))
    return next((place for place in places if os.path.exists(place)), "")
