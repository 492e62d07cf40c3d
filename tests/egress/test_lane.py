"""A lane carries every byte once and in order, and reads nothing that it cannot pass on."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress

import pytest

from sandbox.egress import lane
from sandbox.egress.lane import Bytes, Lane, Room

TURNS = 10


class World:
    """One lane between two socket pairs: `said` is the far end of its source, `heard` that of its sink."""

    def __init__(self, stack: ExitStack) -> None:
        self.said, source = socket.socketpair()
        self.heard, sink = socket.socketpair()
        for one in (self.said, source, self.heard, sink):
            one.setblocking(False)
            stack.enter_context(one)
        self.room = Room()
        self.looks: list[int] = []
        self.ends: list[Exception | None] = []
        self.refuses: Exception | None = None
        loop = asyncio.get_running_loop()
        self.lane = Lane(loop, source, sink, self.room, self._look, lambda _, end: self.ends.append(end))

    def _look(self, data: memoryview) -> Bytes:
        self.looks.append(len(data))
        if self.refuses is not None:
            raise self.refuses
        return data

    def hear(self, most: int = 1 << 20) -> bytes | None:
        """What is there; None for nothing yet."""
        try:
            return self.heard.recv(most)
        except BlockingIOError:
            return None

    async def all_heard(self, count: int) -> bytes:
        """`count` bytes, with as many turns of the loop as it takes."""
        found = b""
        while len(found) < count:
            found += self.hear() or b""
            await turns()
        return found

    def fill(self, data: bytes) -> int:
        """Says as much of `data` as the kernel takes."""
        with suppress(BlockingIOError):
            return self.said.send(data)
        return 0


async def turns() -> None:
    """What is ready is handled: a pair of sockets has no delay."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


def in_world(test: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        with ExitStack() as stack:
            world = World(stack)
            stack.callback(world.lane.close)
            await test(world)

    asyncio.run(run())


def stuff(count: int) -> bytes:
    return random.Random(1).randbytes(count)  # noqa: S311 - no secret


def test_bytes_pass_and_the_end_is_told_once() -> None:
    async def test(world: World) -> None:
        world.said.send(b"early")
        world.lane.read()
        assert world.hear() == b"early"
        world.said.send(b"late")
        await turns()
        assert world.hear() == b"late"
        world.said.close()
        await turns()
        assert (world.ends, world.lane.over) == ([None], True)
        assert world.hear() is None  # whoever owns the sink ends it

    in_world(test)


def test_a_slow_sink_stops_the_source_and_loses_nothing() -> None:
    async def test(world: World) -> None:
        data, sent = stuff(4 << 20), 0
        world.lane.settle()
        while (taken := world.fill(data[sent:])) > 0:
            sent += taken
            await turns()
        assert 0 < sent < len(data), "the pair took everything: nothing was slow"
        looks, held = len(world.looks), world.room.held
        assert held > 0
        await turns()
        assert len(world.looks) == looks
        world.said.shutdown(socket.SHUT_WR)
        assert world.ends == []
        assert await world.all_heard(sent) == data[:sent]
        await turns()
        assert (world.room.held, world.ends) == (0, [None])

    in_world(test)


def test_nothing_passes_before_what_it_waits_for() -> None:
    async def test(world: World) -> None:
        gate, second = (asyncio.get_running_loop().create_future() for _ in range(2))
        world.lane.wait(gate)
        world.lane.send(b"one ")
        world.lane.wait(second)
        world.lane.send(b"two")
        world.said.close()
        gate.set_result(None)
        await turns()
        assert (world.hear(), world.ends, world.room.held) == (None, [], 7)
        second.set_result(None)
        await turns()
        assert (world.hear(), world.ends, world.room.held) == (b"one two", [None], 0)

    in_world(test)


def test_it_reads_when_it_was_resumed_as_often_as_paused() -> None:
    async def test(world: World) -> None:
        world.lane.pause()
        world.lane.pause()
        world.said.send(b"held")
        world.lane.settle()
        await turns()
        world.lane.resume()
        await turns()
        assert world.looks == []
        world.lane.send(b"released ")  # by its owner, meanwhile
        world.lane.resume()
        await turns()
        assert world.hear() == b"released held"

    in_world(test)


def test_what_is_refused_ends_it_and_does_not_pass() -> None:
    async def test(world: World) -> None:
        world.refuses = ValueError("not this")
        world.said.send(b"bad")
        world.lane.read()
        world.said.send(b"more")
        await turns()
        assert (world.ends, world.looks, world.hear()) == ([world.refuses], [3], None)
        world.lane.send(b"late")
        assert world.hear() is None

    in_world(test)


@pytest.mark.parametrize("held", [pytest.param(False, id="at once"), pytest.param(True, id="while it holds")])
def test_a_broken_sink_ends_it(*, held: bool) -> None:
    async def test(world: World) -> None:
        if held:
            while not world.room.held:
                world.lane.send(stuff(1 << 20))
            world.lane.settle()
        world.heard.close()
        world.said.send(b"x")
        world.lane.settle()
        await turns()
        assert [type(end) for end in world.ends] == [BrokenPipeError]
        assert (world.room.held, world.lane.over) == (0, False)

    in_world(test)


def test_where_much_is_held_in_all_each_reads_little() -> None:
    async def test(world: World) -> None:
        data = stuff(lane.LEAST + 1)
        world.said.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        world.room.held = lane.PLENTY
        assert world.said.send(data) == len(data)
        world.lane.settle()
        assert await world.all_heard(len(data)) == data
        assert max(world.looks) <= lane.LEAST
        world.room.held = 0
        assert world.said.send(data) == len(data)
        await turns()
        assert max(world.looks) == len(data)

    in_world(test)


def test_what_is_left_when_it_is_closed_counts_no_more() -> None:
    async def test(world: World) -> None:
        world.lane.wait(asyncio.get_running_loop().create_future())
        world.lane.send(stuff(1000))
        assert world.room.held == 1000
        world.lane.close()
        assert world.room.held == 0
        world.said.send(b"late")
        await turns()
        assert (world.looks, world.ends) == ([], [])

    in_world(test)
