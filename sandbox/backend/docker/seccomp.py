"""The profiles shipped in the wheel for container engines: read, checked for shape."""

from __future__ import annotations

import errno
import json
import os

from sandbox.errors import CannotEnforce, SandboxNotBuilt

# Not the tables of sandbox.plan.syscalls: they would be parsed on every start for two tuples.
MACHINES = ("x86_64", "aarch64")
TIERS = ("strict", "net", "browser", "compat")

_DIRECTORY = os.path.join(os.path.dirname(__file__), "filters")
_REINSTALL = "pip install --force-reinstall mcp-sandbox"


def load(tier: str, machine: str) -> str:
    """The profile of `tier` for `machine` as JSON, or an error: never a weaker one."""
    if machine not in MACHINES:
        known = " and ".join(MACHINES)
        raise CannotEnforce("no-filter", f"no system call filter for `{machine}`, only for {known}")
    if tier not in TIERS:
        hint = f"choose one of {', '.join(TIERS)}"
        raise CannotEnforce("no-filter", f"no system call tier `{tier}`", rule="[syscalls] tier", hint=hint)
    path = os.path.join(_DIRECTORY, f"{machine}-{tier}.json")
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SandboxNotBuilt("no-filter", f"cannot read `{path}`: {error}", hint=_REINSTALL) from error
    if not _refuses_by_default(text):
        raise SandboxNotBuilt("no-filter", f"`{path}` is no filter: {len(text)} bytes", hint=_REINSTALL)
    return text


def for_sentry(text: str) -> str:
    """The profile for gVisor, whose filter answers every refused call with EPERM, whatever the profile says.

    Its own kernel then has to say what matters to whom: ENOSYS for clone3, without which glibc makes no thread,
    and ENOTTY for TIOCSPGRP, without which the engine's init gives up.
    """
    profile = json.loads(text)
    entries = profile["syscalls"]
    for entry in entries:
        if entry.get("errnoRet") == errno.ENOSYS:
            entry["names"].remove("clone3")
    left = [entry for entry in entries if entry.get("errnoRet") != errno.ENOTTY]
    terminal = [{**entry, "action": "SCMP_ACT_ALLOW"} for entry in entries if entry not in left]
    for entry in terminal:
        del entry["errnoRet"]
    profile["syscalls"] = [*left, *terminal, {"names": ["clone3"], "action": "SCMP_ACT_ALLOW"}]
    return json.dumps(profile, separators=(",", ":"))


def _refuses_by_default(text: str) -> bool:
    """Whether `text` is a whole profile: an engine would take `{}` for one that allows everything."""
    try:
        profile = json.loads(text)
    except ValueError:
        return False
    return isinstance(profile, dict) and profile.get("defaultAction") == "SCMP_ACT_ERRNO"
