"""Which quotas a sample exceeds: decided from numbers alone (P).

The kernel holds most of them by itself: these rules see that it had to. Memory and processes are
exceeded when the kernel refused some; where nothing counts for us (rlimits), when the sum says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sandbox.event import Value
from sandbox.excess import Excess
from sandbox.policy.model import Quota
from sandbox.policy.quota import show_size
from sandbox.policy.sample import Disk, Sample
from sandbox.records import dataclass

FULL = 256
"""A place is full when less than this part of it is free: a block that did not fit may leave some."""
BUSY = 0.95
PERIOD_S = 0.1
"""The kernel hands processor time out in such periods (sched-bwc.rst): a window may miss one."""
WINDOW_S = 2.0
PATIENT = frozenset(f"quota.{name}" for name in ("pids", "open_files", "disk", "written", "cpu_time", "busy"))
"""What `breach.grace` applies to; memory that ran out waits for nobody."""


def judge(quota: Quota, sample: Sample, before: Sample | None, *, counted: bool) -> list[Excess]:
    """Every quota that `sample` exceeds; `counted`: a cgroup holds memory and processes."""
    return [
        *_memory(quota, sample, before, counted),
        *_pids(quota, sample, before),
        *_open_files(quota, sample),
        *_disk(sample),
        *_sums(quota, sample),
    ]


def _memory(quota: Quota, sample: Sample, before: Sample | None, counted: bool) -> Iterator[Excess]:
    limit = quota.memory
    if limit is None:
        return
    if _more(sample.ooms, before.ooms if before else 0):
        used = max(sample.peak or 0, sample.memory or 0) or None
        why = f"the kernel could give no more memory, {_mib(used)} in use, the limit is {_mib(limit)}"
        yield Excess("quota.memory", why, used, limit)
    elif not counted and sample.memory is not None and sample.memory > limit:
        why = f"{_mib(sample.memory)} in use, the limit is {_mib(limit)}"
        yield Excess("quota.memory", why, sample.memory, limit)


def _pids(quota: Quota, sample: Sample, before: Sample | None) -> Iterator[Excess]:
    limit = quota.pids
    if limit is None:
        return
    # Where the kernel counts refusals, as many as the limit are within it.
    full = sample.refused is None and sample.pids is not None and sample.pids >= limit
    if full or _more(sample.refused, before.refused if before else 0):
        used = limit if sample.refused is not None else sample.pids
        why = f"{used} processes and threads, the limit is {limit}"
        yield Excess("quota.pids", why, used, limit, {"refused": sample.refused, "left": sample.pids})


def _open_files(quota: Quota, sample: Sample) -> Iterator[Excess]:
    limit, used = quota.open_files, sample.open_files
    if limit is not None and used is not None and used >= limit:
        why = f"{sample.opener} has {used} files open, the limit is {limit}"
        yield Excess("quota.open_files", why, used, limit, {"process": sample.opener})


def _disk(sample: Sample) -> Iterator[Excess]:
    for disk in sample.disks:
        if disk.size - disk.used <= disk.size // FULL:
            why = f"`{disk.place}` is full, {_mib(disk.used)} of {_mib(disk.size)}"
            yield Excess("quota.disk", why, disk.used, disk.size, _place(disk))
        elif disk.most and disk.files >= disk.most:
            why = f"`{disk.place}` is full, {disk.files} of {disk.most} files"
            yield Excess("quota.disk", why, disk.files, disk.most, _place(disk))


def _place(disk: Disk) -> Mapping[str, Value]:
    """Where, and what would make it larger; the size of what programs share (/dev/shm) is ours."""
    key = {"/tmp": "files.tmp", "/dev/shm": ""}.get(disk.place, "files.home")  # noqa: S108 - places inside
    more: dict[str, Value] = {"key": f'{key} = "{show_size(2 * disk.size)}"'} if key else {}
    return {"place": disk.place, "raise": more}


def _sums(quota: Quota, sample: Sample) -> Iterator[Excess]:
    if quota.written is not None and sample.written is not None and sample.written > quota.written:
        why = f"{_mib(sample.written)} written, the limit is {_mib(quota.written)}"
        yield Excess("quota.written", why, sample.written, quota.written)
    if quota.cpu_time is not None and sample.cpu is not None and sample.cpu >= quota.cpu_time:
        why = f"{sample.cpu:.4g} s of processor time used, the limit is {quota.cpu_time:g} s"
        yield Excess("quota.cpu_time", why, round(sample.cpu, 3), quota.cpu_time)
    if quota.busy is not None and sample.busy is not None and sample.busy >= quota.busy:
        why = f"{sample.busy:.3g} s at the limit of `cpus` without a pause, the limit is {quota.busy:g} s"
        yield Excess("quota.busy", why, round(sample.busy, 3), quota.busy)


def _more(now: int | None, then: int | None) -> bool:
    return now is not None and now > (then or 0)


def _mib(amount: int | None) -> str:
    if amount is None:
        return "an unknown amount"
    return f"{amount / (1 << 20):.4g} MiB"


@dataclass(frozen=True, slots=True)
class Load:
    """Since when the processor's share was used up, as of the last whole window."""

    moment: float
    cpu: float
    since: float | None = None

    @property
    def busy(self) -> float:
        """Seconds without a pause, up to the last whole window."""
        return 0.0 if self.since is None else self.moment - self.since


def load(before: Load, now: float, cpu: float, quota: Quota) -> Load:
    """The same one window later; within a window nothing is said yet."""
    passed = now - before.moment
    if passed < min(WINDOW_S, (quota.busy or WINDOW_S) / 2):
        return before
    share = quota.cpus or 1.0
    full = cpu - before.cpu + share * PERIOD_S >= BUSY * share * passed
    since = before.moment if before.since is None else before.since
    return Load(now, cpu, since if full else None)


def patient(
    found: list[Excess], since: Mapping[str, float], now: float, grace: float
) -> tuple[list[Excess], dict[str, float]]:
    """What was exceeded for longer than the grace, and since when each has been."""
    began = {one.key: since.get(one.key, now) for one in found}
    return [one for one in found if one.key not in PATIENT or now - began[one.key] >= grace], began
