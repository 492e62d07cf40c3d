"""A descriptor that several threads write whole frames to, never one inside another; and how one is read."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

PIPE_BYTES = 1 << 20
READ = 1 << 16  # what a pipe holds by default
READ_MORE = 1 << 18  # after a full read: a large frame is on its way; of more every page is new each time
PIECE = 1 << 12
_MANY_LINES = READ // 128
# POSIX: a pipe that polls writable takes this many bytes without blocking.
_ATOMIC = select.PIPE_BUF
_CANNOT = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ESPIPE)
"""Kernels before 6.5 write to no pipe like that, and none to a terminal."""


class Outlet:
    """Owns the writing end `fd`: blocking writes for the relay, writes within a time for the last words."""

    def __init__(self, fd: int, waits: Callable[[], None] = lambda: None) -> None:
        """`waits` hears of it before `send` has to wait."""
        self._fd = fd
        self._waits = waits
        self._lock = threading.Lock()
        self._closing = False
        self._nowait = True
        self.gone = False
        self.since = 0.0
        """The monotonic moment from which `send` has been waiting; 0 while it is not."""

    def send(self, data: bytes | bytearray) -> bool:
        """Write all of `data`, however slow the reader; False when nobody can read it any more."""
        if not self._lock.acquire(blocking=False):
            self._waits()
            self._lock.acquire()
        try:
            if not self.gone and (written := self._at_once(data)) < len(data):
                self._waits()
                self.since = time.monotonic()
                self._write(memoryview(data)[written:])
                self.since = 0.0
            if self._closing:
                self._finish_closing()
            return not self.gone
        finally:
            self._lock.release()

    def send_within(self, data: bytes, deadline: float) -> bool:
        """Write all of `data` before the monotonic `deadline`, or give this outlet up."""
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return False
        try:
            if not self.gone and not self._write_until(data, deadline):
                # Half a frame may be out: nothing may follow it.
                self.gone = True
            return not self.gone
        finally:
            self._finish_closing()
            self._lock.release()

    def send_now(self, data: bytes) -> bool:
        """Write a short message if that takes no waiting; False, and nothing written, if it would."""
        if len(data) > _ATOMIC or not self._lock.acquire(blocking=False):
            return False
        try:
            return not self.gone and self._write_until(data, 0.0)
        finally:
            self._finish_closing()
            self._lock.release()

    def close(self) -> None:
        """Close the descriptor now, or as soon as the write under way returns; never under its feet."""
        self._closing = True
        if self._lock.acquire(blocking=False):
            try:
                self._finish_closing()
            finally:
                self._lock.release()

    def _finish_closing(self) -> None:
        if self._closing and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self.gone = True

    def _at_once(self, data: bytes | bytearray) -> int:
        """Write what takes no waiting; how much that was."""
        try:
            if self._nowait:
                return os.pwritev(self._fd, (data,), -1, os.RWF_NOWAIT)
            return self._written(data) if len(data) <= _ATOMIC and self._wait_writable(0.0) else 0
        except BlockingIOError:
            return 0
        except OSError as error:
            self._nowait = False
            self.gone = error.errno not in _CANNOT
        return 0 if self.gone else self._at_once(data)

    def _write(self, left: memoryview) -> None:
        while left and not self.gone:
            try:
                left = left[self._written(left) :]
            except BlockingIOError:
                # The other end's program made the shared file description non-blocking.
                self._wait_writable(None)

    def _written(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            raise
        except OSError:
            self.gone = True
            return 0

    def _write_until(self, data: bytes, deadline: float) -> bool:
        left = memoryview(data)
        while left:
            if not self._wait_writable(max(0.0, deadline - time.monotonic())):
                return False
            try:
                left = left[os.write(self._fd, left[:_ATOMIC]) :]
            except BlockingIOError:
                continue
            except OSError:
                return False
        return True

    def _wait_writable(self, seconds: float | None) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(None if seconds is None else seconds * 1000))


class Intake:
    """The reading end `fd`: much is read at once of long lines, and given out in little pieces of short ones.

    What a megabyte of two-byte lines becomes in memory is a hundred times as much, and takes seconds in
    which nothing else is looked at.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._most = READ

    def read(self) -> bytes:
        """The next bytes, waiting for them; empty at the end."""
        return read_some(self.fd, self._most)

    def cut(self, chunk: bytes) -> Iterable[bytes]:
        """What was read last, in pieces."""
        size = len(chunk)
        if size <= PIECE or not _many_lines(chunk):
            self._most = READ_MORE if size == self._most else READ
            return (chunk,)
        self._most = READ
        return (chunk[at : at + PIECE] for at in range(0, size, PIECE))


def _many_lines(chunk: bytes) -> bool:
    """Whether the lines are short; `find` passes over a long one forty times as fast as `count`."""
    at = 0
    for _ in range(_MANY_LINES):
        at = chunk.find(b"\n", at) + 1
        if not at:
            return False
    return True


def read_some(fd: int, most: int) -> bytes:
    """The next bytes of `fd`, waiting for them; empty at its end and when the other side is gone."""
    while True:
        try:
            return os.read(fd, most)
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll()
        except OSError:
            return b""


def widen(fd: int) -> None:
    """Lets the pipe `fd` hold a large frame (pipe(7)); what is no pipe, or over quota, stays as it is."""
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
