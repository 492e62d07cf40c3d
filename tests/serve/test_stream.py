"""What waits for a client: in order, once, bounded, and what is lost is said to be."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.serve import stream
from sandbox.serve.stream import Events, Shelf, Stream
from sandbox.wire.sse import Decoder

PUT, ATTACH, TAKE, DETACH, RESUME, DROP = range(6)
OFTEN = st.sampled_from([PUT, PUT, PUT, ATTACH, TAKE, TAKE, DETACH, RESUME, RESUME, DROP])
OPS = st.lists(st.tuples(OFTEN, st.integers(0, 2), st.integers(1, 900)), min_size=20, max_size=80)
KEPT, EVENTS, HIGH, LOW = 2000, 8, 1500, 500


class Played:
    """Three streams, their readers, and what each client saw."""

    def __init__(self) -> None:
        self.is_held = False
        self.shelf = Shelf(self._hold, self._go_on)
        self.streams = [self.shelf.open(id=n) for n in range(3)]
        self.readers: dict[int, Events] = {}
        self.put: dict[int, int] = dict.fromkeys(range(3), 0)
        self.seen: dict[int, list[int]] = {n: [] for n in range(3)}
        self.ids: dict[int, list[str]] = {n: [] for n in range(3)}
        self.dropped: set[int] = set()
        self.all_readers: list[Events] = []
        """Also those that were taken over, and have not been told to go yet."""

    def _hold(self) -> None:
        assert not self.is_held
        self.is_held = True

    def _go_on(self) -> None:
        assert self.is_held
        self.is_held = False

    async def do(self, op: int, n: int, size: int) -> None:
        one = self.streams[n]
        if n in self.dropped:
            return
        if op == PUT and not self.is_held:
            self.put[n] += 1
            one.put(json.dumps({"n": self.put[n], "text": "x" * size}).encode() + b"\n")
        elif op == ATTACH and one.reader is None:
            self._attach(n)
        elif op == RESUME and self.ids[n]:
            # Whoever comes back may have lost what was on the way to it.
            at = size % len(self.ids[n])
            one.rewind(int(self.ids[n][at].partition(".")[2]))
            self._attach(n)
            del self.seen[n][at + 1 :], self.ids[n][at + 1 :]
        elif op == TAKE and n in self.readers and one.waiting and one.reader is self.readers[n]:
            self.take(n, await anext(self.readers[n]))
        elif op == DETACH and n in self.readers:
            await self.readers.pop(n).aclose()
        elif op == DROP and size < 30:
            self.shelf.drop(one)
            self.dropped.add(n)
        self.check()

    def _attach(self, n: int) -> None:
        self.readers[n] = Events(self.streams[n])
        self.all_readers.append(self.readers[n])

    def take(self, n: int, data: bytes) -> None:
        for event in Decoder(1 << 20).feed(data):
            self.seen[n].append(json.loads(event.data)["n"])
            self.ids[n].append(event.id)

    def check(self) -> None:
        live = [one for n, one in enumerate(self.streams) if n not in self.dropped]
        assert self.shelf._bytes == sum(len(data) for one in live for _, data in one.events)
        entered = [n for one in live for n, _ in one.events if n <= one.entered]
        assert len(self.shelf._order) == len(entered)
        unread = sum(one.held for one in live if one.reader is not None)
        unread += sum(reader._lent for reader in self.all_readers)
        assert self.shelf._unread == unread
        # What nobody reads is within what is kept, and what somebody reads holds the server up.
        assert self.shelf._bytes - unread <= KEPT
        assert self.is_held or unread <= HIGH
        for seen in self.seen.values():
            assert seen == sorted(set(seen))


@settings(max_examples=100, deadline=None)
@given(OPS)
def test_readers_see_each_message_once_and_in_order(
    ops: list[tuple[int, int, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"KEPT": KEPT, "KEPT_EVENTS": EVENTS, "HIGH": HIGH, "LOW": LOW}.items():
            patch.setattr(stream, name, value)

        async def whole() -> None:
            played = Played()
            for op in ops:
                await played.do(*op)
            for reader in played.all_readers:
                await reader.aclose()
            played.check()
            assert played.shelf._unread == 0

        asyncio.run(whole())


def _message(n: int, size: int = 10) -> bytes:
    return json.dumps({"id": n, "text": "x" * size}).encode() + b"\n"


async def _all(one: Stream) -> list[dict[str, Any]]:
    decoder, found = Decoder(1 << 20), list[dict[str, Any]]()
    async for data in Events(one):
        found += [json.loads(event.data) for event in decoder.feed(data)]
    return found


def _shelf() -> Shelf:
    return Shelf(lambda: None, lambda: None)


def test_a_second_reader_takes_over_and_the_first_is_told_to_go() -> None:
    async def whole() -> None:
        one = _shelf().open(1)
        first = Events(one)
        waiting = asyncio.create_task(anext(first, b"the end"))
        await asyncio.sleep(0)
        second = asyncio.create_task(_all(one))
        assert await waiting == b"the end"
        one.put(_message(1), last=True)
        assert [found["id"] for found in await second] == [1]

    asyncio.run(whole())


def test_all_that_waits_goes_out_in_one_piece() -> None:
    async def whole() -> None:
        one = _shelf().open(1)
        for n in range(3):
            one.put(_message(n), last=n == 2)
        events = Events(one, b": first\n\n")
        data = await anext(events)
        assert data.startswith(b": first\n\n")
        assert data.count(b"event: message") == 3
        assert [end async for end in events] == []

    asyncio.run(whole())


def test_an_end_without_an_answer_is_no_answer() -> None:
    async def whole() -> None:
        one = _shelf().open(1)
        one.put(_message(1))
        one.end()
        one.put(_message(2), last=True)
        assert one.whole() is None
        assert len(await _all(one)) == 1

    asyncio.run(whole())


def test_gone_is_told_once() -> None:
    async def whole() -> None:
        told: list[Stream] = []
        one = _shelf().open(1)
        events = Events(one, gone=told.append)
        await events.aclose()
        await events.aclose()
        assert told == [one]

    asyncio.run(whole())
