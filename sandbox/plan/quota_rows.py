"""The quotas of a spec as rows: what holds each, what watches it, and what happens when it is exceeded."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.plan import container_rows
from sandbox.plan.facts import HostFacts
from sandbox.plan.limits import NO_CGROUP
from sandbox.plan.rows import Row, duration, size
from sandbox.plan.spec import Bind, Limits, Spec, Tmpfs
from sandbox.policy.model import Policy

_CGROUP = {
    "cgroup-v1": {"memory": "memory.limit_in_bytes", "pids": "pids.max", "cpus": "cpu.cfs_quota_us"},
    "cgroup-v2": {"memory": "memory.max", "pids": "pids.max", "cpus": "cpu.max"},
}
_RLIMIT = {"memory": "RLIMIT_DATA and polling", "pids": "RLIMIT_NPROC in the user namespace"}
_CLOCK = {
    "cgroup-v1": "watched: cpuacct.usage of the cgroup",
    "cgroup-v2": "watched: cpu.stat of the cgroup",
    "engine": "watched: the container's cgroup",
    "rlimit": "watched: /proc/PID/stat, added up",
}


def rows(spec: Spec, facts: HostFacts, policy: Policy) -> Iterator[Row]:
    """One for each quota, in the order of a profile."""
    yield from (*_counted(spec.limits), *_cpus(spec, facts, policy), *_files(spec, policy), *_sums(spec))
    for name, seconds in (("wall", spec.limits.wall), ("idle", spec.limits.idle)):
        if seconds is not None:
            yield _row(f"{name}: {duration(seconds)}", "the wrapper's timer", f"quota.{name}")
    yield from _endings(policy)


def _row(what: str, mechanism: str, key: str) -> Row:
    return Row("quota", what, mechanism, key)


def _counted(limits: Limits) -> Iterator[Row]:
    for name, text in (
        ("memory", limits.memory is not None and size(limits.memory)),
        ("pids", limits.pids is not None and f"{limits.pids} processes and threads"),
        ("cpus", limits.cpus is not None and f"{limits.cpus:g} of a processor's time"),
    ):
        if text:
            yield _row(f"{name}: {text}", _mechanism(name, limits), f"quota.{name}")


def _cpus(spec: Spec, facts: HostFacts, policy: Policy) -> Iterator[Row]:
    """Our default where nothing can hold it; what somebody wrote is refused."""
    if spec.limits.cpus is None and policy.quota.cpus is not None:
        detail = f" ({facts.cgroups.detail})" if facts.cgroups.detail else ""
        how = f"not enforced: {NO_CGROUP}{detail}"
        yield Row("quota", f"cpus: {policy.quota.cpus:g}", how, "quota.cpus", "", False)


def _files(spec: Spec, policy: Policy) -> Iterator[Row]:
    seen = "" if spec.runtime else ", watched in /proc"
    if spec.limits.open_files is not None:
        yield _row(f"open files: {spec.limits.open_files}", f"RLIMIT_NOFILE{seen}", "quota.open_files")
    if policy.quota.disk is not None:
        used = sum(step.size for step in spec.view if isinstance(step, Tmpfs))
        seen = "" if spec.runtime else ", watched by statvfs"
        how = f"tmpfs sizes, {size(used)} in all{seen}"
        yield _row(f"disk: {size(policy.quota.disk)}", how, "quota.disk")


def _sums(spec: Spec) -> Iterator[Row]:
    limits = spec.limits
    if limits.written is not None:
        how = "watched: write_bytes of /proc/PID/io, and what is in memory"
        disks = any(isinstance(step, Bind) and step.writable for step in spec.view)
        missed = "; no project quota holds it on disk" if disks else ""
        yield _row(f"written: {size(limits.written)}", f"{how}{missed}", "quota.written")
    for name, seconds in (("cpu_time", limits.cpu_time), ("busy", limits.busy)):
        if seconds is not None:
            yield _row(f"{name}: {duration(seconds)}", _CLOCK[limits.mechanism], f"quota.{name}")


def _mechanism(name: str, limits: Limits) -> str:
    if limits.mechanism == "engine":
        return container_rows.quota(name, limits)
    if limits.mechanism == "rlimit":
        return _RLIMIT[name]
    directories = dict(limits.cgroups)
    controller = "cpu" if name == "cpus" else name
    file = f"{limits.mechanism} {_CGROUP[limits.mechanism][name]}"
    if "scope" in directories:
        return f"{file}, in a scope of its own below {directories['scope']}"
    parent = directories.get("unified" if limits.mechanism == "cgroup-v2" else controller, "")
    return f"{file} below {parent}"


def _endings(policy: Policy) -> Iterator[Row]:
    """What is not simply ended."""
    breach = policy.breach
    for name in ("pids", "open_files", "disk", "written", "cpu_time", "busy", "wall", "idle"):
        asked = getattr(breach, name)
        if asked == "warn":
            yield _row(f"{name} exceeded: a warning", "the watchdog", f"breach.{name}")
        elif asked == "freeze":
            how = f"frozen for {duration(breach.answer)} at most, then killed"
            yield _row(f"{name} exceeded: asks", how, f"breach.{name}")
    if breach.grace:
        yield _row(f"grace: {duration(breach.grace)}", "the watchdog's, not the kernel's", "breach.grace")
