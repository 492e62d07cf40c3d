"""Which locks a person accepted, by the hash of their bytes: `locks.json` beside the user's profiles.

A lock file counts for nothing by itself, since a repository may bring one. While a lock is replaced both
contents are accepted, so that a crash at any moment leaves one that starts.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sandbox.errors import SandboxNotBuilt
from sandbox.hints import Any
from sandbox.places import config_dir
from sandbox.policy.cache import make_private
from sandbox.policy.search import PROJECT_DIR
from sandbox.records import dataclass, replace
from sandbox.supply.lock import LARGEST, SUFFIX, Lock

FILE = "locks.json"
PREVIOUS = ".previous"
"""Behind the name of a lock: the one before it, for `rollback`."""
_SCHEMA = 1
_MOST = 4 << 20


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is remembered of one lock file."""

    name: str
    hashes: tuple[str, ...]
    """SHA-256 of the file's bytes; two of them where a switch was interrupted."""
    keys: tuple[str, ...]
    """What a start finds it by; none for the one that `rollback` goes back to."""
    profile: str
    trees: tuple[str, ...]
    """Digests of the trees that it needs in the store."""


def user_dir(environ: Mapping[str, str]) -> str:
    """Where the user's own locks are."""
    return os.path.join(config_dir(environ), "locks")


def path_of(name: str, directory: str) -> str:
    """The file of a lock."""
    return os.path.join(directory, name + SUFFIX)


def every(environ: Mapping[str, str]) -> dict[str, Accepted]:
    """By real path; a list that others may write is an error."""
    document = _document(environ)
    try:
        return {str(real): _accepted(one) for real, one in document["locks"].items()} if document else {}
    except (KeyError, TypeError, AttributeError):
        raise _broken(_file(environ), "is not a list of accepted locks") from None


def seal(environ: Mapping[str, str]) -> bytes:
    """The key of what starts remember in the cache (`sealed`); nothing before there is a lock."""
    key = _document(environ).get("seal", "")
    return key.encode("utf-8", "replace") if isinstance(key, str) else b""


def _file(environ: Mapping[str, str]) -> str:
    return os.path.join(config_dir(environ), FILE)


def _document(environ: Mapping[str, str]) -> dict[str, Any]:
    """The list as it is kept; empty where nothing was accepted yet."""
    path = _file(environ)
    try:
        with open(path, "rb") as file:
            held = os.fstat(file.fileno())
            text = file.read(_MOST)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _broken(path, f"cannot be read: {error.strerror}") from None
    if held.st_uid != os.geteuid() or stat.S_IMODE(held.st_mode) & 0o022:
        raise _broken(path, "can be written by others")
    try:
        document: dict[str, Any] = json.loads(text)
        if document["schema"] != _SCHEMA:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _broken(path, "is not a list of accepted locks") from None
    return document


def _accepted(one: Mapping[str, object]) -> Accepted:
    return Accepted(
        _word(one["name"]),
        _words(one["sha256"]),
        _words(one["keys"]),
        _word(one["profile"]),
        _words(one["trees"]),
    )


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(map(_word, value))


def kept(environ: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """By digest of a tree, the locks that need it, the ones that `rollback` goes back to among them."""
    found: dict[str, tuple[str, ...]] = {}
    for path, one in every(environ).items():
        shown = f"{one.name} (previous)" if path.endswith(PREVIOUS) else one.name
        for digest in one.trees:
            found[digest] = (*found.get(digest, ()), shown)
    return found


def content(path: str) -> bytes:
    """The bytes of a lock file, or `lock-gone`, or `lock-unreadable`."""
    try:
        # O_NONBLOCK: a FIFO in a lock's place must not hang the start.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise SandboxNotBuilt("lock-unreadable", f"`{path}` is not a regular file")
            found = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise SandboxNotBuilt("lock-gone", f"`{path}` is gone") from None
    except OSError as error:
        raise SandboxNotBuilt("lock-unreadable", f"`{path}` cannot be read: {error.strerror}") from None
    if len(found) > LARGEST:
        raise SandboxNotBuilt("lock-unreadable", f"`{path}` is larger than {LARGEST >> 20} MiB")
    return found


def text_of(path: str) -> str:
    """The text of a lock file."""
    try:
        return content(path).decode()
    except UnicodeDecodeError:
        raise SandboxNotBuilt("lock-unreadable", f"`{path}` is not UTF-8") from None


def digest(raw: bytes) -> str:
    """SHA-256 of a lock's bytes."""
    from sandbox.digest import sha256

    return str(sha256(raw).hexdigest())


# --- accepting --------------------------------------------------------------------------------------


def put(path: str, lock: Lock, environ: Mapping[str, str]) -> str:
    """The file holds this lock and is accepted, at once or not at all; the hash of its bytes."""
    from sandbox.supply.lock_text import spell  # a start writes none, and reads the compiled form

    raw = spell(lock).encode()
    new, made = digest(raw), entry(lock, path)
    real = os.path.realpath(path)
    with _alone(environ):
        known = every(environ)
        before = known.get(real)
        both = dict.fromkeys((new, *(before.hashes if before else ())))
        trees = dict.fromkeys((*made.trees, *(before.trees if before else ())))
        between = replace(made, hashes=tuple(both), trees=tuple(trees))
        _keep({**known, real: between}, environ)
        _write(real, raw)
        _keep({**known, real: replace(made, hashes=(new,))}, environ)
    return new


def accept(path: str, raw: bytes, environ: Mapping[str, str]) -> None:
    """The very bytes that a person was shown are accepted, whatever the file holds by now."""
    from sandbox.supply.lock_text import parse

    made = replace(entry(parse(raw.decode(), path), path), hashes=(digest(raw),))
    with _alone(environ):
        _keep({**every(environ), os.path.realpath(path): made}, environ)


def drop(path: str, environ: Mapping[str, str]) -> None:
    """The file is gone and no longer missed; what no longer exists is fine too."""
    real = os.path.realpath(path)
    with _alone(environ):
        known = every(environ)
        # The file first: where this breaks off, the start says that the lock is gone, and does not start.
        for one in (path, real):
            try:
                os.unlink(one)
            except FileNotFoundError:
                continue
        _keep({at: one for at, one in known.items() if at != real}, environ)


def entry(lock: Lock, path: str) -> Accepted:
    """What is remembered of a lock, but for its hash."""
    keys = () if path.endswith(PREVIOUS) else lock.keys
    return Accepted(lock.name, (), keys, lock.profile, tuple(dict.fromkeys(t.digest for t in lock.trees)))


@contextmanager
def _alone(environ: Mapping[str, str]) -> Iterator[None]:
    """No other process changes the list meanwhile; the kernel ends this with the process."""
    directory = config_dir(environ)
    make_private(directory)
    fd = os.open(os.path.join(directory, f"{FILE}.held"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _keep(known: Mapping[str, Accepted], environ: Mapping[str, str]) -> None:
    path = _file(environ)
    rows = {
        real: {
            "name": one.name,
            "sha256": list(one.hashes),
            "keys": list(one.keys),
            "profile": one.profile,
            "trees": list(one.trees),
        }
        for real, one in sorted(known.items())
    }
    try:
        key = seal(environ).decode() or os.urandom(32).hex()
        document = {"schema": _SCHEMA, "seal": key, "locks": rows}
        _replace(path, json.dumps(document, indent=2).encode(), 0o600)
    except OSError as error:
        raise _broken(path, f"cannot be written: {error.strerror}") from None


def _write(real: str, raw: bytes) -> None:
    """Of a project's lock, whoever reads the project reads it, as git would have it."""
    directory = os.path.dirname(real)
    shared = PROJECT_DIR in real.split("/")
    if shared:
        os.makedirs(directory, exist_ok=True)
    else:
        make_private(directory)
    try:
        _replace(real, raw, 0o644 if shared else 0o600)
    except OSError as error:
        raise SandboxNotBuilt("lock-unwritable", f"`{real}` cannot be written: {error.strerror}") from None


def _replace(path: str, raw: bytes, mode: int) -> None:
    """Whole or not at all, also after a power failure."""
    from sandbox.supply.disk import sync_directory, write

    part = f"{path}.{os.getpid()}"
    write(part, raw, mode)
    os.rename(part, path)
    sync_directory(os.path.dirname(path))


def _broken(path: str, why: str) -> SandboxNotBuilt:
    import shlex

    return SandboxNotBuilt(
        "locks-unusable", f"`{path}` {why}", hint=f"look at it, then `rm {shlex.quote(path)}`"
    )
