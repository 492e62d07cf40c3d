"""How a sandbox ends, and the shape that the second backend will take: a spec in, a running sandbox out.

Native's `launch` has the methods of `Running`; nothing is typed as a `Backend` yet.
"""

from __future__ import annotations

from typing import Protocol

from sandbox.plan.spec import Spec
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


class Running(Protocol):
    """A sandbox whose server has been executed. The three file descriptors are the caller's to close."""

    stdin: int
    stdout: int
    stderr: int

    def terminate(self) -> None:
        """Ask the server to end (SIGTERM)."""

    def kill(self) -> None:
        """End every process inside at once."""

    def wait(self, timeout: float | None = None) -> Ended | None:
        """How it ended, or None when `timeout` seconds passed first; everything of ours is gone then."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when the sandbox has ended."""


class Backend(Protocol):
    """Turns a spec into a running sandbox or raises `SandboxNotBuilt`, leaving nothing."""

    def launch(self, spec: Spec, *, session: str) -> Running:
        """Start the server of `spec`; returns once it has been executed."""
