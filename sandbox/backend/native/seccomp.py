"""The filters shipped in the wheel: read, checked for shape, installed."""

from __future__ import annotations

import os
import struct
from errno import ENOSYS, EPERM

from sandbox.backend import filters
from sandbox.backend.filters import MACHINES as MACHINES
from sandbox.backend.filters import TIERS as TIERS

_DIRECTORY = os.path.join(os.path.dirname(__file__), "filters")
_INSTRUCTION = 8
_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS: the kernel takes no longer program.

RET_KILL_PROCESS, RET_ERRNO, RET_USER_NOTIF, RET_ALLOW = 0x80000000, 0x00050000, 0x7FC00000, 0x7FFF0000
FOREIGN = 0xFFFF
"""Beside `RET_USER_NOTIF`, which has no use for these bits: a call of another architecture."""
OBSERVED = 0xFFFE
"""Likewise: a call that the tier makes, of which the listener is told first."""

UNASKED = 0x6D637031
"""A directory that is none: by it an observed server's first program is executed, and nobody is asked."""


def _return(value: int) -> bytes:
    return struct.pack("<HBBI", 0x06, 0, 0, value)


_ALONE = (
    (_return(RET_USER_NOTIF | EPERM), _return(RET_ERRNO | EPERM)),
    (_return(RET_USER_NOTIF | ENOSYS), _return(RET_ERRNO | ENOSYS)),
    (_return(RET_USER_NOTIF | FOREIGN), _return(RET_KILL_PROCESS)),
    (_return(RET_USER_NOTIF | OBSERVED), _return(RET_ALLOW)),
)


def load(tier: str, machine: str, *, listened: bool = False) -> bytes:
    """The compiled filter of `tier` for `machine`, or an error: never a weaker one.

    `listened`: of dangerous and refused calls a listener is told, and answers them; else they fail.
    """
    place = filters.path(_DIRECTORY, tier, machine, "bpf")
    bpf = filters.read(place)
    if not bpf or len(bpf) % _INSTRUCTION or len(bpf) > _INSTRUCTION * _MOST_INSTRUCTIONS:
        raise filters.broken(place, bpf)
    return bpf if listened else unlistened(bpf)


def unlistened(bpf: bytes) -> bytes:
    """The same filter where nobody listens: what would be told fails with its error or kills at once."""
    # Whole instructions, and no two neighbours of a program hold one of these between them.
    for listened, alone in _ALONE:
        bpf = bpf.replace(listened, alone)
    return bpf


def install(bpf: bytes) -> None:
    """From here on this process and all it starts live under `bpf`; needs no_new_privs, cannot be undone."""
    # ctypes is loaded only by a process that installs; `plan` and `doctor` only load.
    from sandbox.linux import install_filter

    install_filter(bpf)
