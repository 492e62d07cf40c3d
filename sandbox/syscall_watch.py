"""What becomes of a system call that the filter does not make: told in the log, answered, or the end.

Natively the server's filter leaves such calls to us. A dangerous one is a breach; one that is merely not
needed fails and is counted. What the server can make us do is bounded: calls are answered at a fixed rate
at most, each name is told once and its total at the end, and of names there are no more than `MOST_NAMES`.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from sandbox.backend.native import notify
from sandbox.backend.native.sensors import SYSCALLS
from sandbox.backend.running import Running
from sandbox.errors import AuditError
from sandbox.event import Event, Value
from sandbox.excess import Excess
from sandbox.plan.spec import Spec, Tier
from sandbox.policy.model import Ending

if TYPE_CHECKING:
    from sandbox.kill_watch import KillWatch
    from sandbox.plan.syscall_finding import Finding

KEY = "syscalls.tier"
BATCH, WINDOW_S = 20, 0.01
"""Calls answered in a window of time: 2000 a second, whoever calls more often waits for the next."""
REPEAT_S = 1.0
"""So often at the most is a dangerous call an excess again, where it does not end the sandbox."""
MOST_NAMES = 256
OTHERS = "others"


Call = tuple[str, str, str]
"""A machine, a name and a class: what is counted as one."""


def of(
    running: Running, spec: Spec, action: Ending, emit: Callable[[Event], None]
) -> SyscallWatch | KillWatch | None:
    """The watch of a sandbox that has a listener, or of a container whose filter kills."""
    if listener := running.sensors.get(SYSCALLS):
        if spec.observed:
            from sandbox.file_watch import FileWatch

            return FileWatch(listener, spec, action, emit)
        return SyscallWatch(listener, spec.syscalls, action, emit)
    if spec.backend == "native" or spec.forbidden != "kill" or spec.runtime:
        return None
    from sandbox.kill_watch import KillWatch

    return KillWatch(running, spec.syscalls, emit)


class SyscallWatch:
    """The listener of one session, as a `Source` of the main loop."""

    def __init__(self, listener: int, tier: Tier, action: Ending, emit: Callable[[Event], None]) -> None:
        self.denied = 0
        """Calls that were not made, for whoever asks how the session is."""
        self._listener = listener
        self._tier = tier
        self._action = action
        self._emit = emit
        self._counts: dict[Call, int] = {}
        self._window, self._answered = 0.0, 0
        self._exceeded_at = -REPEAT_S
        self._resume_at: float | None = None
        # Between the listener and poll(2): a paused listener stays ready, and would wake the loop for ever.
        self._gate = select.epoll()
        self._gate.register(listener, select.EPOLLIN)
        self._open = True

    def watched(self) -> Mapping[int, int]:
        return {self._gate.fileno(): select.POLLIN}

    def look(self, now: float, ready: frozenset[int]) -> tuple[list[Excess], float | None]:
        """Answers what waits, within the rate."""
        if self._resume_at is not None:
            if now < self._resume_at:
                return [], self._resume_at
            self._resume()
            self._window, self._answered = now, 0
        elif self._gate.fileno() not in ready:
            return [], None
        elif now - self._window >= WINDOW_S:
            self._window, self._answered = now, 0
        found: list[Excess] = []
        while self._answered < BATCH:
            if not self._waits():
                return found, None
            self._answered += 1
            found += self._next(now)
        self._pause(self._window + WINDOW_S)
        return found, self._resume_at

    def ended(self, status: int) -> list[Excess]:
        """What the server's end says: natively nothing that was not heard before."""
        return []

    def finish(self) -> None:
        """How often each name was called in all; nothing is answered afterwards."""
        self._close()
        self._gate.close()
        with suppress(AuditError):  # the log's end is the session's, and told as such
            for (machine, name, kind), count in self._counts.items():
                total: dict[str, Value] = {"call": name, "machine": machine, "class": kind, "count": count}
                if count > 1:
                    self._emit(Event("syscall.deny", total, rule=KEY))

    def _waits(self) -> bool:
        events = self._gate.poll(0) if self._open else []
        if events and not events[0][1] & select.EPOLLIN:
            self._close()  # a hang-up: no process is left below the filter
        return self._open and bool(events)

    def _next(self, now: float) -> list[Excess]:
        """Takes one call and decides; a dangerous one that ends the sandbox is never answered."""
        notice = notify.receive(self._listener)
        return [] if notice is None else self._judged(notice, now)

    def _judged(self, notice: notify.Notice, now: float) -> list[Excess]:
        # The tables are parsed at the first such call, which most sessions never see.
        from sandbox.plan.syscall_finding import found

        finding = found(self._tier, notice.machine, notice.name, notice.args)
        kills = finding.dangerous and self._action == "kill"
        first = self._count(notice, finding)
        again = finding.dangerous and now - self._exceeded_at >= REPEAT_S
        who = notify.caller(self._listener, notice) if first or kills or again else None
        if first or kills:
            self._tell(notice, who, finding, kills)
        if kills:
            self._close()
        else:
            notify.refuse(self._listener, notice, finding.error)
        if not finding.dangerous or not (first or kills or again):
            return []
        self._exceeded_at = now
        return [Excess(KEY, _sentence(notice, who, finding.why), detail=_detail(notice, who))]

    def _count(self, notice: notify.Notice, finding: Finding) -> bool:
        """Whether it is the first of its kind."""
        self.denied += 1
        kind = "dangerous" if finding.dangerous else "refused"
        call = (notice.machine, notice.name, kind)
        if call not in self._counts and len(self._counts) >= MOST_NAMES:
            call = ("", OTHERS, kind)
        self._counts[call] = self._counts.get(call, 0) + 1
        return self._counts[call] == 1

    def _tell(self, notice: notify.Notice, who: notify.Caller | None, finding: Finding, kills: bool) -> None:
        kind = "dangerous" if finding.dangerous else "refused"
        verdict = "killed" if kills else errno.errorcode[finding.error]
        more: dict[str, Value] = {"class": kind, "verdict": verdict, "why": finding.why}
        self._emit(Event("syscall.deny", {**_detail(notice, who), **more}, rule=KEY))

    def _pause(self, until: float) -> None:
        if self._open:
            self._gate.modify(self._listener, 0)
            self._resume_at = until

    def _resume(self) -> None:
        self._resume_at = None
        if self._open:
            self._gate.modify(self._listener, select.EPOLLIN)

    def _close(self) -> None:
        """Lets go of the listener, which is the session's; who still waits there waits for its end."""
        if self._open:
            self._open = False
            with suppress(OSError):  # closed with the sandbox, and so taken out already
                self._gate.unregister(self._listener)


def _detail(notice: notify.Notice, who: notify.Caller | None) -> dict[str, Value]:
    args: list[Value] = [hex(arg) for arg in notice.args]
    detail: dict[str, Value] = {"call": notice.name, "machine": notice.machine, "args": args}
    if who is not None:
        detail |= {"pid": who.pid, "process": who.name}
    return detail


def _sentence(notice: notify.Notice, who: notify.Caller | None, why: str) -> str:
    by = f"`{who.name}` (pid {who.pid})" if who is not None else "a process that is gone"
    foreign = f" of {notice.machine}" if notice.machine != os.uname().machine else ""
    return f"`{notice.name}`{foreign} was called by {by}: {why}"
