"""Quotas with the mechanism that enforces each on this host, and the sizes of what lives in memory."""

from __future__ import annotations

from sandbox.errors import CannotEnforce, ProfileError
from sandbox.hints import Literal
from sandbox.plan.facts import Cgroups
from sandbox.plan.spec import Limits
from sandbox.plan.system import Scratch
from sandbox.policy.model import Origin, Policy

SHM = 64 << 20
LEAST = 1 << 20
DEFAULT = Origin("default")
NO_CGROUP = "a share of the processor is enforced by a cgroup's cpu controller, and none is ours here"
_PAGE = 4096


def limits(policy: Policy, cgroups: Cgroups) -> Limits:
    """The policy's quotas by cgroup where one is writable, else by rlimit and polling."""
    quota = policy.quota
    way = mechanism(cgroups)
    return Limits(
        memory=quota.memory,
        cpus=_cpus(policy, cgroups, way),
        pids=quota.pids,
        open_files=quota.open_files,
        wall=quota.wall,
        idle=quota.idle,
        written=quota.written,
        cpu_time=quota.cpu_time,
        busy=quota.busy,
        mechanism=way,
        cgroups=() if way == "rlimit" else _needed(cgroups, timed=bool(quota.cpu_time or quota.busy)),
    )


def _needed(cgroups: Cgroups, *, timed: bool) -> tuple[tuple[str, str], ...]:
    # Joining a version 1 hierarchy takes the kernel milliseconds: none that limits nothing. (The end of the
    # pid namespace kills the tree; version 1's freezer and a hybrid host's `cgroup.kill` would add nothing.)
    wanted = {"unified", "scope"} if cgroups.version == 2 else {"memory", "pids", "cpu"}
    # Mounted with `cpu`, as most hosts have it, it is the same directory and counts without being asked.
    if timed and cgroups.directories.get("cpuacct") != cgroups.directories.get("cpu"):
        wanted.add("cpuacct")
    return tuple(sorted((name, path) for name, path in cgroups.directories.items() if name in wanted))


def mechanism(cgroups: Cgroups) -> Literal["cgroup-v1", "cgroup-v2", "rlimit"]:
    """A cgroup where it can hold memory and pids at once, else rlimit."""
    if cgroups.version == 2 and cgroups.directories.keys() & {"unified", "scope"}:
        return "cgroup-v2"
    if cgroups.version == 1 and {"memory", "pids"} <= cgroups.directories.keys():
        return "cgroup-v1"
    return "rlimit"


def _cpus(policy: Policy, cgroups: Cgroups, way: str) -> float | None:
    # Our default is given up where nothing can hold it (`plan` says so); what somebody wrote never is.
    if (
        policy.quota.cpus is None
        or (way == "cgroup-v2" and "cpu" not in cgroups.lacks)
        or (way == "cgroup-v1" and "cpu" in cgroups.directories)
    ):
        return policy.quota.cpus
    origin = policy.origin("quota.cpus")
    if origin == DEFAULT:
        return None
    raise CannotEnforce(
        "cannot-enforce",
        f"`quota.cpus` is {policy.quota.cpus:g}; {NO_CGROUP}",
        rule=f"{origin} quota.cpus",
        hint=cgroups.hint or "mcp-sandbox doctor",
    )


def scratch(policy: Policy) -> Scratch:
    """Sizes of home, /tmp and /dev/shm that fit in `quota.disk`: what was written stays, defaults shrink."""
    files, disk = policy.files, policy.quota.disk
    wanted = {"files.home": files.home, "files.tmp": files.tmp, "shm": SHM}
    if files.persist:
        # A kept home is a directory on disk: it takes nothing of what lives in memory.
        wanted["files.home"] = 0
    if disk is None or sum(wanted.values()) <= disk:
        return _scratch(wanted)
    written = {key: size for key, size in wanted.items() if policy.origin(key) != DEFAULT}
    flexible = {key: size for key, size in wanted.items() if key not in written and size}
    room = disk - sum(written.values())
    if room < LEAST * len(flexible):
        raise _too_large(policy, written, disk, len(flexible))
    total = sum(flexible.values())
    shrunk = {key: max(LEAST, room * size // total) for key, size in flexible.items()}
    # `max` may have lifted a small share: the largest gives it back, so that the sum holds.
    over = sum(shrunk.values()) - room
    if over > 0:
        shrunk[max(shrunk, key=lambda key: shrunk[key])] -= over
    return _scratch(wanted | {key: size // _PAGE * _PAGE for key, size in shrunk.items()})


def _scratch(sizes: dict[str, int]) -> Scratch:
    return Scratch(sizes["files.home"], sizes["files.tmp"], sizes["shm"])


def _too_large(policy: Policy, written: dict[str, int], disk: int, flexible: int) -> ProfileError:
    parts = [f"`{key}` ({policy.origin(key)}) {_mib(size)}" for key, size in written.items() if size]
    rest = f"at least {_mib(LEAST * flexible)} for the rest" if flexible else ""
    return ProfileError(
        "disk-too-small",
        f"`quota.disk` is {_mib(disk)}, less than {' and '.join([*parts, rest] if rest else parts)}",
        rule=f"{policy.origin('quota.disk')} quota.disk",
        hint="raise `disk` under `[quota]`, or lower `home` and `tmp` under `[files]`",
    )


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.4g} MiB"
