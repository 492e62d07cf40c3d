"""What was done to a config file, and what it was before: private, on disk before the file is touched."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from sandbox.clients.keep import LARGEST, NotChanged, folder_of
from sandbox.clients.words import Path
from sandbox.digest import sha256
from sandbox.policy.cache import replace_private
from sandbox.records import dataclass

SCHEMA: Final = 1
_NAME_CHARS: Final = 32


@dataclass(frozen=True, slots=True)
class Written:
    """What we have put in place of a server's own command."""

    path: Path
    command: str
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """How a file gets back: `base` is what each of `states` (digests) was without us."""

    real: str
    base: bytes
    states: tuple[str, ...]
    written: tuple[Written, ...] = ()
    profiles: tuple[tuple[str, str], ...] = ()
    """Profiles that were written for it: path and digest."""


def digest(content: bytes) -> str:
    """The name of a content."""
    return sha256(content).hexdigest()


def recall(real: str, environ: Mapping[str, str]) -> Record | None:
    """What is remembered of a file; None also where that cannot be believed."""
    try:
        document = json.loads(_private(_path(real, environ)))
        if document["schema"] != SCHEMA or document["real"] != real:
            return None
        base = _private(_base(real, str(document["base"]), environ))
        if digest(base) != document["base"]:
            return None
        return _record(document, base)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _record(document: Mapping[str, Any], base: bytes) -> Record:
    written = tuple(
        Written(tuple(one["path"]), str(one["command"]), tuple(map(str, one["args"])))
        for one in document["written"]
    )
    profiles = tuple((str(path), str(sum_)) for path, sum_ in document["profiles"])
    return Record(str(document["real"]), base, tuple(map(str, document["states"])), written, profiles)


def remember(record: Record, environ: Mapping[str, str]) -> str:
    """Keeps it, first what the file was; returns where that lies."""
    sum_ = digest(record.base)
    document = {
        "schema": SCHEMA,
        "real": record.real,
        "base": sum_,
        "states": list(record.states),
        "written": [
            {"path": list(one.path), "command": one.command, "args": list(one.args)} for one in record.written
        ],
        "profiles": [list(one) for one in record.profiles],
    }
    base = _base(record.real, sum_, environ)
    try:
        _durable(base, record.base)
        _durable(_path(record.real, environ), json.dumps(document, indent=1).encode())
    except OSError as error:
        what = f"what `{record.real}` was cannot be kept: {error.strerror}"
        raise NotChanged("no-backup", what, rule="nothing is changed that cannot be undone") from None
    _remove_others(record.real, sum_, environ)
    return base


def forget(real: str, environ: Mapping[str, str]) -> None:
    """Nothing of ours is in the file any more."""
    _remove_others(real, "", environ)


def _durable(path: str, content: bytes) -> None:
    """Private and whole, and on disk: a machine that stops now must find it again."""
    if os.path.lexists(path) and _same(path, content):
        return
    with suppress(FileNotFoundError):
        os.unlink(f"{path}.{os.getpid()}")  # a killed process's, whose number has come round
    replace_private(path, content)
    for name in (path, os.path.dirname(path)):
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _same(path: str, content: bytes) -> bool:
    try:
        return _private(path) == content
    except OSError:
        return False


def _private(path: str) -> bytes:
    """The content of a file that nobody else can have written."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        held = os.fstat(file.fileno())
        if held.st_uid != os.geteuid() or held.st_mode & 0o022 or not stat.S_ISREG(held.st_mode):
            raise PermissionError(1, "others can write it", path)
        return file.read(2 * LARGEST)


def _remove_others(real: str, kept: str, environ: Mapping[str, str]) -> None:
    """Earlier copies hold secrets too: only the one that leads back stays, and no draft."""
    stays = {_path(real, environ), _base(real, kept, environ)} if kept else set()
    with suppress(OSError):
        for name in os.listdir(folder_of(environ)):
            path = os.path.join(folder_of(environ), name)
            if name.startswith(_name(real)) and path not in stays:
                os.unlink(path)


def _name(real: str) -> str:
    return digest(os.fsencode(real))[:_NAME_CHARS]


def _path(real: str, environ: Mapping[str, str]) -> str:
    return os.path.join(folder_of(environ), f"{_name(real)}.json")


def _base(real: str, sum_: str, environ: Mapping[str, str]) -> str:
    return os.path.join(folder_of(environ), f"{_name(real)}-{sum_[:_NAME_CHARS]}.before")
