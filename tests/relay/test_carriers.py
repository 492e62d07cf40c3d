"""Two threads for two directions: what one side does, or does not do, holds up nobody on the other."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sandbox.relay import carriers
from sandbox.relay.carriers import FEW, LONG, Carriers
from sandbox.relay.outlet import Outlet
from tests.relay.lanes import Pair, Way
from tests.relay.world import PATIENCE, Pipe, World, notification, request, result


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.end()


def threads(pair: Pair) -> set[str]:
    return {name for way in (pair.up, pair.down) for _, name in way.carried}


def test_calls_and_answers_are_carried_by_one_thread(pair: Pair) -> None:
    for number in range(20):
        pair.up.say(b"call %d\n" % number)
        assert pair.up.wait() == b"call %d\n" % number
        pair.down.say(b"answer %d\n" % number)
        assert pair.down.wait() == b"answer %d\n" % number
    assert len(threads(pair)) == 1


@pytest.mark.parametrize("apart", [True, False], ids=["said", "control: not said"])
def test_who_waits_and_says_so_holds_up_nobody(pair: Pair, apart: bool) -> None:
    began, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def waits(chunk: bytes) -> bool:
        if apart:
            pair.carriers.apart()
        began.set()
        assert go_on.wait(PATIENCE)
        order.append("up")
        return False

    def notes(chunk: bytes) -> bool:
        order.append("down")
        return False

    pair.up.first, pair.down.first = waits, notes
    pair.up.say(b"held\n")
    assert began.wait(PATIENCE)
    pair.down.say(b"passes\n")
    if apart:
        pair.down.wait()
    go_on.set()
    pair.up.wait()
    if not apart:
        pair.down.wait()
    assert order == (["down", "up"] if apart else ["up", "down"])
    assert len(threads(pair)) == (2 if apart else 1)


def test_both_lanes_are_waited_for_again_afterwards(pair: Pair) -> None:
    pair.up.first = lambda chunk: bool(pair.carriers.apart())
    for number in range(50):
        for way in (pair.up, pair.down):
            way.say(b"%d\n" % number)
        for way in (pair.up, pair.down):
            assert way.wait() == b"%d\n" % number


@pytest.mark.parametrize(
    ("chunk", "parts"),
    [
        pytest.param(b"x" * LONG + b"\n", True, id="long"),
        pytest.param(b"x\n" * FEW, True, id="many lines"),
        pytest.param(b"x" * (LONG - 1) + b"\n", False, id="not long"),
        pytest.param(b"x\n" * 8, False, id="few lines"),
    ],
)
def test_what_takes_long_is_no_matter_of_the_other_direction(pair: Pair, chunk: bytes, parts: bool) -> None:
    leads: list[bool] = []

    def looks(piece: bytes) -> bool:
        leads.append(pair.carriers._leader == threading.get_ident())
        return False

    pair.up.first = looks
    pair.up.say(chunk)
    pair.up.wait()
    assert leads[0] is not parts


def test_a_message_under_way_is_read_to_its_end_by_whoever_began(pair: Pair) -> None:
    chunks: list[bytes] = []

    def begins(chunk: bytes) -> bool:
        chunks.append(chunk)
        return not chunk.endswith(b"\n")

    pair.up.first = begins
    line = b"y" * 3 * LONG
    writer = threading.Thread(target=pair.up.say, args=(line + b"\n",))
    writer.start()
    writer.join()
    while sum(map(len, chunks)) < len(line) + 1:
        pair.up.wait()
    pair.down.say(b"passes\n")
    assert pair.down.wait() == b"passes\n"
    assert b"".join(chunks) == line + b"\n"
    assert len({name for _, name in pair.up.carried}) == 1


def test_a_fault_ends_its_lane_and_no_other(pair: Pair) -> None:
    fault = RuntimeError("no")

    def fails(chunk: bytes) -> bool:
        raise fault

    pair.up.first = fails
    pair.up.say(b"x\n")
    assert pair.up.over.wait(PATIENCE)
    assert pair.up.error is fault
    pair.down.say(b"passes\n")
    assert pair.down.wait() == b"passes\n"
    assert not pair.down.over.is_set()


def test_nothing_is_left_at_the_end() -> None:
    before = os.listdir("/proc/self/fd")
    made = Pair()
    made.up.say(b"x\n")
    made.up.wait()
    made.end()
    assert os.listdir("/proc/self/fd") == before


# --- looking before sleeping -------------------------------------------------------------------------


class Clock:
    """Goes on by so much at each look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


def looks(
    monkeypatch: pytest.MonkeyPatch, waited: float, *, comes_at: int, processors: int = 2
) -> list[object]:
    """The polls of one wait: what each was told to wait, where a message comes at the look of that number."""
    monkeypatch.setattr(carriers, "time", Clock(carriers.LOOK_S / 10))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)))
    up, down = Way(), Way()
    made = Carriers(up.lane, down.lane)
    up.lane.waited = waited
    asked: list[object] = []

    def poll(*timeout: object) -> list[tuple[int, int]]:
        asked.append(timeout)
        return [(up.pipe.read_end, 1)] if not timeout or len(asked) == comes_at else []

    made._polls[True, True] = poll
    made._await(up.lane)
    for way in (up, down):
        way.pipe.close_all()
    return [*asked, up.lane.waited < carriers.LOOK_S]


def test_after_a_short_wait_is_looked_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looks(monkeypatch, 0.0, comes_at=3) == [(0,), (0,), (0,), True]


def test_a_look_in_vain_ends_soon_and_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    *asked, again = looks(monkeypatch, 0.0, comes_at=0)
    assert asked == [(0,)] * 11 + [()]
    assert not again


def test_between_two_looks_others_have_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    yielded: list[None] = []
    monkeypatch.setattr(os, "sched_yield", lambda: yielded.append(None))
    looks(monkeypatch, 0.0, comes_at=4)
    assert len(yielded) == 3


def test_after_a_long_wait_the_thread_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looks(monkeypatch, 1.0, comes_at=0) == [(), True], (
        "and it was short, so the next one is looked for"
    )


def test_with_one_processor_the_thread_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looks(monkeypatch, 0.0, comes_at=0, processors=1)[0] == ()


# --- what writes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("nowait", [True, False], ids=["kernel 6.5", "older kernels"])
def test_an_outlet_says_so_before_it_waits(nowait: bool) -> None:
    pipe, waits = Pipe(), threading.Event()
    outlet = Outlet(pipe.write_end, waits.set)
    outlet._nowait = nowait
    assert outlet.send(b"x" * 4096)
    assert not waits.is_set()
    line = b"y" * (1 << 17)
    writer = threading.Thread(target=outlet.send, args=(line,))
    writer.start()
    assert waits.wait(PATIENCE)
    assert wait_until(lambda: outlet.since > 0)
    got = b""
    while len(got) < 4096 + len(line):
        got += os.read(pipe.read_end, 1 << 16)
    writer.join()
    assert got == b"x" * 4096 + line
    assert outlet.since == 0.0
    pipe.close_all()


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return True


def test_a_server_that_reads_nothing_still_speaks() -> None:
    world = World()
    world.asked(request(1))
    text = "z" * 50_000
    writer = threading.Thread(target=lambda: [world.client(request(n, text=text)) for n in range(2, 50)])
    writer.start()
    world.until(lambda: world.relay._server.since > 0)
    for number in range(20):
        world.server(notification("next", number=number))
        assert world.relay_to_client.hear()["params"] == {"number": number}
    world.server(result(1))
    assert world.relay_to_client.hear() == result(1)
    for number in range(2, 50):
        assert world.relay_to_server.hear()["id"] == number
    writer.join()
    world.close()


def test_a_client_that_reads_nothing_still_asks() -> None:
    world = World()
    world.asked(request(1))
    text = "z" * 60_000
    writer = threading.Thread(
        target=lambda: [world.server(notification("next", number=n, text=text)) for n in range(50)]
    )
    writer.start()
    world.until(lambda: world.relay._client.since > 0)
    for number in range(2, 20):
        world.client(request(number))
        assert world.relay_to_server.hear()["id"] == number
    for number in range(50):
        assert world.relay_to_client.hear()["params"]["number"] == number
    writer.join()
    world.close()


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_or_turned_round_whatever_either_side_sends(seed: int) -> None:
    """Both directions at once, in any sizes, and neither side in a hurry."""
    number, chance = 120, random.Random(seed)  # noqa: S311 - of a test
    sizes = [chance.choice((10, 300, 5000, 20_000, 70_000, 300_000)) for _ in range(number)]
    world = World(cap=1 << 20)
    saying, answers, notes = threading.Lock(), [], []

    def client() -> None:
        for id, size in enumerate(sizes):
            world.client(request(id, text="c" * (size // 3)))

    def server() -> None:
        for id in range(number):
            assert world.relay_to_server.hear()["id"] == id
            with saying:
                world.server(result(id))

    def speaker() -> None:
        for at, size in enumerate(reversed(sizes)):
            with saying:
                world.server(notification("next", at=at, text="s" * size))

    threads = [threading.Thread(target=one, daemon=True) for one in (client, server, speaker)]
    for thread in threads:
        thread.start()
    while len(answers) < number or len(notes) < number:
        message = world.relay_to_client.hear()
        if "id" in message:
            answers.append(message["id"])
        else:
            notes.append(message["params"]["at"])
    assert answers == notes == list(range(number))
    for thread in threads:
        thread.join(PATIENCE)
    world.close()
