"""What a server does with files, observed for `learn`: each such call is looked at, and then made as ever."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from sandbox.backend.native import notify
from sandbox.errors import AuditError
from sandbox.event import Event, Value
from sandbox.excess import Excess
from sandbox.plan.file_calls import observed
from sandbox.plan.file_uses import OUTSIDE, Uses
from sandbox.plan.spec import Spec
from sandbox.plan.syscalls import MACHINES
from sandbox.policy.model import Ending
from sandbox.syscall_watch import OTHERS, SyscallWatch

TURN = 256
"""Such calls between two looks of the main loop at everything else."""


class FileWatch(SyscallWatch):
    """The listener of a filter that also tells of what it lets through."""

    def __init__(self, listener: int, spec: Spec, action: Ending, emit: Callable[[Event], None]) -> None:
        super().__init__(listener, spec.syscalls, action, emit)
        self._uses = Uses(spec.view, spec.identity.home)
        self._turn = 0
        notify.stay_near(listener)

    def look(self, now: float, ready: frozenset[int]) -> tuple[list[Excess], float | None]:
        """As ever; what is merely observed counts against no rate, and gives way to the rest in time."""
        self._turn = 0
        return super().look(now, ready)

    def finish(self) -> None:
        """Every use into the log, and what was more than is kept."""
        super().finish()
        with suppress(AuditError):  # the log's end is the session's, and told as such
            for use, count in self._uses.rows():
                self._emit(Event("file.used", use.detail(count)))
            if self._uses.more:
                more: dict[str, Value] = {
                    "place": OUTSIDE,
                    "path": OTHERS,
                    "intent": "look",
                    "count": self._uses.more,
                }
                self._emit(Event("file.used", more))

    def _waits(self) -> bool:
        return self._turn < TURN and super()._waits()

    def _judged(self, notice: notify.Notice, now: float) -> list[Excess]:
        call = observed(self._tier, notice.name, notice.args) if notice.machine in MACHINES else None
        if call is None:
            return super()._judged(notice, now)
        self._turn += 1
        self._answered -= 1
        path = notify.path(self._listener, notice, notice.args[call.path], call.directory(notice.args))
        if path is not None:
            self._uses.saw(path, call.meant(notice.args))
        notify.go_on(self._listener, notice)
        return []
