"""The pipes between a wrapper and its keeper."""

from __future__ import annotations

import fcntl
import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socketpair

from sandbox.records import dataclass

# One large frame fits without a second wake-up; the kernel's default is 64 KiB (pipe(7)).
PIPE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Channels:
    """Each as (read end, write end)."""

    stdin: tuple[int, int]
    stdout: tuple[int, int]
    stderr: tuple[int, int]
    report: tuple[int, int]
    lifeline: tuple[int, int]
    sensors: tuple[int, int] = (-1, -1)
    """The wrapper's end and the sandbox's, of a native one alone."""
    gateway: tuple[int, int] = (-1, -1)
    """The wrapper's end and the gateway's, where the keeper forks one."""

    def of_wrapper(self) -> tuple[int, ...]:
        """What the keeper has no use for."""
        pipes = self.stdin[1], self.stdout[0], self.stderr[0], self.report[0], self.lifeline[1]
        return (*pipes, *(fd for fd in (self.sensors[0], self.gateway[0]) if fd >= 0))

    def of_keeper(self) -> tuple[int, ...]:
        """What the wrapper has no use for."""
        pipes = self.stdin[0], self.stdout[1], self.stderr[1], self.report[1], self.lifeline[0]
        return (*pipes, *(fd for fd in (self.sensors[1], self.gateway[1]) if fd >= 0))

    def close(self) -> None:
        """Where there is no keeper."""
        close(*self.of_wrapper(), *self.of_keeper())


def channels(*, measured: bool = False, gateway: bool = False) -> Channels:
    """Fresh pipes; `measured`: with a way out for the sensors."""
    ways = (_pipe, _pipe, os.pipe, os.pipe, os.pipe, pair if measured else _none, pair if gateway else _none)
    made: list[tuple[int, int]] = []
    try:
        for way in ways:
            made.append(way())
    except OSError:
        close(*(fd for ends in made for fd in ends if fd >= 0))
        raise
    return Channels(*made)


def _none() -> tuple[int, int]:
    return -1, -1


def pair() -> tuple[int, int]:
    """Both ends of what carries messages, and descriptors with them (unix(7))."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    return ours.detach(), theirs.detach()


def close(*descriptors: int) -> None:
    """All of them."""
    for fd in descriptors:
        os.close(fd)


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    try:
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        return ends  # the user's pipe quota is spent: smaller pipes are slower, not weaker
    return ends
