"""The profiles shipped in the wheel for container engines: read, checked for shape."""

from __future__ import annotations

import errno
import json
import os

from sandbox.backend import filters
from sandbox.backend.filters import MACHINES as MACHINES
from sandbox.backend.filters import TIERS as TIERS

DANGEROUS = "dangerous"
"""As `plan/container_seccomp.py` writes it."""
_DIRECTORY = os.path.join(os.path.dirname(__file__), "filters")


def load(tier: str, machine: str, *, kill: bool = False) -> str:
    """The profile of `tier` for `machine` as JSON, or an error: never a weaker one.

    `kill`: a dangerous call ends the process that makes it; else it fails.
    """
    place = filters.path(_DIRECTORY, tier, machine, "json")
    content = filters.read(place)
    if not _refuses_by_default(content):
        raise filters.broken(place, content)
    return _killing(content) if kill else content.decode()


def _killing(content: bytes) -> str:
    profile = json.loads(content)
    for entry in profile["syscalls"]:
        if entry.get("comment") == DANGEROUS:
            entry["action"] = "SCMP_ACT_KILL_PROCESS"
            del entry["errnoRet"]
    return json.dumps(profile, separators=(",", ":"))


def narrowing(text: str) -> str:
    """The same profile, under which a program may narrow itself further: what it adds can loosen nothing."""
    profile = json.loads(text)
    for entry in profile["syscalls"]:
        entry["names"] = [name for name in entry["names"] if name != "seccomp"]
    left = [entry for entry in profile["syscalls"] if entry["names"]]
    profile["syscalls"] = [*left, {"names": ["seccomp"], "action": "SCMP_ACT_ALLOW"}]
    return json.dumps(profile, separators=(",", ":"))


def for_sentry(text: str) -> str:
    """The profile for gVisor, whose filter answers every refused call with EPERM, whatever the profile says.

    Its own kernel then has to say what matters to whom: ENOSYS for clone3, without which glibc makes no
    thread, and ENOTTY for TIOCSPGRP, without which the engine's init gives up.
    """
    profile = json.loads(text)
    # What fails as everything does by default needs no entry, and these say so again.
    entries = [one for one in profile["syscalls"] if one.get("comment") != DANGEROUS or "args" not in one]
    for entry in entries:
        if entry.get("errnoRet") == errno.ENOSYS:
            entry["names"].remove("clone3")
    left = [entry for entry in entries if entry.get("errnoRet") != errno.ENOTTY]
    terminal = [{**entry, "action": "SCMP_ACT_ALLOW"} for entry in entries if entry not in left]
    for entry in terminal:
        del entry["errnoRet"]
    profile["syscalls"] = [*left, *terminal, {"names": ["clone3"], "action": "SCMP_ACT_ALLOW"}]
    return json.dumps(profile, separators=(",", ":"))


def _refuses_by_default(content: bytes) -> bool:
    """Whether it is a whole profile: an engine would take `{}` for one that allows everything."""
    try:
        profile = json.loads(content)
    except ValueError:
        return False
    return isinstance(profile, dict) and profile.get("defaultAction") == "SCMP_ACT_ERRNO"
