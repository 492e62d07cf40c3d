"""Events of what passed: the same whenever they are made; and what is kept for them is little."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.event import Event
from sandbox.relay.facts import passed
from sandbox.relay.reports import DEFERRED, KEPT, Reports
from sandbox.wire.jsonrpc import Frame, FrameReader

MESSAGES: dict[str, dict[str, Any]] = {
    "call": {"id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": ""}}},
    "answer": {"id": "a", "result": {"text": ""}},
    "error": {"id": 2, "error": {"code": 1, "message": "no", "data": ""}},
    "notification": {"method": "notifications/message", "params": {"data": ""}},
}


def frame(message: dict[str, Any], size: int) -> Frame:
    """The message with a text so long that its line has that many bytes."""
    line = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":"))
    at = line.rindex('""') + 1
    (made,) = FrameReader().feed((line[:at] + "x" * (size - len(line) - 1) + line[at:]).encode() + b"\n")
    assert isinstance(made, Frame)
    assert len(made.data) == size
    return made


class Clerk:
    """Keeps what is to be made later."""

    def __init__(self) -> None:
        self.kept: list[tuple[Callable[..., Event], tuple[Any, ...]]] = []
        self.failed: list[BaseException] = []
        self.reports = Reports(self._unheard, self.later, passed, lambda: None, self.failed.append)

    def later(self, make: Callable[..., Event], *args: Any) -> None:
        self.kept.append((make, args))

    def _unheard(self, event: Event) -> None:
        raise AssertionError("nothing was to be told at once")


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("size", [200, DEFERRED, DEFERRED + 1, KEPT, KEPT + 1, 1 << 18])
def test_the_event_is_the_same_whenever_it_is_made(name: str, size: int) -> None:
    clerk, message = Clerk(), frame(MESSAGES[name], size)
    clerk.reports.passed("server", message)
    ((make, args),) = clerk.kept
    assert make(*args) == passed("server", message)
    kept = [one for one in args if isinstance(one, Frame)]
    assert len(kept) == (size <= KEPT)
    if size > DEFERRED:
        assert all(len(one.message) <= 1 and not any(one.message.values()) for one in kept)


def test_what_cannot_be_written_ends_the_session() -> None:
    fault, failed, waits = OSError("full"), list[BaseException](), list[None]()

    def emit(event: Event) -> None:
        raise fault

    reports = Reports(emit, None, passed, lambda: waits.append(None), failed.append)
    reports.passed("client", frame(MESSAGES["call"], 200))
    reports.report(Event("relay.dropped"))
    assert failed == [fault, fault]
    assert len(waits) == 1, "before what may be synced, and not before what passed"
