"""Whoever keeps memory of long messages is told once when no more come."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sandbox.relay import carriers
from sandbox.relay.outlet import READ
from tests.relay.lanes import Pair, Way
from tests.relay.world import PATIENCE

LITTLE = 1 << 13


class Idle:
    """A pair that says when nothing comes any more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(carriers, "IDLE_S", 0.3)
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
@pytest.mark.parametrize("size", [4 * READ, LITTLE], ids=["whole", "in little reads"])
def test_after_long_messages_it_is_said_once_that_none_comes(idle: Idle, way: str, size: int) -> None:
    side: Way = getattr(idle.pair, way)
    for count in (1, 2):
        came = 0

        def carry(chunk: bytes) -> bool:
            nonlocal came
            came += len(chunk)
            return came < 4 * READ

        side.first = carry
        sender = threading.Thread(target=side.send, args=(bytes(4 * READ), size))
        sender.start()
        while came < 4 * READ:
            side.wait()
        sender.join()
        assert idle.again.acquire(timeout=PATIENCE)
        assert not idle.again.acquire(timeout=0.5)
        assert idle.times == count


def test_short_ones_that_go_on_do_not_put_it_off(idle: Idle) -> None:
    idle.pair.up.send(bytes(READ) + b"\n", READ + 1)
    for _ in range(100):
        idle.pair.down.say(b"short\n")
        idle.pair.down.wait()
        if idle.again.acquire(timeout=0.05):
            break
    assert idle.times == 1


def test_control_after_short_ones_nobody_is_told(idle: Idle) -> None:
    for side in (idle.pair.up, idle.pair.down) * 3:
        side.say(bytes(READ // 2) + b"\n")
        side.wait()
    assert not idle.again.acquire(timeout=0.6)
    assert idle.times == 0
