"""A bundle's file: known again by its stamp, read without being unpacked, unpacked into the store.

STORE/bundles/KEY.json     what was read of a file: its stamp, its hash, its manifest
STORE/keys/KEY.json        which tree it became
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import BinaryIO

from sandbox.digest import sha256
from sandbox.errors import CommandNotFound, SandboxError, SandboxNotBuilt
from sandbox.records import dataclass
from sandbox.supply import mcpb
from sandbox.supply.hostile_json import LARGEST, Malformed
from sandbox.supply.store import Entry, Store

SCHEMA = 2
_SETTLED_NS = 2_000_000_000
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Read:
    """What a bundle's file holds, as it is now."""

    sha256: str
    manifest: str
    project: str
    """Its `pyproject.toml`; empty where it has none."""
    signed: str
    """Who signed it, as a person is told; empty where nobody did."""
    unchecked: str = ""
    """What could not be checked of that."""
    vouched: bool = False
    """An authority of this machine's says who that is."""


def read(path: str, store: Store) -> Read:
    """The bundle at `path`: read, hashed and checked where it is not the very file that was before."""
    with _opened(path) as file:
        stamp = _stamp(file)
        notes = os.path.join(store.root, "bundles", sha256(os.fsencode(path)).hexdigest()[:40] + ".json")
        known = _noted(notes, stamp)
        if known is not None:
            return known
        found = _read(file, path)
    # A change within the clock's own grain leaves the stamp as it is: only what has settled is noted.
    if time.time_ns() - max(stamp[3:]) > _SETTLED_NS:
        with suppress(OSError):
            _note(notes, stamp, found)
    return found


def kept(known: str, store: Store) -> Read | None:
    """What was unpacked of the bundle `sha256:HEX`, wherever its file is; None where it never was."""
    from sandbox.supply.uv_project import PROJECT
    from sandbox.supply.verify import verify

    digest = known.removeprefix("sha256:")
    entry = store.lookup(key_of(digest))
    if entry is None:
        return None
    verify(store, entry.digest)
    tree = store.tree(entry.digest)
    return Read(digest, _text(tree, mcpb.MANIFEST), _text(tree, PROJECT), "")


def _text(tree: str, name: str) -> str:
    """A file of a tree that was checked; nothing where it has none."""
    try:
        with open(os.path.join(tree, name), encoding="utf-8") as opened:
            return opened.read(LARGEST)
    except FileNotFoundError:
        return ""


def unpack(path: str, expected: str, title: str, store: Store, progress: Callable[[str], None]) -> Entry:
    """The entry of the bundle whose SHA-256 is `expected`: unpacked once, however many ask."""
    key = key_of(expected)
    if (entry := store.lookup(key)) is not None:
        return entry
    store.prepare()
    with store.lock(key):
        if (entry := store.lookup(key)) is not None:
            return entry
        entry = _unpack(path, expected, title, store, key)
    progress(f"unpacked {title}")
    return entry


def key_of(digest: str) -> str:
    """Under which the store remembers the tree of a bundle."""
    return sha256(f"mcpb {digest}".encode()).hexdigest()[:40]


def _unpack(path: str, expected: str, title: str, store: Store, key: str) -> Entry:
    from sandbox.supply.tree import seal
    from sandbox.supply.zipped import Archive, Refused

    with store.stage(key) as staging:
        tree = os.path.join(staging, "tree")
        copy = os.path.join(staging, "log")  # which no kept tree has beside it
        # What is hashed and what is unpacked are one file that nobody else can write.
        with _opened(path) as file, open(copy, "w+b") as private:
            if _copied(file, private) != expected:
                raise SandboxNotBuilt("bundle-changed", f"`{path}` changed while it was read")
            try:
                end, _ = _archive_end(private)
                Archive(private, end, whole=os.fstat(private.fileno()).st_size).unpack(tree)
            except (Refused, ValueError) as error:
                raise refused(path, error) from None
        os.unlink(copy)
        digest, manifest = seal(tree)
        store.keep(staging, digest, manifest)
        entry = Entry(digest, {}, None, "", (0, 0), "", (title,), time.time_ns())
        store.remember(key, entry)
    return entry


def refused(path: str, error: Exception) -> SandboxError:
    """The error of a file that is no bundle, or none that is used."""
    return SandboxNotBuilt("bundle-refused", f"`{path}`: {error}")


def _opened(path: str) -> BinaryIO:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CommandNotFound("bundle-not-found", f"`{path}` cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise CommandNotFound("bundle-not-found", f"`{path}` is no file")
    return os.fdopen(fd, "rb")


def _stamp(file: BinaryIO) -> list[int]:
    found = os.fstat(file.fileno())
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _noted(path: str, stamp: list[int]) -> Read | None:
    try:
        with open(path, "rb") as opened:
            found = json.load(opened)
        if found.pop("schema") != SCHEMA or found.pop("stamp") != stamp:
            return None
        return Read(**found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _note(path: str, stamp: list[int], found: Read) -> None:
    import tempfile
    from dataclasses import asdict

    if found.unchecked:
        return  # what could not be checked is tried, and said, again
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    fd, part = tempfile.mkstemp(dir=folder)
    with os.fdopen(fd, "w") as opened:
        json.dump({"schema": SCHEMA, "stamp": stamp, **asdict(found)}, opened)
    os.rename(part, path)


def _read(file: BinaryIO, path: str) -> Read:
    import tempfile

    from sandbox.supply.zipped import LARGEST as LARGEST_FILE
    from sandbox.supply.zipped import Archive, Refused

    if os.fstat(file.fileno()).st_size > LARGEST_FILE:
        raise refused(path, Refused(f"it is larger than {LARGEST_FILE >> 20} MiB"))
    # As when it is unpacked: what is hashed is what is read.
    with tempfile.TemporaryFile() as private:
        whole = _copied(file, private)
        try:
            end, signature = _archive_end(private)
            signed, unchecked, vouched = ("", "", False)
            if signature is not None:
                signed, unchecked, vouched = _signer(private, end, signature)
            archive = Archive(private, end, whole=os.fstat(private.fileno()).st_size)
            manifest = archive.member(mcpb.MANIFEST, LARGEST)
            if manifest is None:
                raise Malformed(f"it has no `{mcpb.MANIFEST}`")
            from sandbox.supply.uv_project import LARGEST as LARGEST_PROJECT
            from sandbox.supply.uv_project import PROJECT

            project = archive.member(PROJECT, LARGEST_PROJECT) or b""
            return Read(whole, manifest.decode(), project.decode(), signed, unchecked, vouched)
        except ValueError as error:
            raise refused(path, error) from None


def _copied(file: BinaryIO, private: BinaryIO) -> str:
    """The SHA-256 of what was copied, whole and no longer than a bundle may be."""
    import hashlib

    from sandbox.supply.zipped import LARGEST as LARGEST_FILE

    found, size = hashlib.sha256(), 0
    file.seek(0)
    while (piece := file.read(_PIECE)) and size <= LARGEST_FILE:
        found.update(piece)
        private.write(piece)
        size += len(piece)
    private.flush()
    return found.hexdigest()


def _archive_end(private: BinaryIO) -> tuple[int, bytes | None]:
    from sandbox.supply.mcpb_signature import TAIL, cut

    size = os.fstat(private.fileno()).st_size
    private.seek(max(0, size - TAIL))
    return cut(private.read(), size)


def _signer(private: BinaryIO, end: int, signature: bytes) -> tuple[str, str, bool]:
    """Who signed it, what could not be checked, and whether an authority vouches for the signer.

    A signature that does not hold is refused.
    """
    import datetime

    from sandbox.supply.mcpb_signature import verify

    def digest(algorithm: str) -> bytes:
        import hashlib

        found, left = hashlib.new(algorithm), end
        private.seek(0)
        while left and (piece := private.read(min(_PIECE, left))):
            found.update(piece)
            left -= len(piece)
        return found.digest()

    try:
        signer = verify(signature, digest, _authorities(), datetime.datetime.now(datetime.UTC))
        return signer.words(), "", signer.standing == "authority"
    except ImportError:
        how = "`pip install 'mcp-sandbox[provenance]'` has what checks it"
        return "", f"the bundle is signed, and its signature was not checked: {how}", False


def _authorities() -> Iterator[bytes]:
    """Those of the system, read once somebody asks: a signature that does not hold needs none."""
    import ssl

    yield from ssl.create_default_context().get_ca_certs(binary_form=True)


def manifest_of(found: Read, path: str) -> mcpb.Manifest:
    """Its manifest, for this platform."""
    try:
        return mcpb.parse(found.manifest.encode())
    except Malformed as error:
        raise refused(path, Malformed(f"its manifest {error}")) from None


def environment_store(environ: Mapping[str, str]) -> Store:
    """The store of this user, where it is only this user's."""
    from sandbox.places import cache_dir

    store = Store(os.path.join(cache_dir(environ), "store"))
    store.check_owner()
    return store
