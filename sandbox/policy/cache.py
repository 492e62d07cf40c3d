"""Resolved policies on disk, so that a warm start parses no TOML and validates nothing twice.

An entry holds the very bytes of every profile it came from: it is used only while all of them, the
search that found them and our own code are still the same. What does not fit is ignored.
"""

from __future__ import annotations

import os
import stat
from binascii import crc32
from collections.abc import Mapping, Sequence

from sandbox.places import cache_dir, has_cache
from sandbox.policy.codec import decode, encode
from sandbox.policy.model import Policy
from sandbox.policy.search import Found
from sandbox.records import dataclass

LARGEST = 4 << 20
_CODE = """codec model fields profile argument_table resolve quota hosts paths positions remote server_table
    supply_table"""


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a chain as it was read, and the name it extends."""

    found: Found
    text: str
    digest: str
    extends: str | None


def recall(found: Found, environ: Mapping[str, str]) -> tuple[tuple[Source, ...], Policy] | None:
    """The sources and the policy remembered for `found`; the caller compares the sources with the disk."""
    import json

    content = read_private(_entry(found, environ))
    try:
        document = json.loads(content)
        if document["code"] != _code_identity():
            return None
        sources = tuple(
            Source(Found(name, path, kind), text, digest, extends)
            for name, path, kind, text, digest, extends in document["sources"]
        )
        return sources, decode(document["policy"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def keep(sources: Sequence[Source], policy: Policy, environ: Mapping[str, str]) -> None:
    """Remembers a policy; a cache that cannot be written costs time, never a start."""
    import json

    if not has_cache(environ):
        return
    rows = [
        [one.found.name, one.found.path, one.found.kind, one.text, one.digest, one.extends] for one in sources
    ]
    document = {"code": _code_identity(), "sources": rows, "policy": encode(policy)}
    try:
        replace_private(_entry(sources[0].found, environ), json.dumps(document).encode())
    except OSError:
        return


def replace_private(path: str, content: bytes) -> None:
    """Writes a file of mode 0600 whole or not at all, in a directory of mode 0700 if it has to be made."""
    directory = os.path.dirname(path)
    make_private(directory)
    if not _ours(os.stat(directory)):
        raise PermissionError(1, "its directory can be written by others", directory)
    draft = f"{path}.{os.getpid()}"
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(content)
        os.rename(draft, path)
    except OSError:
        _remove(draft)
        raise


def make_private(directory: str) -> None:
    """Makes what is missing of the directory, parents too, for us alone (XDG Base Directory 0.8: 0700)."""
    if not os.path.isdir(directory):
        make_private(os.path.dirname(directory))
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            return  # another start of ours was faster; whoever it was, its owner and mode are checked next


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def _entry(found: Found, environ: Mapping[str, str]) -> str:
    # A checksum names the file; two paths that share one only overwrite each other's entry.
    name = f"{found.name}-{found.kind}-{crc32(os.fsencode(found.path)):08x}.json"
    return os.path.join(cache_dir(environ), "policies", name)


def read_private(path: str) -> bytes:
    """The content of a file that only we can have written, else nothing."""
    try:
        if not _ours(os.stat(os.path.dirname(path))):
            return b""
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        held = os.fstat(fd)
        if not _ours(held) or not stat.S_ISREG(held.st_mode):
            return b""
        with open(fd, "rb", closefd=False) as file:  # it opens no directory
            return file.read(LARGEST)
    finally:
        os.close(fd)


def _ours(held: os.stat_result) -> bool:
    return held.st_uid == os.geteuid() and not stat.S_IMODE(held.st_mode) & 0o022


def _code_identity() -> str:
    """A checksum of the modules that turn a file into a policy: another version of us reads afresh."""
    here = os.path.dirname(os.path.abspath(__file__))
    sum_ = 0
    for module in _CODE.split():
        with open(os.path.join(here, f"{module}.py"), "rb") as file:
            sum_ = crc32(file.read(), sum_)
    return f"{sum_:08x}"
