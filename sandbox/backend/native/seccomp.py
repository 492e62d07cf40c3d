"""The filters shipped in the wheel: read, checked for shape, installed."""

from __future__ import annotations

import os

from sandbox.backend import filters
from sandbox.backend.filters import MACHINES as MACHINES
from sandbox.backend.filters import TIERS as TIERS

_DIRECTORY = os.path.join(os.path.dirname(__file__), "filters")
_INSTRUCTION = 8
_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS: the kernel takes no longer program.


def load(tier: str, machine: str) -> bytes:
    """The compiled filter of `tier` for `machine`, or an error: never a weaker one."""
    place = filters.path(_DIRECTORY, tier, machine, "bpf")
    bpf = filters.read(place)
    if not bpf or len(bpf) % _INSTRUCTION or len(bpf) > _INSTRUCTION * _MOST_INSTRUCTIONS:
        raise filters.broken(place, bpf)
    return bpf


def install(bpf: bytes) -> None:
    """From here on this process and all it starts live under `bpf`; needs no_new_privs, cannot be undone."""
    # ctypes is loaded only by a process that installs; `plan` and `doctor` only load.
    from sandbox.linux import install_filter

    install_filter(bpf)
