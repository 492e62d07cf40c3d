"""The system calls that Python's standard library lacks: the one file that touches ctypes.

Every wrapper raises `OSError` with the call's name and target. Numbers are those of x86_64 and
aarch64 (calls from 424 on are the same everywhere; `syscalls(2)`).
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from errno import EINVAL

# PyDLL keeps the GIL: after a raw clone(2) the child goes on in Python as if nothing had happened.
_libc = ctypes.PyDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PARENT = 0x00008000
SIGCHLD = 17

_OWN_LEAST = 6
"""Characters from which a text is nobody's constant that is shared."""

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 32, 4096, 16384, 1 << 18, 1 << 19
MNT_DETACH = 2

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_IDMAP = 0x00100000

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

CLOSE_RANGE_CLOEXEC = 4
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 8, 32
LANDLOCK_CREATE_RULESET_VERSION = 1
KCMP_VM = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_MMAP_MOST = 1 << 25
"""Bytes from which the C library maps each piece anew, at most (mallopt(3))."""

_OPEN_TREE, _MOVE_MOUNT, _CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR, _LANDLOCK = 428, 429, 436, 437, 442, 444
_BY_MACHINE = {
    "x86_64": {"clone": 56, "capset": 126, "pivot_root": 155, "kcmp": 312, "seccomp": 317, "execveat": 322},
    "aarch64": {"clone": 220, "capset": 91, "pivot_root": 41, "kcmp": 272, "seccomp": 277, "execveat": 281},
}
MACHINE = os.uname().machine
_NUMBERS = _BY_MACHINE.get(MACHINE, {})


def _number(name: str) -> int:
    if name not in _NUMBERS:
        raise OSError(38, f"{name}: no system call number known for {MACHINE}")
    return _NUMBERS[name]


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _syscall(number: int, what: str, *args: object) -> int:
    # Every integer goes as a full register: ctypes would pass an int as 32 bits and leave the rest undefined.
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return _checked(_libc.syscall(ctypes.c_long(number), *wide), what)


def _path(path: str | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


def mount(source: str | None, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    text = None if data is None else data.encode()
    done = _libc.mount(_path(source), _path(target), _path(kind), ctypes.c_ulong(flags), text)
    _checked(done, f"mount {kind or source or ''} at {target}")


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _checked(_libc.umount2(_path(target), flags), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2); `.` and `.` stack the old root over the new one, to be unmounted at once."""
    _syscall(_number("pivot_root"), f"pivot_root {new}", _path(new), _path(old))


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked(_libc.unshare(ctypes.c_int(flags)), f"unshare {flags:#x}")


def enter_mounts(path: str) -> None:
    """setns(2) into the mount namespace of `path`, a file of /proc. Only for a process with one thread."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.setns(ctypes.c_int(fd), ctypes.c_int(CLONE_NEWNS)), f"setns {path}")
    finally:
        os.close(fd)


def clone(flags: int) -> int:
    """clone(2) without a new stack, as fork: 0 in the child. Only for a process with one thread."""
    return _syscall(_number("clone"), f"clone {flags:#x}", flags | SIGCHLD, 0, 0, 0, 0)


def open_path(path: str) -> int:
    """An O_PATH descriptor of `path` that crossed no symbolic link (openat2(2))."""
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    return _syscall(_OPENAT2, f"open {path}", AT_FDCWD, _path(path), how, len(how))


def clone_tree(fd: int, what: str) -> int:
    """A detached recursive copy of the mount tree below the O_PATH descriptor `fd` (open_tree(2))."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE
    return _syscall(_OPEN_TREE, f"open_tree {what}", fd, b"", flags)


def set_mount_attributes(
    fd: int, attributes: int, what: str, userns: int = 0, recursive: bool = True
) -> None:
    """mount_setattr(2) on a detached tree; `userns` is the descriptor of an idmapping namespace.

    The tree becomes private too: what is mounted below its source later stays outside.
    """
    attr = struct.pack("=QQQQ", attributes, 0, MS_PRIVATE, userns)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _syscall(_MOUNT_SETATTR, f"mount_setattr {what}", fd, b"", flags, attr, len(attr))


def attach_tree(fd: int, target: str) -> None:
    """Attaches a detached tree at `target` (move_mount(2)); a symbolic link there is not followed."""
    place = open_path(target)
    try:
        flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
        _syscall(_MOVE_MOUNT, f"move_mount {target}", fd, b"", place, b"", flags)
    finally:
        os.close(place)


def execute_at(directory: int, path: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
    """execveat(2) of an absolute path, for which the kernel does not look at `directory`."""
    words = _strings(argv)
    variables = _strings([f"{name}={value}" for name, value in env.items()])
    _syscall(_number("execveat"), f"execute {path}", directory, _path(path), words, variables, 0)


def _strings(texts: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(texts) + 1))(*map(os.fsencode, texts), None)


def prctl(option: int, *args: int) -> int:
    """prctl(2)."""
    words = [ctypes.c_ulong(a) for a in (*args, 0, 0, 0, 0)[:4]]
    return _checked(_libc.prctl(ctypes.c_int(option), *words), f"prctl {option}")


def set_name(name: str) -> None:
    """The thread's name as `ps` shows it, at most 15 bytes."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _checked(_libc.prctl(PR_SET_NAME, buffer, 0, 0, 0), "prctl name")


def drop_capabilities() -> None:
    """Empties the bounding, ambient, permitted, effective and inheritable sets (capabilities(7))."""
    with open("/proc/sys/kernel/cap_last_cap") as last:
        highest = int(last.read())
    for capability in range(highest + 1):
        prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    clear_capabilities()


def clear_capabilities() -> None:
    """capset(2) of nothing: version 3 header, three empty sets of 64 bits."""
    header = struct.pack("=II", 0x20080522, 0)
    _syscall(_number("capset"), "capset", header, bytes(24))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install_filter(bpf: bytes, flags: int = 0) -> int:
    """Installs a seccomp filter of 8-byte cBPF instructions; needs no_new_privs (seccomp(2))."""
    code = ctypes.create_string_buffer(bpf, len(bpf))
    program = _Program(len(bpf) // 8, ctypes.cast(code, ctypes.c_void_p))
    return _syscall(_number("seccomp"), "seccomp", SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(program))


def install_filter_listening(bpf: bytes) -> int:
    """The same, and the descriptor that is told of every call the filter leaves to a listener (Linux 5.0)."""
    try:
        # A caller that is being answered then waits through every signal but a fatal one (Linux 5.19).
        flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
        return install_filter(bpf, flags)
    except OSError as error:
        if error.errno != EINVAL:
            raise
    return install_filter(bpf, SECCOMP_FILTER_FLAG_NEW_LISTENER)


def close_on_exec_from(first: int) -> None:
    """Marks every descriptor from `first` on close-on-exec (close_range(2), Linux 5.11)."""
    _syscall(_CLOSE_RANGE, "close_range", first, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC)


def close_from(first: int) -> None:
    """Closes every descriptor from `first` on, whatever the limit of open files is now (close_range(2))."""
    _syscall(_CLOSE_RANGE, "close_range", first, 0xFFFFFFFF, 0)


def same_memory(one: int, other: int) -> bool:
    """Whether two processes run in the same memory (kcmp(2)); False where that is not ours to know."""
    try:
        return _syscall(_number("kcmp"), "kcmp", one, other, KCMP_VM, 0, 0) == 0
    except OSError:
        return False


def landlock_abi() -> int:
    """The Landlock ABI of this kernel, 0 where there is none (landlock(7))."""
    try:
        return _syscall(_LANDLOCK, "landlock", None, 0, LANDLOCK_CREATE_RULESET_VERSION)
    except OSError:
        return 0


def set_hostname(name: str) -> None:
    """sethostname(2) in the current UTS namespace."""
    raw = name.encode()
    _checked(_libc.sethostname(raw, ctypes.c_size_t(len(raw))), "sethostname")


def keep_memory(size: int) -> None:
    """Lets the C library keep so many bytes that are free at the end of its heap, and have one heap alone.

    By itself it gives back what one message took before the next one comes, for which every page is then new:
    2 to 3 us each, in a virtual machine. With a heap for each thread each of them would keep as much. Where
    there is no mallopt(3) all stays as it is.
    """
    with suppress(AttributeError):
        for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _MMAP_MOST), (_M_TRIM_THRESHOLD, size)):
            _libc.mallopt(option, value)


def give_back() -> None:
    """Gives the kernel what is free now (malloc_trim(3)); other threads go on meanwhile."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def overwrite(value: str | bytes) -> None:
    """Fills an object's characters with `x` where they lie (CPython's layout): a secret that is not needed.

    Short ones may be shared with everybody, and stay.
    """
    size = len(value)
    if size < _OWN_LEAST:
        return
    if isinstance(value, bytes):
        ctypes.memset(id(value) + sys.getsizeof(b"") - 1, ord("x"), size)
    elif value.isascii():
        ctypes.memset(id(value) + sys.getsizeof("") - 1, ord("x"), size)
    else:
        _overwrite_wide(value, size)


def _overwrite_wide(value: str, size: int) -> None:
    """One with more than ASCII, and what it keeps of itself as UTF-8 where somebody has asked for that."""
    width = 1 if max(value) < "\u0100" else 2 if max(value) < "\U00010000" else 4
    # A new text has no UTF-8 kept, which would count to its size.
    ctypes.memset(id(value) + sys.getsizeof(chr(0x80) * 2) - 3, ord("x"), size * width)
    kept = id(value) + sys.getsizeof("") - 1  # its length, and where it is (`PyCompactUnicodeObject`)
    length = ctypes.c_ssize_t.from_address(kept).value
    utf8 = ctypes.c_void_p.from_address(kept + ctypes.sizeof(ctypes.c_ssize_t)).value
    if utf8:
        ctypes.memset(utf8, ord("x"), length)


def scrub_arguments(title: str) -> None:
    """Overwrites this process's argument and environment strings (proc(5), stat fields 48 to 51).

    /proc/PID/cmdline is readable by every process of the sandbox whatever `dumpable` says.
    """
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    arg_start, arg_end, env_start, env_end = (int(field) for field in fields[45:49])
    ctypes.memset(env_start, 0, env_end - env_start)
    ctypes.memset(arg_start, 0, arg_end - arg_start)
    ctypes.memmove(arg_start, title.encode(), min(len(title), arg_end - arg_start - 1))
