"""One forbidden system call from a small program: prints what came of it, or does not live to print.

Reads `{"attack": …, "filter": hex, "numbers": {…}}` on stdin; an empty filter is the control. What an
attack needs first (a terminal, an open file) is prepared before the filter is on.
"""

from __future__ import annotations

import ctypes
import json
import os
import pty
import sys
from collections.abc import Callable

from sandbox import linux
from sandbox.backend.native import seccomp

ASKED = json.load(sys.stdin)
LIBC = ctypes.CDLL(None, use_errno=True)
BAD_POINTER = 1
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
CLONE_NEWUSER, SIGCHLD = 0x10000000, 17


def call(name: str, *args: object) -> int:
    """The call's result, or minus its errno."""
    number = ASKED["numbers"][name] if name in ASKED["numbers"] else int(name, 0)
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = LIBC.syscall(ctypes.c_long(number), *wide)
    return -ctypes.get_errno() if result == -1 else int(result)


def vectors(address: int, length: int) -> ctypes.Array[ctypes.c_ulong]:
    return (ctypes.c_ulong * 2)(address, length)


def copy_own_memory(name: str) -> int:
    """Copies eight bytes of this very process, which the kernel allows to anybody."""
    ours, theirs = ctypes.create_string_buffer(8), ctypes.create_string_buffer(b"secret!")
    here, there = vectors(ctypes.addressof(ours), 8), vectors(ctypes.addressof(theirs), 8)
    return call(name, os.getpid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0)


def forked(name: str) -> int:
    """clone(2) into a user namespace of one's own; the child only exits."""
    result = call(name, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    if result > 0:
        os.waitpid(result, 0)
    return result


def terminal() -> int:
    """A controlling terminal of our own, into which TIOCSTI would type."""
    if pid := os.fork():
        _, status = os.waitpid(pid, 0)
        os._exit(os.waitstatus_to_exitcode(status))
    os.setsid()
    _, slave = pty.openpty()
    linux_tiocsctty = 0x540E
    LIBC.ioctl(slave, ctypes.c_ulong(linux_tiocsctty), 0)
    return slave


def typed(request: int) -> Callable[[], int]:
    slave, byte = terminal(), ctypes.create_string_buffer(b"x")
    return lambda: call("ioctl", slave, request, byte)


def executed() -> Callable[[], int]:
    """Becomes /bin/true through a descriptor: nothing is printed then."""
    program = os.open("/bin/true", os.O_RDONLY)
    arguments, environment = (ctypes.c_char_p * 2)(b"true", None), (ctypes.c_char_p * 1)(None)
    return lambda: call("execveat", program, b"", arguments, environment, AT_EMPTY_PATH)


def socketcall_of_i386() -> Callable[[], int]:
    """`int 0x80` with socketcall(SYS_SOCKET, {AF_UNIX, SOCK_STREAM, 0}) from 64-bit code."""
    LIBC.mmap.restype = ctypes.c_void_p
    readable_writable_executable, private_anonymous_32bit = 7, 0x62
    page = LIBC.mmap(None, 4096, readable_writable_executable, private_anonymous_32bit, -1, 0)
    arguments = (page + 2048).to_bytes(4, "little")
    # push rbx; mov eax, 102; mov ebx, 1; mov ecx, arguments; int 0x80; pop rbx; ret
    code = b"\x53\xb8\x66\0\0\0\xbb\x01\0\0\0\xb9" + arguments + b"\xcd\x80\x5b\xc3"
    ctypes.memmove(page, code, len(code))
    ctypes.memmove(page + 2048, b"\1\0\0\0\1\0\0\0\0\0\0\0", 12)
    return ctypes.CFUNCTYPE(ctypes.c_int)(page)


def plain(name: str, *args: object) -> Callable[[], Callable[[], int]]:
    return lambda: lambda: call(name, *args)


ZEROS = ctypes.create_string_buffer(256)
ATTACKS: dict[str, Callable[[], Callable[[], int]]] = {
    "ptrace": plain("ptrace", 0, 0, 0, 0),
    "process_vm_readv": lambda: lambda: copy_own_memory("process_vm_readv"),
    "process_vm_writev": lambda: lambda: copy_own_memory("process_vm_writev"),
    "pidfd_getfd": plain("pidfd_getfd", -1, 0, 0),
    "add_key": plain("add_key", b"user", b"mcp-sandbox-probe", b"x", 1, -2),
    "request_key": plain("request_key", b"user", b"mcp-sandbox-absent", 0, 0),
    "keyctl": plain("keyctl", 0, -2, 1),
    "bpf": plain("bpf", 0, BAD_POINTER, 72),
    "perf_event_open": plain("perf_event_open", BAD_POINTER, 0, -1, -1, -1),
    "userfaultfd": plain("userfaultfd", 1),
    "io_uring_setup": plain("io_uring_setup", 1, ZEROS),
    "unshare": plain("unshare", CLONE_NEWUSER),
    "setns": plain("setns", -1, 0),
    "clone": lambda: lambda: forked("clone"),
    "clone3": plain("clone3", 0, 0),
    "mount": plain("mount", BAD_POINTER, BAD_POINTER, BAD_POINTER, 0, 0),
    "umount2": plain("umount2", BAD_POINTER, 0x100),
    "chroot": plain("chroot", BAD_POINTER),
    "open_tree": plain("open_tree", AT_FDCWD, b"/", 0),
    "mount_setattr": plain("mount_setattr", -1, b"", -1, 0, 0),
    "name_to_handle_at": plain("name_to_handle_at", AT_FDCWD, b"/", ZEROS, ZEROS, 0),
    "open_by_handle_at": plain("open_by_handle_at", -1, ZEROS, 0),
    "kexec_load": plain("kexec_load", 0, 999, 0, 0),
    "init_module": plain("init_module", 0, 0, b""),
    "finit_module": plain("finit_module", -1, b"", 0),
    "delete_module": plain("delete_module", b"mcp_sandbox_absent", 0),
    "reboot": plain("reboot", 0, 0, 0, 0),
    "syslog": plain("syslog", 10, 0, 0),
    "AF_ALG": plain("socket", 38, 5, 0),
    "AF_VSOCK": plain("socket", 40, 1, 0),
    "AF_PACKET": plain("socket", 17, 3, 0),
    "dirty AF_ALG": plain("socket", 38 | 0x7EADBEEF << 32, 5, 0),
    "NETLINK_SOCK_DIAG": plain("socket", 16, 3, 4),
    "NETLINK_NETFILTER": plain("socket", 16, 3, 12),
    "SCTP": plain("socket", 2, 1, 132),
    "AF_INET": plain("socket", 2, 1, 0),
    "dirty AF_INET": plain("socket", 2 | 0x7EADBEEF << 32, 1, 0),
    "TIOCSTI": lambda: typed(0x5412),
    "dirty TIOCSTI": lambda: typed(0x7EADBEEF << 32 | 0x5412),
    "memfd_create": plain("memfd_create", b"probe", 0),
    "execveat": executed,
    "personality": plain("personality", 0x0040000),
    "prctl": plain("prctl", 22, 99, 0),
    "seccomp": plain("seccomp", 2, 0, ctypes.c_uint(0x7FFF0000)),
    "i386 socketcall": socketcall_of_i386,
    "x32 getpid": plain("0x40000027"),
}


def main() -> None:
    """Prepares, puts the filter on where there is one, attacks, tells."""
    attack = ATTACKS[ASKED["attack"]]()
    if ASKED["filter"]:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.install(bytes.fromhex(ASKED["filter"]))
    result = attack()
    os.write(1, str(result).encode())
    os._exit(0)


main()
