"""The watchdog: samples what a sandbox uses, often enough and no more, and says what is exceeded."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping

from sandbox.event import Event, Value
from sandbox.excess import Excess
from sandbox.policy.exceeded import Load, judge, load, patient
from sandbox.policy.model import Quota
from sandbox.policy.sample import Disk, Sample
from sandbox.records import dataclass, names, replace
from sandbox.watchdog import disks, processes
from sandbox.watchdog.meter import Meter, Usage
from sandbox.watchdog.pace import Pace
from sandbox.watchdog.written import Written

KEPT = 30
REPORT_S = 600.0
AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched: by which meter, against which quota, through which descriptors."""

    meter: Meter
    quota: Quota
    counted: bool
    """A cgroup holds memory and processes, so that the kernel's word counts; else the sums do."""
    root: int
    """Process 1, which inherits what was written by whom nobody waited for."""
    places: Mapping[str, int]
    """What lives in memory, and a descriptor of each."""
    grace: float = 0.0
    within: bool = True
    """/proc tells of the server's processes; not of those that run in a kernel of their own."""


class Watchdog:
    """A `Source` of what is exceeded; keeps the last samples for whoever has to explain the end."""

    def __init__(
        self, watched: Watched, emit: Callable[[Event], None], active: Callable[[], float],
        carried: Callable[[], tuple[int, int]] | None = None,
    ) -> None:  # fmt: skip
        """`active`: the moment of the last message of either side; `carried`: network bytes out and in."""
        self._carried = carried
        self._watched = watched
        self._emit = emit
        self._active = active
        self._started = time.monotonic()
        self._pace = Pace(watched.quota, counted=watched.counted, cores=os.cpu_count() or 1)
        self._written = Written()
        self._load: Load | None = None
        self._since: dict[str, float] = {}
        self._next = self._due = self._reach = self._counting = 0.0
        self._reported: float | None = None
        self.samples: deque[Sample] = deque(maxlen=KEPT)
        """The newest is the last."""

    @property
    def quota(self) -> Quota:
        """What is measured against, as this host can hold it."""
        return self._watched.quota

    @property
    def last(self) -> Sample | None:
        """The newest sample."""
        return self.samples[-1] if self.samples else None

    def watched(self) -> Mapping[int, int]:
        """Where the kernel says that it refused something."""
        return self._watched.meter.watched()

    def look(self, now: float, ready: frozenset[int]) -> tuple[list[Excess], float | None]:
        """A sample, where one is due or the kernel has called: what it exceeds, and when the next is due."""
        called = ready.intersection(self.watched()) and self._watched.meter.called()
        if not called and (now < self._next or (now < self._due and self._is_calm(now))):
            return [], self._next
        before = self.last
        began = time.thread_time()  # what it took of a processor, however long that was in coming
        sample = self._sample(now)
        cost = time.thread_time() - began - self._counting
        if before is not None and sample.memory is None and before.memory is not None:
            # Most likely it is over, and what counted for us gone; if it was a failure, it is not for long.
            self._due = self._next = now + AGAIN_S
            return [], self._next
        self.samples.append(sample)
        self._reach = self._pace.reach(sample, before)
        least = self._pace.least(sample, before, cost)
        found = judge(self.quota, sample, before, counted=self._watched.counted)
        due, self._since = patient(found, self._since, now, self._watched.grace)
        ends = (began + self._watched.grace for began in self._since.values())
        wait = self._pace.wait(sample, before, cost)
        self._due = min([now + wait, *(end for end in ends if end > now)])
        self._next = min(self._due, now + max(least, self._reach))
        if any(excess.key == "quota.memory" for excess in due):
            self._watched.meter.halt()  # it is a kill whatever the profile says
        self._report_seldom(now)
        return due, self._next

    def _is_calm(self, now: float) -> bool:
        """Whether a glance is enough for this time; then the next one is set."""
        if not self._watched.meter.calm():
            return False
        self._next = min(self._due, now + self._reach)
        return True

    def _sample(self, now: float) -> Sample:
        usage = self._watched.meter.measure()
        self._counting = usage.counting
        if not self._watched.within:  # what is counted there are the threads of a kernel
            usage = replace(usage, pids=None, processes=None)
        most, opener = self._files(usage)
        places = disks.measure(self._watched.places)
        idle = now - max(self._started, self._active())
        return Sample(
            now, now - self._started, max(0.0, idle), usage.memory, usage.cache, usage.peak, usage.swap,
            usage.ooms, usage.pressure, usage.pids,
            None if usage.processes is None else len(usage.processes),
            usage.refused, usage.cpu, self._busy(now, usage), most, opener, places,
            self._sum(usage, places), *(self._carried() if self._carried else (None, None)),
        )  # fmt: skip

    def _files(self, usage: Usage) -> tuple[int | None, str]:
        """Most descriptors of one process, and which."""
        if not self._watched.within:
            return None, ""
        counts = ((count, pid) for pid in usage.processes or () if (count := processes.open_files(pid)))
        most, pid = max(counts, default=(None, 0))
        return most, f"`{processes.name(pid)}` (pid {pid})" if most else ""

    def _busy(self, now: float, usage: Usage) -> float | None:
        if usage.cpu is None:
            return None
        self._load = (
            Load(now, usage.cpu) if self._load is None else load(self._load, now, usage.cpu, self.quota)
        )
        return self._load.busy

    def _sum(self, usage: Usage, places: tuple[Disk, ...]) -> int | None:
        """Read only where somebody asked for the quota: no other needs it."""
        if self.quota.written is None or not self._watched.within:
            return None
        held = sum(disk.used for disk in places)
        return held + (self._written.add((self._watched.root, *(usage.processes or ()))) or 0)

    def _report_seldom(self, now: float) -> None:
        if self._reported is None or now - self._reported >= REPORT_S:
            self._report(now)

    def _report(self, now: float) -> None:
        if self.last is not None:
            self._reported = now
            self._emit(Event("quota.sample", described(self.last)))

    def finish(self) -> None:
        """The last sample into the log; from now on nothing is measured."""
        if self.last is not None and self.last.moment != self._reported:
            self._report(self.last.moment)
        self._watched.meter.close()
        disks.close(self._watched.places)


def described(sample: Sample) -> dict[str, Value]:
    """A sample as JSON has it; what nothing told is left out."""
    found: dict[str, Value] = {}
    for name in names(sample):
        value = getattr(sample, name)
        if name != "moment" and value not in (None, "", ()):
            found[name] = round(value, 3) if isinstance(value, float) else value
    if sample.disks:
        found["disks"] = {disk.place: _numbers(disk) for disk in sample.disks}
    return found


def _numbers(disk: Disk) -> Value:
    return {"used": disk.used, "size": disk.size, "files": disk.files, "most": disk.most}
