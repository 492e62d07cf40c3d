"""What starts uv so that it can start nothing itself: a source distribution's code runs by no mistake.

uv builds a source distribution where it has to learn what it requires, and no option of uv's says: take
what a source says of itself, and never run it. So the kernel says it (seccomp(2)): no new process, threads
alone. What would be built fails, by its name.
"""

from __future__ import annotations

from collections.abc import Sequence

_ALONE = """
import ctypes, os, struct, sys
ARCH, SECCOMP, CLONE, FORK, VFORK = {
    "x86_64": (0xC000003E, 317, 56, 57, 58), "aarch64": (0xC00000B7, 277, 220, 1 << 20, 1 << 20),
}[os.uname().machine]
CLONE3, THREAD, ALLOW, EACCES, ENOSYS = 435, 0x10000, 0x7FFF0000, 0x5000D, 0x50026
def op(code, k, yes=0, no=0):
    return struct.pack("HBBI", code, yes, no, k)
# Jumps count from the next line; libc falls back to clone where there is no clone3.
program = b"".join([
    op(0x20, 4), op(0x15, ARCH, 0, 8),
    op(0x20, 0), op(0x15, CLONE3, 7, 0), op(0x15, FORK, 5, 0), op(0x15, VFORK, 4, 0), op(0x15, CLONE, 0, 2),
    op(0x20, 16), op(0x45, THREAD, 0, 1),
    op(6, ALLOW), op(6, EACCES), op(6, ENOSYS),
])
class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("at", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
if libc.syscall(SECCOMP, 1, 0, ctypes.byref(Program(len(program) // 8, program))):
    sys.exit("no filter keeps it from starting programs: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"""


def alone(python: str, step: Sequence[str]) -> tuple[str, ...]:
    """The step, run by `python` so that no process can come of it."""
    return (python, "-I", "-S", "-c", _ALONE, *step)
