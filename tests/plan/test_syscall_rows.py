"""What a plan says becomes of a forbidden call: no more than the backend holds."""

from __future__ import annotations

from typing import Literal

import pytest

from sandbox.plan.spec import Identity, Limits, Spec
from sandbox.plan.syscall_rows import syscall_rows
from sandbox.policy.model import BreachPolicy, Ending, Policy

Backend = Literal["native", "docker"]


@pytest.mark.parametrize(
    ("backend", "runtime", "ending", "what"),
    [
        pytest.param("native", "", "kill", "a forbidden call ends the sandbox", id="natively"),
        pytest.param("native", "", "freeze", "a forbidden call fails, and asks", id="natively, frozen"),
        pytest.param("native", "", "warn", "a forbidden call fails, with a warning", id="natively, warned"),
        pytest.param("docker", "", "kill", "a forbidden call ends the sandbox", id="in a container"),
        pytest.param(
            "docker", "", "freeze", "a forbidden call ends its process, and asks", id="in a container, frozen"
        ),
        pytest.param("docker", "", "warn", "a forbidden call fails", id="in a container, warned"),
        pytest.param("docker", "runsc", "kill", "a forbidden call fails", id="in gVisor"),
    ],
)
def test_a_plan_says(backend: Backend, runtime: str, ending: Ending, what: str) -> None:
    spec = Spec("s", ("s",), "/", (), Identity(1000, 1000), (), Limits(), backend=backend, runtime=runtime)
    tier, call = syscall_rows(spec, Policy("p", breach=BreachPolicy(syscall=ending)))
    assert tier.what == "tier net"
    assert call.what == what
