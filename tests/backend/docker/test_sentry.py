"""What gVisor, whose filter answers EPERM alone, is given instead of the profile that engines compile."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from sandbox.backend.docker import seccomp
from sandbox.plan.container_seccomp import TIOCSPGRP
from sandbox.plan.syscalls import TIERS

MACHINES = ("x86_64", "aarch64")
ALLOW = "SCMP_ACT_ALLOW"


def entries(tier: str, machine: str, *, sentry: bool) -> list[dict[str, Any]]:
    """The profile's entries as they are loaded, or as gVisor gets them."""
    text = seccomp.load(tier, machine)
    found: list[dict[str, Any]] = json.loads(seccomp.for_sentry(text) if sentry else text)["syscalls"]
    return found


def allowed(made: list[dict[str, Any]]) -> set[str]:
    """The calls that are let through, whatever their arguments, and the ioctls by number."""
    found = set()
    for one in made:
        if one["action"] == ALLOW:
            tests = json.dumps(one.get("args", []), sort_keys=True)
            found |= {f"{name} {tests}" for name in one["names"]}
    return found


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("tier", TIERS)
def test_two_calls_are_left_to_its_kernel_and_no_other(tier: str, machine: str) -> None:
    more = allowed(entries(tier, machine, sentry=True)) - allowed(entries(tier, machine, sentry=False))
    names = {one.partition(" ")[0] for one in more}
    # Where a tier has terminals, the init's ioctl is allowed as it is.
    assert names == ({"clone3", "ioctl"} if tier in ("strict", "net") else {"clone3"})
    assert all(f'"value": {0xFFFFFFFF}, "valueTwo": {TIOCSPGRP}' in one for one in more if "ioctl" in one)
    assert allowed(entries(tier, machine, sentry=False)) < allowed(entries(tier, machine, sentry=True))


@pytest.mark.parametrize("tier", TIERS)
def test_the_default_is_still_to_refuse(tier: str) -> None:
    made = json.loads(seccomp.for_sentry(seccomp.load(tier, "x86_64")))
    assert made["defaultAction"] == "SCMP_ACT_ERRNO"
    refused = {name for one in made["syscalls"] if one["action"] != ALLOW for name in one["names"]}
    assert {"ptrace", "bpf", "keyctl", "memfd_create"} - refused <= (
        {"memfd_create"} if tier in ("browser", "compat") else set()
    )
    assert not any(one.get("errnoRet") == errno.ENOTTY for one in made["syscalls"])


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("tier", TIERS)
def test_a_job_that_narrows_itself_is_let_through_that_and_nothing_else(tier: str, machine: str) -> None:
    text = seccomp.load(tier, machine)
    made = json.loads(seccomp.narrowing(text))
    assert allowed(made["syscalls"]) - allowed(json.loads(text)["syscalls"]) <= {"seccomp []"}
    named = [one for one in made["syscalls"] if "seccomp" in one["names"]]
    assert [one["action"] for one in named] == [ALLOW], "one answer for one name"
    assert {**made, "syscalls": []} == {**json.loads(text), "syscalls": []}
