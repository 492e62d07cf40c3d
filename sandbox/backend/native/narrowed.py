"""A shipped filter that is not quite its tier's: a bridge needs less, and a job may narrow itself."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from errno import ENOSYS, EPERM

from sandbox.backend.native.notify import numbers
from sandbox.backend.native.seccomp import FOREIGN, RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS, RET_USER_NOTIF
from sandbox.errors import CannotEnforce

PROGRAMS = ("execve", "execveat", "fork", "vfork", "ptrace", "kill", "tkill", "pidfd_send_signal")
SERVING = ("bind", "listen", "accept", "accept4")
CONNECTING = ("socket", "connect")
TALKING = tuple(
    "read write readv writev pread64 close fcntl ioctl dup dup2 dup3 pipe pipe2 lseek fstat newfstatat poll"
    " ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd2"
    " recvfrom sendto recvmsg sendmsg getsockname getpeername getsockopt setsockopt shutdown socketpair"
    " mmap munmap mprotect mremap brk madvise futex set_robust_list rseq membarrier sched_yield"
    " sched_getaffinity rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall"
    " clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time getrandom"
    " sysinfo uname getpid gettid getppid getuid geteuid getgid getegid exit exit_group clone".split()
)
"""All that a bridge needs once its modules are there and its files are open."""
INSIDE = (*TALKING, *CONNECTING)
OUTSIDE = TALKING
"""Of a bridge beside the sandbox: every connection that it has was handed to it."""
_LINE = struct.Struct("<HBBI")
_HEAD = 4
"""Instructions of a shipped filter's head: whose machine's call it is, and its number."""
_EQUAL, _HOLDS, _LOAD, _RETURN, _LOAD_NUMBER = 0x15, 0x45, 0x20, 0x06, (0x20, 0, 0, 0)
_FIRST_ARGUMENT, _CLONE_THREAD = 16, 0x10000
_REFUSED, _ABSENT = (_RETURN, 0, 0, RET_ERRNO | EPERM), (_RETURN, 0, 0, RET_ERRNO | ENOSYS)
_FOREIGN = ((_RETURN, 0, 0, RET_USER_NOTIF | FOREIGN), (_RETURN, 0, 0, RET_KILL_PROCESS))


def without(bpf: bytes, names: Iterable[str], machine: str) -> bytes:
    """The same filter, under which the calls `names` fail; one that does not begin as ours do is refused."""
    head, search = _parts(bpf)
    known = numbers(machine)
    found = [line for name in names if name in known for line in ((_EQUAL, 0, 1, known[name]), _REFUSED)]
    return head + b"".join(_LINE.pack(*line) for line in found) + search


def only(bpf: bytes, names: Iterable[str], machine: str) -> bytes:
    """The same filter for the calls `names`: all others fail, and what is cloned is a thread."""
    head, search = _parts(bpf)
    known = numbers(machine)
    wanted = [known[name] for name in names if name in known]
    # clone3(2) has its flags in memory, which no filter sees: the C library falls back to clone(2).
    first = [(_EQUAL, 0, 1, known["clone3"]), _ABSENT, *_threads(known["clone"])]
    jumps = [(_EQUAL, len(wanted) - at, 0, number) for at, number in enumerate(wanted)]
    return head + b"".join(_LINE.pack(*line) for line in (*first, *jumps, _REFUSED)) + search


def narrowing(bpf: bytes, machine: str) -> bytes:
    """The same filter, under which a program may narrow itself further: what it adds can loosen nothing."""
    head, search = _parts(bpf)
    first = [(_EQUAL, 0, 1, numbers(machine)["seccomp"]), (_RETURN, 0, 0, RET_ALLOW)]
    return head + b"".join(_LINE.pack(*line) for line in first) + search


def _threads(clone: int) -> list[tuple[int, int, int, int]]:
    flags = (_LOAD, 0, 0, _FIRST_ARGUMENT)
    return [(_EQUAL, 0, 4, clone), flags, (_HOLDS, 1, 0, _CLONE_THREAD), _REFUSED, _LOAD_NUMBER]


def _parts(bpf: bytes) -> tuple[bytes, bytes]:
    head, search = bpf[: _HEAD * _LINE.size], bpf[_HEAD * _LINE.size :]
    lines = list(_LINE.iter_unpack(head))
    if len(lines) != _HEAD or lines[2] not in _FOREIGN or lines[3] != _LOAD_NUMBER:
        raise CannotEnforce("no-filter", "the shipped filter does not begin as it should")
    return head, search
