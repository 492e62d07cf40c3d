"""What the bridge holds at most, whatever comes: of one message, of all together, of a session."""

from __future__ import annotations

import asyncio
import os

import pytest

from sandbox.bridge.envelope import Message, read
from sandbox.bridge.pipes import NOTES_MAX, Inlet, Notes, Outlet, Overlong
from sandbox.bridge.session import TOOLS_MAX, Session, Stateless
from sandbox.bridge.streams import PAUSE_MAX, PAUSE_MIN, Cursor
from sandbox.bridge.unfinished import ALL_MAX, Unfinished
from sandbox.bridge.waiting import BYTES_MAX, CALLS_MAX, Calls, Waiting
from sandbox.bridge.words import Failed
from sandbox.wire import sse


def request(id: int, size: int = 10) -> Message:
    return Message(b"x" * size, id, "tools/call")


def test_so_many_calls_wait_and_no_more() -> None:
    async def world() -> None:
        calls = Calls()
        for id in range(CALLS_MAX):
            await calls.room(10)
            calls.add(Waiting(request(id), modern=False))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(calls.room(10), 0.05)
        calls.answered(7, None)
        await asyncio.wait_for(calls.room(10), 5)

    asyncio.run(world())


def test_so_many_bytes_of_calls_wait_and_no_more() -> None:
    async def world() -> None:
        calls = Calls()
        calls.add(Waiting(request(1, BYTES_MAX - 5), modern=False))
        await asyncio.wait_for(calls.room(5), 5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(calls.room(6), 0.05)

    asyncio.run(world())


def test_one_call_goes_however_large_it_is() -> None:
    async def world() -> None:
        await asyncio.wait_for(Calls().room(BYTES_MAX + 1), 5)

    asyncio.run(world())


def test_unfinished_answers_share_one_bound() -> None:
    held = Unfinished(most=10)
    held.add(ALL_MAX)
    with pytest.raises(Failed, match="unfinished"):
        held.add(1)
    held.drop(10)
    held.add(10)


def test_a_line_without_end_is_overlong() -> None:
    async def world() -> None:
        read_end, write_end = os.pipe()
        inlet = Inlet(read_end, most=1000)
        os.write(write_end, b"{}\n" + b"x" * 2000)
        assert await inlet.line() == b"{}\n"
        with pytest.raises(Overlong):
            await inlet.line()
        inlet.close()
        os.close(read_end)
        os.close(write_end)

    asyncio.run(world())


def test_an_outlet_that_nobody_reads_ends() -> None:
    async def world() -> None:
        read_end, write_end = os.pipe()
        outlet = Outlet(write_end)
        waiting = asyncio.ensure_future(outlet.put(b"x" * (3 << 20)))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        os.close(read_end)
        await asyncio.wait_for(waiting, 5)
        assert outlet.gone.done()
        os.close(write_end)

    asyncio.run(world())


def test_notes_that_nobody_reads_hold_up_nothing() -> None:
    read_end, write_end = os.pipe()
    notes = Notes(write_end)
    for _ in range(NOTES_MAX + 50):
        notes.say("a note\x1b[2J\nof two lines " + "x" * 5000)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        lines = pipe.read().decode().splitlines()
    assert 0 < len(lines) <= NOTES_MAX
    assert all(line.startswith("bridge: a note") and line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("retry", "failures", "pause"),
    [
        pytest.param(b"retry: 0\n\n", 0, PAUSE_MIN, id="at once"),
        pytest.param(b"retry: 500\n\n", 0, 0.5, id="as asked"),
        pytest.param(b"retry: 500\n\n", 3, 2.0, id="ever later"),
        pytest.param(b"retry: 999999999\n\n", 0, PAUSE_MAX, id="never"),
        pytest.param(b"retry: 500\n\n", 99, PAUSE_MAX, id="after many failures"),
    ],
)
def test_a_stream_is_taken_up_neither_too_soon_nor_never(retry: bytes, failures: int, pause: float) -> None:
    decoder, cursor = sse.Decoder(), Cursor()
    decoder.feed(retry)
    cursor.moved(decoder)
    for _ in range(failures):
        cursor.failed()
    assert cursor.pause == pause


def test_only_so_many_tools_are_remembered() -> None:
    stateless = Stateless()
    schema = '{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"}}}'
    tools = ",".join(f'{{"name":"{at}","inputSchema":{schema}}}' for at in range(TOOLS_MAX + 10))
    (answer,) = read(f'{{"id":1,"result":{{"tools":[{tools}]}}}}'.encode())
    stateless.learn(answer)

    def wanted(name: int) -> bool:
        called = f'{{"id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{{"a":"b"}}}}}}'
        (message,) = read(called.encode())
        return ("Mcp-Param-A", "b") in stateless.headers(message)

    assert wanted(0)
    assert not wanted(TOOLS_MAX + 5)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("", id="empty"),
        pytest.param("a b", id="a space"),
        pytest.param("é", id="beyond ascii"),
        pytest.param("a" * 5000, id="without end"),
    ],
)
def test_a_session_id_that_is_none_is_refused(id: str) -> None:
    with pytest.raises(Failed, match="Mcp-Session-Id"):
        Session().take_id({"mcp-session-id": id})
