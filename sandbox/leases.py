"""Which sandboxes live: a small file each, written before the start, removed by the keeper.

A lease whose wrapper is gone belongs to a crash of both wrapper and keeper; the next start removes
what they could not.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from sandbox.errors import SandboxNotBuilt
from sandbox.places import state_dir
from sandbox.records import dataclass

RELEASE_ATTEMPTS = 100
RELEASE_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class Lease:
    """One session: its wrapper's pid and start time (proc(5), stat field 22) and the cgroups to remove."""

    session: str
    server: str
    pid: int
    started: int
    cgroups: tuple[str, ...] = ()


def directory(environ: Mapping[str, str]) -> str:
    """Where leases are kept."""
    return f"{state_dir(environ)}/sessions"


def start_time(pid: int) -> int:
    """Clock ticks since boot at which `pid` started; 0 when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def take(lease: Lease, environ: Mapping[str, str]) -> str:
    """Writes the lease and returns its path; a state directory that cannot be written stops the start."""
    # The name alone says whose it is: a crash between creating and writing still leaves a lease to reap.
    path = f"{directory(environ)}/{lease.session}~{lease.pid}~{lease.started}"
    body = {"schema": 1, "server": lease.server, "cgroups": list(lease.cgroups)}
    try:
        os.makedirs(directory(environ), mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:
            json.dump(body, file)
    except OSError as error:
        what = f"the state directory cannot be written: {error}"
        raise SandboxNotBuilt(
            "state-not-writable", what, hint="set XDG_STATE_HOME to a directory of yours"
        ) from error
    return path


def reap(environ: Mapping[str, str]) -> list[str]:
    """Removes the leases and empty cgroups of wrappers that are gone; the sessions that were reaped."""
    reaped = []
    for path, lease in _stale(directory(environ)):
        if all(_removed(cgroup) for cgroup in lease.cgroups):
            os.unlink(path)
            reaped.append(lease.session)
    return reaped


def release(path: str, lease: Lease) -> bool:
    """Does the work of a keeper that was killed; False when a cgroup stayed busy for a second."""
    for _ in range(RELEASE_ATTEMPTS):
        if all(_removed(cgroup) for cgroup in lease.cgroups):
            with suppress(FileNotFoundError):
                os.unlink(path)
            return True
        time.sleep(RELEASE_PAUSE_S)
    return False


def _stale(folder: str) -> Iterator[tuple[str, Lease]]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        lease = _read(folder, name)
        if lease is not None and start_time(lease.pid) != lease.started:
            yield f"{folder}/{name}", lease


def _read(folder: str, name: str) -> Lease | None:
    session, _, rest = name.partition("~")
    pid, _, started = rest.partition("~")
    if not (pid.isdigit() and started.isdigit()):
        return None
    try:
        with open(f"{folder}/{name}") as file:
            body = json.load(file)
        return Lease(session, body["server"], int(pid), int(started), tuple(body["cgroups"]))
    except (OSError, ValueError, KeyError, TypeError):
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
