"""Attacks on other processes: see them, read them, end them, outlive them; and on what was inherited."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import kernel

PTRACE_ATTACH = 16


def seen() -> dict[str, str]:
    """Every process in /proc with its command line."""
    return {name: _text(f"/proc/{name}/cmdline") for name in filter(str.isdigit, os.listdir("/proc"))}


def parent() -> int:
    return os.getppid()


def signal_one(pid: int, number: int) -> None:
    os.kill(pid, number)


def signal_all() -> None:
    """Everything that we may signal; the kernel spares us and process 1."""
    os.kill(-1, signal.SIGKILL)


def alone(seconds: float = 5.0) -> bool:
    """Whether all but process 1 and us are gone, or go within `seconds` (a signal needs a moment)."""
    end = time.monotonic() + seconds
    while len(seen()) > 2 and time.monotonic() < end:
        time.sleep(0.01)
    return len(seen()) == 2


def trace(pid: int) -> None:
    """Takes another process over, and lets it go."""
    kernel.checked(kernel.LIBC.ptrace(PTRACE_ATTACH, pid, None, None))
    os.waitpid(pid, 0)
    kernel.checked(kernel.LIBC.ptrace(17, pid, None, None))


def environment(pid: int | str) -> str:
    """Another process's environment as it was started with."""
    with open(f"/proc/{pid}/environ", errors="replace") as file:
        return file.read()


def memory(pid: int | str, needle: str) -> bool:
    """Whether `needle` is anywhere in the writable memory of another process."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            bounds, access = line.split()[:2]
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            if access.startswith("rw") and end - start < 1 << 26 and _in(mem.fileno(), start, end, needle):
                return True
    return False


def _in(fd: int, start: int, end: int, needle: str) -> bool:
    try:
        return needle.encode() in os.pread(fd, end - start, start)
    except OSError:
        return False


def descriptors(pid: int | str) -> dict[str, str]:
    """What another process has open."""
    return {name: os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}


def through_root(pid: int | str, path: str) -> str:
    """A file as another process's root shows it."""
    with open(f"/proc/{pid}/root{path}") as file:
        return file.read()


def everything_said(needle: str) -> list[str]:
    """Every file of /proc/PID that holds `needle`, over all processes that can be seen."""
    files = ("environ", "cmdline", "status", "mountinfo", "cgroup", "maps", "comm", "stat", "wchan", "auxv")
    places = [f"/proc/{pid}/{file}" for pid in seen() if pid != str(os.getpid()) for file in files]
    return [place for place in places if needle in _text(place)]


def inherited() -> dict[str, str]:
    """Every open descriptor from 3 on, with the start of what it gives."""
    found = {}
    for number in range(3, 1024):
        try:
            found[str(number)] = os.readlink(f"/proc/self/fd/{number}")
            found[str(number)] += "=" + os.pread(number, 4096, 0).decode(errors="replace")
        except OSError:
            continue
    return found


def own_environment() -> dict[str, str]:
    return dict(os.environ)


def own_maps() -> str:
    return _text("/proc/self/maps")


def own_status() -> dict[str, str]:
    """/proc/self/status, by field."""
    return dict(line.split(":\t", 1) for line in _text("/proc/self/status").splitlines() if ":\t" in line)


def daemonise(mark: str) -> int:
    """A process without parent, session or terminal that ignores what can be ignored; its pid here."""
    ready, told = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(told, str(os.getpid()).encode())
            words = "import signal,time\nfor n in range(1, 32):\n try: signal.signal(n, signal.SIG_IGN)\n"
            words += " except (OSError, ValueError): pass\ntime.sleep(600)"
            os.execv(sys.executable, [sys.executable, "-c", words, mark])  # noqa: S606 - no shell is wanted
        os._exit(0)
    os.wait()
    os.close(told)
    return int(os.read(ready, 32))


def ignore_everything() -> None:
    """From here on this process ends by SIGKILL only."""
    for number in range(1, 32):
        if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_IGN)


def deaf() -> None:
    """Ignores every signal and the end of its input."""
    ignore_everything()
    time.sleep(600)


def die(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(600)


def leave(status: int) -> None:
    os._exit(status)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def shared_memory(key: int, size: int, create: bool) -> int:
    """A System V segment, made or found by its key."""
    shmget = kernel.LIBC.shmget
    shmget.argtypes = (ctypes.c_int, ctypes.c_size_t, ctypes.c_int)
    return kernel.checked(shmget(key, size, (0o1000 | 0o666) if create else 0o666))
