"""Bombs, each with an end of its own, so that the control does not harm the host either."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import threading
import time
from contextlib import suppress

STEP = 4 << 20


HELD_S = 1.0
"""Where nobody but a look counts, memory is seen within a second."""


def memory(most: int, pause: float = 0.005, hold: float = 0.0) -> int:
    """Takes memory step by step and touches it; bytes held, for so many seconds more."""
    held = []
    while sum(map(len, held)) < most:
        with suppress(MemoryError):
            held.append(bytearray(b"x") * STEP)
        time.sleep(pause)
    time.sleep(hold)
    return sum(map(len, held))


def memory_by_children(most: int, children: int) -> int:
    """The same in children, so that no single process is large; how many of them ended well."""
    pids = [_child(lambda: memory(most // children, hold=HELD_S)) for _ in range(children)]
    return sum(os.waitpid(pid, 0)[1] == 0 for pid in pids)


def _child(work: object) -> int:
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            work()  # type: ignore[operator]
            os._exit(0)
        os._exit(1)
    return pid


def fork(most: int) -> int:
    """Sleeping children until no more can be made; how many there were."""
    pids = []
    with suppress(OSError):
        while len(pids) < most:
            pids.append(_child(lambda: time.sleep(30)))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(pids)


def threads(most: int) -> int:
    done, started = threading.Event(), []
    with suppress(RuntimeError):
        while len(started) < most:
            one = threading.Thread(target=done.wait, args=(30,))
            one.start()
            started.append(one)
    done.set()
    for one in started:
        one.join()
    return len(started)


def descriptors(most: int) -> int:
    """Open files until no more can be opened, the soft limit raised as far as it goes."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fds = []
    with suppress(OSError):
        while len(fds) < most:
            fds.append(os.open("/dev/null", os.O_RDONLY))
    for fd in fds:
        os.close(fd)
    return len(fds)


def watchers(most: int) -> int:
    """Watchers of files, of which a user has few, until there is no other."""
    libc = ctypes.CDLL(None)
    fds: list[int] = []
    while len(fds) < most and (fd := libc.inotify_init1(0)) >= 0:
        fds.append(fd)
    for fd in fds:
        os.close(fd)
    return len(fds)


def dump_core() -> str:
    """The limit at which a crash of ours starts the host's core dump handler, where it has one."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except ValueError as error:  # Python's word for EPERM
        raise PermissionError(errno.EPERM, str(error)) from error
    return str(resource.getrlimit(resource.RLIMIT_CORE))


def fill(path: str, most: int) -> int:
    """Bytes written to one file below `path` until the disk is full."""
    written, chunk = 0, b"x" * (1 << 16)
    with open(f"{path}/bomb", "wb", buffering=0) as file, suppress(OSError):
        while written < most:
            written += file.write(chunk)
    os.unlink(f"{path}/bomb")
    return written


def files(path: str, most: int) -> int:
    """Empty files made below `path` until no more can be."""
    made = 0
    with suppress(OSError):
        while made < most:
            os.close(os.open(f"{path}/bomb{made}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            made += 1
    for number in range(made):
        os.unlink(f"{path}/bomb{number}")
    return made


def burn(seconds: float) -> float:
    """Processor seconds got in `seconds` of the clock, by one busy process."""
    end, used = time.monotonic() + seconds, time.process_time()
    while time.monotonic() < end:
        pass
    return time.process_time() - used


def flood(size: int, line: int) -> None:
    """Notifications without end, or until `size` bytes are out."""
    frame = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"%s"}}\n' % (b"x" * line)
    for _ in range(size // len(frame)):
        view = memoryview(frame)
        while view:
            view = view[os.write(1, view) :]


def endless_line(size: int) -> None:
    """Bytes on stdout that never become a line."""
    for _ in range(size >> 16):
        os.write(1, b"x" * (1 << 16))


def flood_stderr(size: int) -> None:
    for _ in range(size >> 16):
        os.write(2, b"x" * (1 << 16))
