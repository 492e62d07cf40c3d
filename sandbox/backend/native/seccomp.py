"""The filters shipped in the wheel: read, checked for shape, installed."""

from __future__ import annotations

import os

from sandbox.errors import CannotEnforce, SandboxNotBuilt

# Not the tables of sandbox.plan.syscalls: they would be parsed on every start for two tuples.
MACHINES = ("x86_64", "aarch64")
TIERS = ("strict", "net", "browser", "compat")

_DIRECTORY = os.path.join(os.path.dirname(__file__), "filters")
_INSTRUCTION = 8
_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS: the kernel takes no longer program.


def load(tier: str, machine: str) -> bytes:
    """The compiled filter of `tier` for `machine`, or an error: never a weaker one."""
    if machine not in MACHINES:
        known = " and ".join(MACHINES)
        raise CannotEnforce("no-filter", f"no system call filter for `{machine}`, only for {known}")
    if tier not in TIERS:
        hint = f"choose one of {', '.join(TIERS)}"
        raise CannotEnforce("no-filter", f"no system call tier `{tier}`", rule="[syscalls] tier", hint=hint)
    path = os.path.join(_DIRECTORY, f"{machine}-{tier}.bpf")
    try:
        with open(path, "rb") as file:
            bpf = file.read()
    except OSError as error:
        raise SandboxNotBuilt(
            "no-filter", f"cannot read `{path}`: {error.strerror}", hint=_REINSTALL
        ) from error
    if not bpf or len(bpf) % _INSTRUCTION or len(bpf) > _INSTRUCTION * _MOST_INSTRUCTIONS:
        raise SandboxNotBuilt("no-filter", f"`{path}` is no filter: {len(bpf)} bytes", hint=_REINSTALL)
    return bpf


_REINSTALL = "pip install --force-reinstall mcp-sandbox"


def install(bpf: bytes) -> None:
    """From here on this process and all it starts live under `bpf`; needs no_new_privs, cannot be undone."""
    # ctypes is loaded only by a process that installs; `plan` and `doctor` only load.
    from sandbox.linux import install_filter

    install_filter(bpf)
