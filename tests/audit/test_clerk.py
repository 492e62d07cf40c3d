"""The clerk: order kept across threads, refusals written at once, failures raised and kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.audit.clerk import GATHER_S, MOST, Clerk
from sandbox.audit.sink import Sink
from sandbox.errors import AuditError
from sandbox.event import Event


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    with Sink("s1", "server", environ={"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}) as opened:
        yield opened


def written(sink: Sink) -> list[tuple[str, object]]:
    lines = Path(sink.path).read_text().splitlines()
    return [(line["kind"], line["detail"].get("n")) for line in map(json.loads, lines)]


def traffic(number: int) -> Event:
    """What `later` is given: the event is made by the clerk."""
    return Event("relay.request", {"n": number})


def wait_until(condition: object, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "never happened"
        time.sleep(0.001)


def test_before_the_start_every_event_is_written_at_once(sink: Sink) -> None:
    Clerk(sink).later(traffic, 1)
    assert written(sink) == [("relay.request", 1)]


def test_traffic_is_written_soon_without_being_asked(sink: Sink) -> None:
    clerk = Clerk(sink)
    clerk.start(lambda: None)
    for number in range(50):
        clerk.later(traffic, number)
    wait_until(lambda: len(written(sink)) == 50)
    assert written(sink) == [("relay.request", n) for n in range(50)]


def test_a_refusal_is_on_disk_when_emit_returns_after_all_that_came_before(sink: Sink) -> None:
    clerk = Clerk(sink)
    clerk.start(lambda: None)
    clerk.later(traffic, 1)
    clerk.emit(Event("relay.dropped", {"n": 2}))
    assert written(sink) == [("relay.request", 1), ("relay.dropped", 2)]


def test_the_queue_is_bounded_even_while_the_clerk_sleeps(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.audit.clerk.GATHER_S", 30.0)
    clerk = Clerk(sink)
    clerk.start(lambda: None)
    for number in range(MOST + 1):
        clerk.later(traffic, number)
    assert len(written(sink)) == MOST + 1


def test_several_threads_lose_nothing(sink: Sink) -> None:
    clerk = Clerk(sink)
    clerk.start(lambda: None)
    threads = [
        threading.Thread(target=lambda t=t: [clerk.later(traffic, t * 1000 + n) for n in range(200)])
        for t in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clerk.flush()
    numbers = [n for _, n in written(sink)]
    assert sorted(numbers) == sorted(t * 1000 + n for t in range(4) for n in range(200))  # type: ignore[type-var]
    for t in range(4):
        mine = [n for n in numbers if n // 1000 == t]  # type: ignore[operator]
        assert mine == sorted(mine)


def test_a_failed_write_is_told_once_and_every_later_emit_raises(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(events: object) -> None:
        raise AuditError("audit-failed", "no space left")

    told = threading.Event()
    clerk = Clerk(sink)
    clerk.start(told.set)
    monkeypatch.setattr(sink, "emit_all", fail)
    clerk.later(traffic, 1)
    assert told.wait(GATHER_S + 5.0)
    with pytest.raises(AuditError, match="no space left"):
        clerk.later(traffic, 2)
