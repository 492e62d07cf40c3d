"""How a sandbox ends, whichever backend realised it."""

from __future__ import annotations

from sandbox.records import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """How a sandbox ended: the server's own exit `status`, or the `signal` that killed it."""

    status: int | None = None
    signal: int | None = None

    @property
    def exit_status(self) -> int:
        """The status a shell would report: the server's own, or 128 + signal."""
        return 128 + self.signal if self.signal is not None else (self.status or 0)

    def describe(self) -> str:
        """`status 3` or `signal 9`."""
        return f"signal {self.signal}" if self.signal is not None else f"status {self.status}"
