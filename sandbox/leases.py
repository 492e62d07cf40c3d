"""Which sandboxes live: a small file each, written before the start, removed by the keeper.

A lease whose wrapper is gone belongs to a crash of both wrapper and keeper; the next start removes
what they could not: cgroups, containers, staged files. A keeper of containers holds a lock on its lease.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from sandbox.backend.process import start_time as start_time
from sandbox.errors import SandboxNotBuilt
from sandbox.places import state_dir
from sandbox.records import dataclass

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.backend.docker.reap import Engines

RELEASE_ATTEMPTS = 100
RELEASE_PAUSE_S = 0.01
ENGINE_S = 2.0
"""For all engines together: a start does not wait longer for what others left."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One session: its wrapper, by pid and start time (proc(5), stat field 22), and all that goes with it."""

    session: str
    server: str
    pid: int
    started: int
    cgroups: tuple[str, ...] = ()
    backend: str = "native"
    profile: str = ""
    engine: str = ""
    """Of the containers: where they are."""
    containers: tuple[str, ...] = ()
    """By name, which is known before they are made."""
    folder: str = ""
    """Of files staged for the containers."""

    @property
    def lives(self) -> bool:
        """Whether its wrapper does."""
        return start_time(self.pid) == self.started


def directory(environ: Mapping[str, str]) -> str:
    """Where leases are kept."""
    return f"{state_dir(environ)}/sessions"


def socket_path(session: str, environ: Mapping[str, str]) -> str:
    """The session's control socket (`sandbox.control`), which its keeper removes as it does the lease."""
    return f"{state_dir(environ)}/control/{session}"


def take(lease: Lease, environ: Mapping[str, str]) -> str:
    """Writes the lease and returns its path; a state directory that cannot be written stops the start."""
    # The name alone says whose it is: a crash between creating and writing still leaves a lease to reap.
    path = f"{directory(environ)}/{lease.session}~{lease.pid}~{lease.started}"
    body = {"schema": 1, **{name: getattr(lease, name) for name in _WRITTEN}}
    try:
        os.makedirs(directory(environ), mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:
            json.dump(body, file)
    except OSError as error:
        what = f"the state directory cannot be written: {error}"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = (
            f"make room below {directory(environ)}" if full else "set XDG_STATE_HOME to a directory of yours"
        )
        raise SandboxNotBuilt("state-not-writable", what, hint=hint) from error
    return path


def every(environ: Mapping[str, str]) -> list[Lease]:
    """All leases of this user, the oldest first; of those that live and of those that are to be reaped."""
    found = [lease for _, lease in _leases(directory(environ))]
    return sorted(found, key=lambda lease: (lease.started, lease.session))


def reap(environ: Mapping[str, str], seconds: float = ENGINE_S) -> list[str]:
    """Removes what sessions left whose wrapper and keeper are gone; the sessions that were reaped."""
    engines: list[Engines] = []
    reaped = []
    try:
        for path, lease in _leases(directory(environ)):
            if not lease.lives and _reaped(path, lease, environ, engines, seconds):
                reaped.append(lease.session)
        for one in engines:
            one.remove_abandoned()
    finally:
        for one in engines:
            one.close()
    return reaped


def _reaped(
    path: str, lease: Lease, environ: Mapping[str, str], engines: list[Engines], seconds: float
) -> bool:
    fd = _locked(path)
    if fd is None:
        return False
    try:
        if lease.containers and not engines:
            engines.append(_engines(environ, seconds))
        done = _all_removed(lease, engines, environ)
        if done:
            os.unlink(path)
        return done
    finally:
        os.close(fd)


def _locked(path: str) -> int | None:
    """The lease, ours alone; None while its keeper is at work, or where it is gone already."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:
            return fd
    except BlockingIOError:
        pass
    os.close(fd)
    return None


def release(path: str, lease: Lease, environ: Mapping[str, str]) -> bool:
    """Does the work of a keeper that was killed; False when something stayed, for the next start."""
    engines = [_engines(environ, ENGINE_S)] if lease.containers else []
    try:
        for _ in range(RELEASE_ATTEMPTS):
            if _all_removed(lease, engines, environ):
                with suppress(FileNotFoundError):
                    os.unlink(path)
                return True
            time.sleep(RELEASE_PAUSE_S)
        return False
    finally:
        for one in engines:
            one.close()


def _engines(environ: Mapping[str, str], seconds: float) -> Engines:
    from sandbox.backend.docker.reap import Engines

    return Engines(environ, seconds)


def _all_removed(lease: Lease, engines: list[Engines], environ: Mapping[str, str]) -> bool:
    with suppress(OSError):
        os.unlink(socket_path(lease.session, environ))
    # Whoever made containers may still be making one where an engine does not answer: files come last.
    if lease.containers and not engines[0].remove(lease.engine, lease.containers):
        return False
    if lease.folder and not _cleared(lease.folder):
        return False
    return all(_removed(cgroup) for cgroup in lease.cgroups)


def _cleared(folder: str) -> bool:
    from sandbox.backend.docker.stage import clear

    return clear(folder)


def _leases(folder: str) -> Iterator[tuple[str, Lease]]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        lease = _read(folder, name)
        if lease is not None:
            yield f"{folder}/{name}", lease


_WORDS = ("server", "backend", "profile", "engine", "folder")
_LISTS = ("cgroups", "containers")
_WRITTEN = (*_WORDS, *_LISTS)
_EARLIER = {"backend": "native"}


def _read(folder: str, name: str) -> Lease | None:
    """What can be read of it: an older version wrote less, and a crash may have cut it short."""
    session, _, rest = name.partition("~")
    pid, _, started = rest.partition("~")
    if not (pid.isdigit() and started.isdigit()):
        return None
    try:
        with open(f"{folder}/{name}") as file:
            body = json.load(file)
        words = {key: str(body.get(key, _EARLIER.get(key, ""))) for key in _WORDS}
        lists = {key: tuple(map(str, body.get(key, ()))) for key in _LISTS}
        return Lease(session, pid=int(pid), started=int(started), **words, **lists)  # type: ignore[arg-type]
    except FileNotFoundError:
        return None  # it has ended since its name was read
    except (OSError, ValueError, TypeError, AttributeError):
        return Lease(session, "", int(pid), int(started))


def _removed(cgroup: str) -> bool:
    # Busy: the keeper of that session is still at work, or a process survives; it stays in the list.
    try:
        os.rmdir(cgroup)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
