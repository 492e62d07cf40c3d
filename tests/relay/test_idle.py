"""Whoever keeps memory of long messages is told once when no more come."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sandbox.relay import carriers
from sandbox.relay.outlet import READ
from tests.relay.lanes import Pair, Way
from tests.relay.world import PATIENCE


class Idle:
    """A pair that says when nothing comes any more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(carriers, "IDLE_MS", 50)
        self.times = 0
        self.again = threading.Semaphore(0)
        self.pair = Pair(self._hear)

    def _hear(self) -> None:
        self.times += 1
        self.again.release()


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Idle]:
    made = Idle(monkeypatch)
    yield made
    made.pair.end()


@pytest.mark.parametrize("way", ["up", "down"])
def test_after_long_messages_it_is_said_once_that_nothing_comes(idle: Idle, way: str) -> None:
    side: Way = getattr(idle.pair, way)
    for count in (1, 2):
        sender = threading.Thread(target=side.send, args=(bytes(4 * READ),))
        sender.start()
        while sum(len(chunk) for chunk, _ in side.carried) < count * 4 * READ:
            side.wait()
        sender.join()
        assert idle.again.acquire(timeout=PATIENCE)
        assert not idle.again.acquire(timeout=0.2)
        assert idle.times == count


def test_control_after_short_ones_nobody_is_told(idle: Idle) -> None:
    for side in (idle.pair.up, idle.pair.down) * 2:
        side.say(bytes(READ // 2))
        side.wait()
        assert not idle.again.acquire(timeout=0.2)
    assert idle.times == 0
