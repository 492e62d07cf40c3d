"""The system call filters shipped in the wheel, one file for each machine and tier of a backend."""

from __future__ import annotations

import os

from sandbox.errors import CannotEnforce, SandboxNotBuilt

# Not the tables of sandbox.plan.syscalls: they would be parsed on every start for two tuples.
MACHINES = ("x86_64", "aarch64")
TIERS = ("strict", "net", "browser", "compat")
REINSTALL = "pip install --force-reinstall mcp-sandbox"


def path(folder: str, tier: str, machine: str, ending: str) -> str:
    """Where a backend keeps its filter of `tier` for `machine`; an error where there is none."""
    if machine not in MACHINES:
        known = " and ".join(MACHINES)
        raise CannotEnforce("no-filter", f"no system call filter for `{machine}`, only for {known}")
    if tier not in TIERS:
        hint = f"choose one of {', '.join(TIERS)}"
        raise CannotEnforce("no-filter", f"no system call tier `{tier}`", rule="[syscalls] tier", hint=hint)
    return os.path.join(folder, f"{machine}-{tier}.{ending}")


def read(place: str) -> bytes:
    """The whole file; one that cannot be read stops the start."""
    try:
        with open(place, "rb") as file:
            return file.read()
    except OSError as error:
        what = f"cannot read `{place}`: {error.strerror}"
        raise SandboxNotBuilt("no-filter", what, hint=REINSTALL) from error


def broken(place: str, content: bytes) -> SandboxNotBuilt:
    """The error for a file that is no filter."""
    return SandboxNotBuilt("no-filter", f"`{place}` is no filter: {len(content)} bytes", hint=REINSTALL)
