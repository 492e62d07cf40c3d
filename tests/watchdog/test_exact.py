"""Memory with each page counted once: by the kernel now and then, in between by what came since."""

from __future__ import annotations

import pytest

from sandbox.watchdog import exact, processes
from sandbox.watchdog.exact import Exact
from sandbox.watchdog.processes import Process

MIB = 1 << 20


class World:
    """Processes with the numbers that the kernel would tell, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.share: dict[int, tuple[int, int] | None] = {}
        self.own: dict[int, int] = {}
        self.there: dict[int, Process] = {}
        self.now = 0.0
        self.counted = 0
        monkeypatch.setattr(processes, "own", lambda pid: self.own[pid])
        monkeypatch.setattr(processes, "proportional", self._proportional)
        monkeypatch.setattr(processes, "look", lambda pid: self.there.get(pid))
        monkeypatch.setattr(exact.time, "monotonic", lambda: self.now)

    def _proportional(self, pid: int) -> tuple[int, int] | None:
        self.counted += 1
        return self.share[pid]

    def has(self, pid: int, own: int, share: tuple[int, int] | None = None) -> Process:
        self.own[pid], self.share[pid] = own * MIB, share and (share[0] * MIB, share[1] * MIB)
        self.there[pid] = Process(pid, 1, 1, 200 * MIB, 0.0, 0.0, started=pid)
        return self.there[pid]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def measured(seen: Exact, found: list[Process], hidden: int, limit: int = 0, *, growing: bool = False) -> int:
    """As `TreeMeter` asks: who is new is noted at every look."""
    seen.note(found)
    return seen.measure(found, hidden, limit, growing=growing)


def test_what_came_since_is_added_without_counting_anew(world: World) -> None:
    seen = Exact()
    assert measured(seen, [world.has(1, 40, (20, 0)), world.has(2, 40, (20, 0))], 0) == 40 * MIB
    world.now = 0.1
    assert measured(seen, [world.has(1, 70), world.has(2, 40)], 0) == 70 * MIB
    assert world.counted == 2
    world.now = 0.3
    measured(seen, [world.has(1, 70, (50, 0)), world.has(2, 40, (20, 0))], 0)
    assert world.counted == 4


def test_a_process_that_came_later_shares_all_that_it_began_with(world: World) -> None:
    seen = Exact()
    assert measured(seen, [world.has(1, 40, (40, 0))], 0) == 40 * MIB
    world.now = 0.1
    assert measured(seen, [world.has(1, 40), world.has(2, 40)], 0) == 40 * MIB
    assert measured(seen, [world.has(1, 40), world.has(2, 55)], 0) == 55 * MIB


def test_who_came_when_another_went_is_counted_soon(world: World) -> None:
    """A bomb that hands all it has on to a child, and ends, again and again."""
    seen = Exact()
    assert measured(seen, [world.has(1, 40, (40, 0))], 0) == 40 * MIB
    world.now = 0.03
    assert measured(seen, [world.has(2, 40, (40, 0))], 0) == 0, "not at once, or counting would never end"
    world.now = 0.06
    assert measured(seen, [world.has(2, 45, (45, 0))], 0) == 45 * MIB
    world.now = 0.2
    assert measured(seen, [world.has(2, 50, (50, 0))], 0) == 50 * MIB
    assert world.counted == 2, "and then no sooner than else"


def test_what_is_gone_counts_no_more(world: World) -> None:
    seen = Exact()
    measured(seen, [world.has(1, 40, (20, 0)), world.has(2, 40, (20, 0))], 0)
    assert measured(seen, [world.has(1, 40)], 0) == 20 * MIB
    assert measured(seen, [world.has(1, 0)], 0) == 0, "and nothing is less than nothing"


def test_who_may_not_be_looked_into_counts_as_resident(world: World) -> None:
    assert Exact().measure([world.has(1, 40, None)], 0) == 200 * MIB
    gone = world.has(2, 0, None)
    del world.there[2]
    assert Exact().measure([world.has(1, 40, (40, 0)), gone], 0) == 40 * MIB, "nor is what is gone by now"


def test_shared_memory_counts_as_what_there_is_of_it(world: World) -> None:
    found = [world.has(1, 40, (60, 20))]
    assert Exact().measure(found, 0) == 60 * MIB
    assert Exact().measure(found, 15 * MIB) == 60 * MIB, "it is mapped somewhere"
    assert Exact().measure(found, 100 * MIB) == 140 * MIB


def test_counting_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(exact.time, "thread_time", lambda: float(next(clock)))
    seen = Exact()
    assert measured(seen, [world.has(pid, 40, (1, 0)) for pid in (1, 2, 3)], 0) == 600 * MIB
    assert world.counted == 0
    assert seen.cost > 0


def test_what_is_beyond_the_limit_for_certain_is_not_counted(world: World) -> None:
    """Counting waits for who gets more, and a bomb gets more all the time."""
    seen = Exact()
    seen.note([world.has(1, 10), world.has(2, 10)])
    found = [world.has(1, 70, (60, 0)), world.has(2, 70, (60, 0))]
    assert measured(seen, found, 0, 100 * MIB) == 120 * MIB
    assert world.counted == 0


def test_while_memory_grows_counting_is_put_off_and_not_for_long(world: World) -> None:
    seen = Exact()
    found = [world.has(1, 40, (40, 0)), world.has(2, 40, (40, 0))]
    assert measured(seen, found, 0, 100 * MIB, growing=True) == 0
    world.now = 0.2
    found = [world.has(1, 70, (70, 0)), world.has(2, 40, (40, 0))]
    assert measured(seen, found, 0, 100 * MIB, growing=True) == 30 * MIB
    assert world.counted == 0
    world.now = 0.3
    assert measured(seen, found, 0, 100 * MIB, growing=True) == 110 * MIB


def test_near_the_limit_who_is_new_is_counted_at_once(world: World) -> None:
    """Four children that were first seen with much: what they get then is certain, with no more counting."""
    seen = Exact()
    parent = world.has(1, 10, (10, 0))
    seen.begin([parent])
    children = [world.has(pid, 20, (15, 0)) for pid in (2, 3, 4, 5)]
    seen.note([parent, *children], near=True)
    assert world.counted == 5
    world.now = 0.1
    grown = [parent, *(world.has(pid, 45, (40, 0)) for pid in (2, 3, 4, 5))]
    assert measured(seen, grown, 0, 100 * MIB, growing=True) == 170 * MIB
    assert world.counted == 5


def test_far_from_the_limit_who_is_new_costs_one_short_read(world: World) -> None:
    seen = Exact()
    seen.note([world.has(1, 10, (10, 0))])
    assert world.counted == 0
