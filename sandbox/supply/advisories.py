"""A database of advisories that the user has: a directory, a zip or a file of OSV records, never the network.

What names which package is kept in the cache as long as the database is the same, by size and time of
change: a whole ecosystem's has 200,000 records.
"""

from __future__ import annotations

import json
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from sandbox.errors import SandboxNotBuilt
from sandbox.places import cache_dir
from sandbox.policy.cache import make_private
from sandbox.records import dataclass
from sandbox.supply import osv

LARGEST = 4 << 20
"""Bytes of one record."""
_LARGEST_FILE = 256 << 20
_MOST = 2_000_000
_DEEPEST = 4
_SCHEMA = "1"
_BROKEN = (
    OSError,
    ValueError,
    RecursionError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
Read = Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Advisories:
    """An opened database: where it is, and the index of it."""

    path: str
    index: str
    records: int
    broken: int
    """Records that cannot be read."""
    newest: str
    """RFC 3339, of the record that was changed last; empty where none says."""
    packages: Mapping[str, int]
    """How many packages it names, by OSV's spelling of the ecosystem."""

    def about(
        self, ecosystem: osv.Ecosystem, packages: Iterable[tuple[str, str]]
    ) -> Mapping[tuple[str, str], tuple[osv.Advisory, ...]]:
        """By name and version, the advisories about each; SandboxNotBuilt where a record is gone."""
        found: dict[tuple[str, str], tuple[osv.Advisory, ...]] = {}
        with closing(_connected(self.index)) as index, _reading(self.path) as read:
            for name, version in packages:
                places = _places(index, osv.SPELT[ecosystem], osv.canonical(ecosystem, name))
                records = [self._record(read, place) for place in places]
                about = [osv.affecting(one, ecosystem, name, version) for one in records]
                found[name, version] = tuple(sorted(filter(None, about), key=lambda one: one.id))
        return found

    def _record(self, read: Read, place: str) -> Mapping[str, Any]:
        try:
            return read(place)
        except (*_BROKEN, LookupError) as error:
            why = f"the record `{osv.plain(place, 200)}` of `{self.path}` cannot be read: {error}"
            raise SandboxNotBuilt("unreadable-advisories", why) from None


def _places(index: Any, ecosystem: str, name: str) -> list[str]:
    asked = "select distinct place from named where ecosystem = ? and name = ? limit 10000"
    return [str(row[0]) for row in index.execute(asked, (ecosystem, name))]


def opened(path: str, environ: Mapping[str, str]) -> Advisories:
    """The database at `path`; SandboxNotBuilt where there is none, or no record that can be read."""
    try:
        identity = _identity(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    index = _index_at(path, identity, environ)
    found = _recalled(path, index)
    if found is None:
        import sqlite3

        try:
            _build(path, index)
        except (*_BROKEN, sqlite3.Error) as error:
            raise _unreadable(path, error) from None
        found = _recalled(path, index)
    if found is None or not found.records:
        raise _unreadable(path, ValueError("it holds no record of the OSV format"))
    return found


def _unreadable(path: str, error: Exception) -> SandboxNotBuilt:
    why = (isinstance(error, OSError) and error.strerror) or error
    return SandboxNotBuilt(
        "unreadable-advisories",
        f"`{path}` is no database of advisories: {why}",
        rule="`[supply] advisories_at`, or `MCP_SANDBOX_OSV`, names a directory, zip or file of OSV records",
    )


# --- where records are -----------------------------------------------------------------------------


def _identity(path: str) -> str:
    """What changes when the database does: of each file its name, size and time of change."""
    from hashlib import sha256

    held = os.stat(path)
    if not stat.S_ISDIR(held.st_mode):
        if not stat.S_ISREG(held.st_mode):
            raise ValueError("it is neither a directory nor a file")
        return f"{held.st_size} {held.st_mtime_ns} {held.st_ino}"
    sum_ = sha256()
    for name, entry in _files(path):
        info = entry.stat(follow_symlinks=False)
        sum_.update(f"{name}\0{info.st_size}\0{info.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return sum_.hexdigest()


def _files(path: str, at: str = "", depth: int = 0) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The `.json` files of a directory, a few levels down; links lead nowhere."""
    with os.scandir(os.path.join(path, at)) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        name = os.path.join(at, entry.name)
        if entry.is_dir(follow_symlinks=False) and depth < _DEEPEST:
            yield from _files(path, name, depth + 1)
        elif entry.name.endswith(".json") and entry.is_file(follow_symlinks=False):
            yield name, entry


def _records(path: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Every record and its place; None for one that cannot be read."""
    with _reading(path) as read:
        for place in _all_places(path):
            try:
                yield place, read(place)
            except _BROKEN:
                yield place, None


def _all_places(path: str) -> Iterator[str]:
    if os.path.isdir(path):
        yield from (name for name, _ in _files(path))
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (name for name in archive.namelist() if name.endswith(".json"))
    else:
        yield from map(str, range(len(_listed(path))))


@contextmanager
def _reading(path: str) -> Iterator[Read]:
    """What reads the record at a place, with the database opened once."""
    if os.path.isdir(path):
        yield lambda place: _parsed(_content(os.path.join(path, place), LARGEST))
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield lambda place: _member(archive, archive.getinfo(place))
    else:
        listed = _listed(path)
        yield lambda place: _object(listed[int(place)])


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Mapping[str, Any]:
    if member.file_size > LARGEST:
        raise ValueError(f"it is larger than {LARGEST} bytes")
    with archive.open(member) as file:
        return _parsed(file.read(LARGEST + 1))  # what it says of its size may be a lie


def _listed(path: str) -> list[Any]:
    """The records of one file: one, a list, or a list under `vulns`."""
    found = json.loads(_content(path, _LARGEST_FILE))
    if isinstance(found, dict):
        within = found.get("vulns", found.get("vulnerabilities"))
        found = within if isinstance(within, list) else [found]
    return found if isinstance(found, list) else []


def _content(path: str, most: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("it is not a regular file")
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most} bytes")
    return content


def _parsed(content: bytes) -> Mapping[str, Any]:
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST} bytes")
    return _object(json.loads(content))


def _object(found: object) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    return found


# --- the index -------------------------------------------------------------------------------------


def _index_at(path: str, identity: str, environ: Mapping[str, str]) -> str:
    from hashlib import sha256

    spelt = f"{_SCHEMA}\0{os.path.realpath(path)}\0{identity}".encode(errors="surrogateescape")
    return os.path.join(cache_dir(environ), "advisories", f"{sha256(spelt).hexdigest()[:32]}.sqlite")


def _connected(path: str) -> Any:
    import sqlite3  # 8 ms: only a lock is judged

    return sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True)


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path)


def _recalled(path: str, index: str) -> Advisories | None:
    """What an index says of its database; None where there is none that we wrote."""
    import sqlite3

    try:
        held = os.lstat(index)
        if held.st_uid != os.geteuid() or stat.S_IMODE(held.st_mode) & 0o022:
            return None
        with closing(_connected(index)) as opened_:
            facts = dict(opened_.execute("select key, value from facts"))
        return Advisories(
            path,
            index,
            int(facts["records"]),
            int(facts["broken"]),
            str(facts["newest"]),
            {ecosystem: int(facts[ecosystem]) for ecosystem in osv.SPELT.values()},
        )
    except (OSError, sqlite3.Error, KeyError, ValueError):
        return None


def _build(path: str, index: str) -> None:
    """Reads every record once; the index is there whole or not at all."""
    make_private(os.path.dirname(index))
    with _draft(index) as draft:
        import sqlite3

        with closing(sqlite3.connect(draft)) as writing:
            writing.execute("create table named (ecosystem text, name text, place text)")
            writing.execute("create table facts (key text primary key, value text)")
            facts = _filled(writing, path)
            writing.executemany("insert into facts values (?, ?)", facts.items())
            writing.execute("create index by_name on named (ecosystem, name)")
            writing.commit()


def _filled(writing: Any, path: str) -> dict[str, str]:
    records, broken, newest = 0, 0, ""
    names: dict[str, set[str]] = {ecosystem: set() for ecosystem in osv.SPELT.values()}
    for place, record in _records(path):
        about = _named(place, record)
        if about is None:
            broken += 1
            continue
        records += 1
        changed = record.get("modified") if record else None
        newest = max(newest, osv.plain(changed, 40))
        for ecosystem, name in about:
            names[ecosystem].add(name)
            writing.execute("insert into named values (?, ?, ?)", (ecosystem, name, place))
        if records + broken > _MOST:
            raise ValueError(f"it holds more than {_MOST} records")
    counts = {ecosystem: str(len(each)) for ecosystem, each in names.items()}
    return {"records": str(records), "broken": str(broken), "newest": newest, **counts}


def _named(place: str, record: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...] | None:
    """The packages that a record is about; None where it is no record."""
    if record is None or not isinstance(record.get("id"), str):
        return None
    try:
        place.encode()  # a file's name may be no text
        return tuple((e, n.encode(errors="replace").decode()) for e, n in osv.named(record))
    except ValueError:
        return None


@contextmanager
def _draft(path: str) -> Iterator[str]:
    draft = f"{path}.{os.getpid()}"
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        yield draft
        os.rename(draft, path)
    finally:
        if os.path.lexists(draft):
            os.unlink(draft)
