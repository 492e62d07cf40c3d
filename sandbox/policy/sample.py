"""What one sandbox uses at one moment; every number is None where nothing on this host tells it."""

from __future__ import annotations

from sandbox.records import dataclass


@dataclass(frozen=True, slots=True)
class Disk:
    """One writable place in memory; bytes, and numbers of files."""

    place: str
    used: int
    size: int
    files: int
    most: int
    block: int = 4096


@dataclass(frozen=True, slots=True)
class Sample:
    """Bytes, seconds and counts; `moment` is of the monotonic clock."""

    moment: float
    wall: float
    """Seconds since the start."""
    idle: float
    """Seconds since the last message of either side."""
    memory: int | None = None
    """What counts against `quota.memory`: of a cgroup with its page cache, else what is resident."""
    cache: int | None = None
    """The part of it that is page cache, files in memory included."""
    peak: int | None = None
    """The most that `memory` has been, as the kernel says or as the samples had it."""
    swap: int | None = None
    ooms: int | None = None
    """How often memory ran out, by the kernel's count."""
    pressure: float | None = None
    """Percent of the last ten seconds in which some process waited for memory (accounting/psi.rst)."""
    pids: int | None = None
    """Processes and threads, without process 1, which is ours."""
    processes: int | None = None
    refused: int | None = None
    """How often the kernel refused a process or a thread for `quota.pids`."""
    cpu: float | None = None
    busy: float | None = None
    """Seconds without a pause at the limit of `cpus`."""
    open_files: int | None = None
    """Of the process that has most."""
    opener: str = ""
    """The name and the host's number of that process."""
    disks: tuple[Disk, ...] = ()
    written: int | None = None
    """Bytes that went to files: to disks by the kernel's count, and what is in the places in memory."""
    sent: int | None = None
    received: int | None = None
    """Network bytes of connections that are over; None where nothing is allowed."""
