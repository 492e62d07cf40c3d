"""What is known of a sandbox that broke a limit: its processes before the end, all else right after it."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Protocol

from sandbox.backend.running import Running
from sandbox.event import Value
from sandbox.policy.sample import Sample
from sandbox.records import dataclass
from sandbox.watchdog.watchdog import described

PROCESSES = 64
CALLS = 32
SAMPLES = 30
LOOK_S = 0.025
"""The end of the sandbox waits for a look at its processes, and no longer than this."""
SELDOM_S, NEAR_S = 10.0, 1.0
SHARE, SHARE_NEAR = 0.001, 0.02
"""The part of a processor that glances take at most."""
_STATUS_MAX = 4096


class Call(Protocol):
    """A request of the client's that is open."""

    @property
    def method(self) -> str: ...
    @property
    def tool(self) -> str | None: ...
    @property
    def since(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """What of a session is asked; its stderr comes without secrets, its facts with their moments."""

    calls: Callable[[], Iterable[Call]]
    samples: Callable[[], Iterable[Sample]]
    egress: Callable[[], Iterable[tuple[float, Mapping[str, Value]]]]
    stderr: Callable[[], str]


class Evidence:
    """The detail of one `breach.report`, in the order in which it can be had."""

    def __init__(self, running: Running, sources: Sources) -> None:
        self._running = running
        self._sources = sources
        self._seen: dict[str, Value] = {"processes": [], "more_processes": 0}
        self._seen_at = self._next = time.monotonic()
        self._kept: dict[str, Value] = {}

    def glance(self, now: float, *, near: bool) -> None:
        """Now and then, `near` the limit of memory more often: the kernel's own end leaves nothing."""
        if now < self._next:
            return
        self.look()
        cost = time.monotonic() - now
        least, share = (NEAR_S, SHARE_NEAR) if near else (SELDOM_S, SHARE)
        self._next = now + max(least, cost / share)

    def look(self) -> None:
        """Before the end: what the end takes away."""
        # Once it is over, the number may be another process's.
        found = {} if self._running.over else processes(self._running.init_pid)
        if found.get("processes"):
            self._seen, self._seen_at = found, time.monotonic()

    def keep(self) -> None:
        """At the end: what its answers and last words would change."""
        now, sources = time.monotonic(), self._sources
        self._kept = {"before": round(now - self._seen_at, 3), **self._seen}
        self._kept |= calls(sources.calls(), now) | samples(sources.samples(), now)
        self._kept["egress"] = [{"before": round(now - at, 3), **fact} for at, fact in sources.egress()]

    def report(self) -> dict[str, Value]:
        """After the end: all of it, with what the server said last on stderr."""
        return {**self._kept, "stderr": self._sources.stderr()}


def processes(root: int | None) -> dict[str, Value]:
    """The tree below `root` as /proc shows it now, bounded in number and in time whatever it does."""
    found: list[Value] = []
    waiting = deque([root] if root else [])
    until = time.monotonic() + LOOK_S
    while waiting and len(found) < PROCESSES and time.monotonic() < until:
        pid = waiting.popleft()
        if status := _status(pid):
            found.append(status)
            waiting.extend(_children(pid, until))
    return {"processes": found, "more_processes": len(waiting)}


def _status(pid: int) -> dict[str, Value]:
    """One process; empty where it ended meanwhile (proc(5), status)."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            text = file.read(_STATUS_MAX).decode("utf-8", "backslashreplace")
    except OSError:
        return {}
    lines = dict(line.split(":\t", 1) for line in text.split("\n") if ":\t" in line)
    resident = lines.get("VmRSS", "").split()
    return {
        "pid": pid,
        "inside": _number(lines.get("NSpid", "").split()[-1:]),
        "parent": _number(lines.get("PPid", "").split()),
        "name": lines.get("Name", ""),
        "state": lines.get("State", "")[:1],
        "threads": _number(lines.get("Threads", "").split()),
        "memory": _number(resident) << 10,
    }


def _children(pid: int, until: float) -> Iterator[int]:
    """Of all its threads, of which there may be many."""
    with suppress(OSError), os.scandir(f"/proc/{pid}/task") as tasks:
        for task in tasks:
            if time.monotonic() > until:
                return
            with suppress(OSError), open(f"{task.path}/children") as file:
                yield from map(int, file.read().split())


def _number(words: list[str]) -> int:
    return int(words[0]) if words and words[0].isdecimal() else 0


def calls(open_calls: Iterable[Call], now: float) -> dict[str, Value]:
    """The open requests, the oldest first, with their age in seconds."""
    all_ = list(open_calls)
    shown: list[Value] = [
        {"method": call.method, "tool": call.tool, "age": round(now - call.since, 3)} for call in all_[:CALLS]
    ]
    return {"calls": shown, "more_calls": len(all_) - len(shown)}


def samples(taken: Iterable[Sample], now: float) -> dict[str, Value]:
    """What the meter saw last, the newest last; `before` is seconds before now."""
    last = list(taken)[-SAMPLES:]
    return {"samples": [{"before": round(now - one.moment, 3), **described(one)} for one in last]}
