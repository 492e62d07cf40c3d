"""The wiring of the watchdog: which meter a running sandbox has, and what its quotas are on this host."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from sandbox.backend.running import Running
from sandbox.event import Event
from sandbox.host.cgroups import directories
from sandbox.plan.spec import Limits, Spec, Tmpfs
from sandbox.policy.model import Policy, Quota
from sandbox.records import replace
from sandbox.watchdog import disks
from sandbox.watchdog.cgroup import CgroupMeter
from sandbox.watchdog.meter import Meter, Nothing
from sandbox.watchdog.told import ToldMeter
from sandbox.watchdog.tree import TreeMeter
from sandbox.watchdog.watchdog import Watchdog, Watched


def watchdog(
    policy: Policy, spec: Spec, running: Running, emit: Callable[[Event], None],
    active: Callable[[], float], carried: Callable[[], tuple[int, int]],
) -> Watchdog:  # fmt: skip
    """For a sandbox that is ready; `active` tells the moment of the last message, `carried` network bytes."""
    limits = spec.limits
    places = _places(spec, running)
    watched = Watched(
        _meter(limits, running, places),
        quota(policy, limits),
        counted=limits.mechanism != "rlimit",
        root=running.init_pid or 0,
        places=places,
        grace=policy.breach.grace,
        within=not spec.runtime,
    )
    return Watchdog(watched, emit, active, carried if spec.egress.allow else None)


def quota(policy: Policy, limits: Limits) -> Quota:
    """What is held here: a share of the processor that nothing can hold is what busy is measured by."""
    held = policy.quota
    return replace(held, cpus=limits.cpus or held.cpus, memory=limits.memory, pids=limits.pids)


def _places(spec: Spec, running: Running) -> dict[str, int]:
    """What process 1 sent out; of a container what can be seen, and nothing of a kernel of its own."""
    if spec.backend == "native" or spec.runtime or running.init_pid is None:
        return disks.sent(running.sensors)
    sizes = ((step.target, step.size) for step in spec.view if isinstance(step, Tmpfs))
    return disks.opened(running.init_pid, sizes)


def _meter(limits: Limits, running: Running, places: Mapping[str, int]) -> Meter:
    root = running.init_pid
    if root is None:
        return ToldMeter(running.listen) if limits.mechanism == "engine" else Nothing()
    if limits.mechanism == "rlimit":
        return TreeMeter(root, limits.memory, lambda: sum(disk.used for disk in disks.measure(places)))
    return CgroupMeter(_joined(directories(root)), root)


def _joined(found: dict[str, str]) -> dict[str, str]:
    """Without the hierarchies that it has not joined: what they count there is the whole machine's.

    A process that has ended by now is said to be at the root of each.
    """
    found = {name: path for name, path in found.items() if not os.path.ismount(path)}
    own = os.path.basename(found.get("memory", found.get("unified", "")))
    return {name: path for name, path in found.items() if os.path.basename(path) == own}
