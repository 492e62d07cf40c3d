"""How long to wait for the next look: decided from the last one (P).

A bomb must be seen within a second of its limit; a sandbox that does nothing costs next to nothing. Where
the kernel holds memory, a second is enough. Where sums do, memory can grow as fast as a kernel clears
pages, and the next look comes before it could be far beyond its limit.
"""

from __future__ import annotations

from sandbox.policy.model import Quota
from sandbox.policy.sample import Sample

SLOWEST_S, FASTER_S, FASTEST_S = 1.0, 0.25, 0.02
NEAR = 0.7
SHARE = 0.004
"""The part of a processor that measuring takes, at most, while nothing is near its limit…"""
SHARE_NEAR = 0.05
"""…and while something is."""
FILLS = 1 << 30
"""Bytes a second that one processor clears for a process that only asks for memory…"""
CORES = 8
"""…and how many of them memory has room for at once."""
BEYOND = 0.1
"""The part of the limit that may be passed before it is seen; our own turn may come late on top of that."""
GROWS, SOONEST_S = 1 / 32, 0.01
"""Who took that part of the limit since the last look is a bomb until it stops."""


class Pace:
    """`counted`: a cgroup holds memory and processes."""

    def __init__(self, quota: Quota, *, counted: bool, cores: int = 1) -> None:
        self._quota = quota
        self._fills = FILLS * min(cores, CORES)
        self._counted = counted

    def wait(self, sample: Sample, before: Sample | None, cost: float) -> float:
        """Seconds until the next look, if `reach` brings none sooner; the last one took `cost` of them."""
        busy = self._near(sample) or not self._still(sample, before)
        return min(SLOWEST_S, max(self.least(sample, before, cost), FASTER_S if busy else SLOWEST_S))

    def least(self, sample: Sample, before: Sample | None, cost: float) -> float:
        """Seconds before which there is no other look, whatever a glance has seen."""
        near = self._near(sample) or self.reach(sample, before) < FASTER_S
        return min(SLOWEST_S, cost / (SHARE_NEAR if near else SHARE))

    def reach(self, sample: Sample, before: Sample | None) -> float:
        """How soon memory could be beyond its limit, where nobody holds it: until then a glance is due."""
        limit = self._quota.memory
        if self._counted or limit is None or sample.memory is None:
            return SLOWEST_S
        took = sample.memory - (before.memory if before and before.memory is not None else 0)
        if took > GROWS * limit:
            return max(SOONEST_S, (limit - sample.memory) / 2 / self._fills)
        return min(SLOWEST_S, max(FASTEST_S, ((1 + BEYOND) * limit - sample.memory) / self._fills))

    def _near(self, sample: Sample) -> bool:
        quota = self._quota
        pairs: list[tuple[float | None, float | None]] = [
            (sample.pids, quota.pids),
            (sample.open_files, quota.open_files),
            (sample.written, quota.written),
            (sample.cpu, quota.cpu_time),
            (sample.busy, quota.busy),
            *((disk.used, disk.size) for disk in sample.disks),
            *((disk.files, disk.most) for disk in sample.disks),
        ]
        return any(used is not None and limit and used >= NEAR * limit for used, limit in pairs)

    @staticmethod
    def _still(sample: Sample, before: Sample | None) -> bool:
        """Whether nothing ran since the last look, or hardly anything."""
        if before is None or sample.cpu is None or before.cpu is None:
            return before is not None
        return sample.cpu - before.cpu < 0.05 * (sample.moment - before.moment)
