"""The rows of a plan about system calls: the tier, and what becomes of a call that it forbids."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.plan.rows import Row
from sandbox.plan.spec import Spec
from sandbox.policy.model import Policy

_ENDINGS = {"kill": "ends the sandbox", "freeze": "fails, and asks", "warn": "fails, with a warning"}


def syscall_rows(spec: Spec, policy: Policy) -> Iterator[Row]:
    """What the filter does, and what is done about what it finds."""
    yield Row("syscalls", f"tier {spec.syscalls}", "seccomp filter, also for other architectures", "syscalls")
    ending = policy.breach.syscall
    key = "breach.syscall"
    if spec.backend == "native":
        yield Row("syscalls", f"a forbidden call {_ENDINGS[ending]}", "asked of us by the filter", key)
    elif ending != "warn" and not spec.runtime:
        how = "SIGSYS by the filter; a child's only where the kernel's log can be read"
        what = _ENDINGS[ending] if ending == "kill" else "ends its process, and asks"
        yield Row("syscalls", f"a forbidden call {what}", how, key)
    else:
        yield Row("syscalls", "a forbidden call fails", "the filter, which tells nobody", key)
