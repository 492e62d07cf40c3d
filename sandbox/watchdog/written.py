"""Bytes that processes sent towards disks in all, whoever has ended by now."""

from __future__ import annotations

from sandbox.watchdog import processes

_REMEMBERED = 1024


class Written:
    """The kernel counts for each process, and a parent takes over what a child wrote that it waited for."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._ended = 0

    def add(self, pids: tuple[int, ...]) -> int | None:
        """The sum, with `pids` as they are now; None where nothing can be seen of any of them."""
        now = {pid: told for pid in pids if (told := processes.to_disks(pid)) is not None}
        if not now and not self._seen:
            return None
        living = sum(now.values())
        gone = sum(told for pid, told in self._seen.items() if pid not in now)
        # A number that is another's now starts anew, far below.
        gone += sum(told for pid, told in self._seen.items() if now.get(pid, told) < told)
        took_over = max(0, living - sum(min(told, self._seen.get(pid, 0)) for pid, told in now.items()))
        self._ended += max(0, gone - took_over)
        self._seen = now
        return living + self._ended
