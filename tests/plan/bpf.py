"""A classic BPF machine as seccomp(2) runs it: enough to ask a shipped filter what it would say."""

from __future__ import annotations

import struct
from collections.abc import Sequence

ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003, "arm": 0x40000028}

_LOAD, _AND, _JUMP, _RETURN = 0x20, 0x54, 0x05, 0x06
_EQUAL = 0x15
_COMPARE = {
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
    0x45: lambda a, k: bool(a & k),
}

Program = Sequence[tuple[int, int, int, int]]


def decode(bpf: bytes) -> Program:
    """The instructions of a filter."""
    return tuple(struct.iter_unpack("<HBBI", bpf))


def run(program: Program, arch: int, number: int, args: Sequence[int]) -> tuple[int, int]:
    """The action the kernel would take, and how many instructions it took to say so."""
    six = [*args, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *(a & (2**64 - 1) for a in six))
    at = accumulator = steps = 0
    # The kernel checks at load that every jump goes forward and the last instruction returns.
    while True:
        code, when_true, when_false, k = program[at]
        at += 1
        steps += 1
        if code == _EQUAL:  # nearly all of them are: a filter is asked for ten thousands of calls
            at += when_true if accumulator == k else when_false
        elif code == _RETURN:
            return k, steps
        elif code == _LOAD:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == _AND:
            accumulator &= k
        elif code == _JUMP:
            at += k
        elif code in _COMPARE:
            at += when_true if _COMPARE[code](accumulator, k) else when_false
        else:
            raise ValueError(f"instruction {code:#x} is not one seccomp knows here")
