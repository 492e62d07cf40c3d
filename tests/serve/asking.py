"""Asks the sessions as the front does, with a fake server behind them; no socket and no sandbox."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.event import Event
from sandbox.serve import session
from sandbox.serve.capacity import Capacity
from sandbox.serve.service import Service
from sandbox.serve.words import Principal, Refused, Reply, Request
from sandbox.wire.sse import Decoder
from sandbox.wire.sse import Event as Sent

FAKE = (sys.executable, "-I", "-S", str(Path(__file__).with_name("fake_server.py")))
ALICE, BOB = Principal("alice"), Principal("bob")
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
Answer = Reply | Refused


class World:
    """A service, what it said and reported, and how one asks it."""

    def __init__(self, capacity: Capacity | None, program: tuple[str, ...]) -> None:
        self.said: list[str] = []
        self.reported: list[Event] = []
        routes = {"": (), "other": ("--other",)}
        self.service = Service(routes, capacity, self.said.append, self.reported.append, program)

    async def ask(
        self, method: str, body: object = None, who: Principal = ALICE, route: str = "", **headers: str
    ) -> Answer:
        """One request; `mcp_session_id=` is a header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return await self.service.answer(Request(method, route, named, raw, who))

    async def begin(self, who: Principal = ALICE, version: str = "2025-11-25", route: str = "") -> Client:
        """A session of `who`."""
        body = request("initialize", 0, protocolVersion=version)
        reply = await self.ask("POST", body, who, route)
        assert isinstance(reply, Reply), reply
        assert reply.status == 200
        return Client(self, who, dict(reply.headers)["Mcp-Session-Id"], route, result(reply)["pid"], version)

    async def modern(
        self,
        method: str,
        id: object,
        who: Principal = ALICE,
        headers: dict[str, str] | None = None,
        **params: Any,
    ) -> Answer:
        """One request of the stateless era, with the headers that belong to it."""
        meta = {**META, **params.pop("_meta", {})}
        name = params.get("name")
        more = {"mcp_protocol_version": "2026-07-28", "mcp_method": method} | (
            {"mcp_name": name} if name else {}
        )
        body = request(method, id, _meta=meta, **params)
        return await self.ask("POST", body, who, **(more | (headers or {})))


class Client:
    """One session as its client sees it."""

    def __init__(
        self, world: World, who: Principal, id: str, route: str, pid: int, version: str = "2025-11-25"
    ) -> None:
        self.world, self.who, self.id, self.route, self.pid = world, who, id, route, pid
        self.version = version

    async def send(self, method: str, body: object = None, **headers: str) -> Answer:
        """One HTTP request of the session's."""
        headers = {"mcp_protocol_version": self.version, **headers}
        return await self.world.ask(method, body, self.who, self.route, mcp_session_id=self.id, **headers)

    async def call(self, method: str, id: object, **params: Any) -> Answer:
        """One MCP request."""
        return await self.send("POST", request(method, id, **params))

    async def heard(self, id: object = "heard") -> list[dict[str, Any]]:
        """All that the server has been sent, without the question."""
        found: list[dict[str, Any]] = result(await self.call("heard", id))["heard"]
        return found[:-1]


def request(method: str, id: object, **params: Any) -> dict[str, Any]:
    """A request as JSON has it."""
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def note(method: str, **params: Any) -> dict[str, Any]:
    """A notification."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


def message(reply: Answer) -> dict[str, Any]:
    """The one message of an answer in JSON."""
    assert isinstance(reply.body, bytes)
    found: dict[str, Any] = json.loads(reply.body)
    return found


def result(reply: Answer) -> dict[str, Any]:
    """The result of an answer in JSON."""
    assert isinstance(reply, Reply), reply
    found: dict[str, Any] = message(reply)["result"]
    return found


async def large(reply: Answer) -> dict[str, Any]:
    """The result of an answer in JSON that is taken in pieces."""
    assert isinstance(reply, Reply), reply
    assert not isinstance(reply.body, bytes), reply
    assert dict(reply.headers)["Content-Type"] == "application/json"
    found: dict[str, Any] = json.loads(b"".join([one async for one in reply.body]))["result"]
    return found


def code(reply: Answer) -> int:
    """The code of an error in JSON."""
    found: int = message(reply)["error"]["code"]
    return found


async def events(reply: Answer, until: int = 1 << 30) -> list[Sent]:
    """What a stream says until its end, or until so many events came; it stays open."""
    assert isinstance(reply, Reply), reply
    assert not isinstance(reply.body, bytes), reply
    decoder, found = Decoder(1 << 24), list[Sent]()
    while len(found) < until:
        try:
            found += decoder.feed(await anext(reply.body))
        except StopAsyncIteration:
            break
    return found


async def messages(reply: Answer, until: int = 1 << 30) -> list[dict[str, Any]]:
    """The messages of a stream, without the event that primes it."""
    return [json.loads(event.data) for event in await events(reply, until) if event.data]


async def hang_up(reply: Answer) -> None:
    """What the front does when the client has gone."""
    assert isinstance(reply, Reply)
    await reply.body.aclose()  # type: ignore[union-attr]


@asynccontextmanager
async def world(capacity: Capacity | None = None, program: tuple[str, ...] = FAKE) -> AsyncIterator[World]:
    """A service that is closed in the end, whatever happened."""
    made = World(capacity, program)
    try:
        yield made
    finally:
        async with asyncio.timeout(20):
            await made.service.close()
        assert not made.service.live


def played(
    play: Callable[[World], Awaitable[None]], capacity: Capacity | None = None, silent_s: float = 60.0
) -> None:
    """Runs `play` in a world of its own, where a busy machine makes no stream of what is an answer."""

    async def whole() -> None:
        async with asyncio.timeout(30), world(capacity) as made:
            await play(made)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "SILENT_S", silent_s)
        asyncio.run(whole())
