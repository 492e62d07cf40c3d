"""The end of sessions from outside: asked first, then made; what it did is said, and what stayed."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from sandbox import leases
from sandbox.leases import Lease
from sandbox.records import dataclass

ASKED_S = 3.0
"""A session that is asked is gone within two."""
KILLED_S = 2.0
CLEAN_S = 2.0
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Stopped:
    """One session: how it ended, and whether nothing of it is left."""

    session: str
    server: str
    pid: int
    how: str
    """`stopped`, `killed`, `gone` where its process was no more, `stays` where it lives on."""
    clean: bool


def stop(chosen: Sequence[Lease], environ: Mapping[str, str]) -> list[Stopped]:
    """Ends these sessions together: SIGTERM, after three seconds SIGKILL."""
    # By pidfd: a pid may be another's by now.
    held = {lease.session: fd for lease in chosen if (fd := _process(lease)) is not None}
    try:
        killed, stayed = _end(held)
    finally:
        for fd in held.values():
            os.close(fd)
    left = _left(chosen, environ)
    return [
        Stopped(
            lease.session, lease.server, lease.pid,
            _how(lease.session, set(held), killed, stayed), lease.session not in left,
        )
        for lease in chosen
    ]  # fmt: skip


def _how(session: str, held: set[str], killed: set[str], stayed: set[str]) -> str:
    if session in stayed:
        return "stays"
    if session in killed:
        return "killed"
    return "stopped" if session in held else "gone"


def _process(lease: Lease) -> int | None:
    """The wrapper, by a descriptor that means it and nothing else; None where it has ended."""
    try:
        fd = os.pidfd_open(lease.pid)
    except ProcessLookupError:
        return None
    if lease.lives:  # looked at after the descriptor was made, which cannot change its meaning
        return fd
    os.close(fd)
    return None


def _end(held: Mapping[str, int]) -> tuple[set[str], set[str]]:
    """The sessions that had to be killed, and those that live on."""
    refused = {session for session, fd in held.items() if not _signal(fd, signal.SIGTERM)}
    lives = _living({session: fd for session, fd in held.items() if session not in refused}, ASKED_S)
    for session in lives:
        _signal(held[session], signal.SIGKILL)
    return lives, refused | _living({session: held[session] for session in lives}, KILLED_S)


def _signal(process: int, number: signal.Signals) -> bool:
    try:
        signal.pidfd_send_signal(process, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True


def _living(processes: Mapping[str, int], seconds: float) -> set[str]:
    """Those that have not ended after that time."""
    until = time.monotonic() + seconds
    waiting = {fd: session for session, fd in processes.items()}
    poll = select.poll()
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    while waiting and (left := until - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            poll.unregister(fd)
            del waiting[fd]
    return set(waiting.values())


def _left(chosen: Sequence[Lease], environ: Mapping[str, str]) -> set[str]:
    """The sessions of which something is left, once their keepers had time, and we took what they did not."""
    wanted = {lease.session for lease in chosen}
    until = time.monotonic() + CLEAN_S
    while (left := _leased(wanted, environ)) and time.monotonic() < until:
        time.sleep(_PAUSE_S)
    if left:
        with suppress(OSError):
            leases.reap(environ)
    return _leased(left, environ)


def _leased(wanted: set[str], environ: Mapping[str, str]) -> set[str]:
    return {lease.session for lease in leases.every(environ)} & wanted
