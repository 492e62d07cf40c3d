"""Whatever a known client sends, it is answered in time and the sessions go on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.serve.capacity import Capacity
from sandbox.serve.words import Refused, Reply
from tests.serve.asking import ALICE, META, World, request, result, world

HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "mcp_protocol_version": st.sampled_from(["2025-06-18", "2026-07-28", "1", ""]) | st.text(max_size=5),
        "mcp_session_id": st.sampled_from(["SESSION", "x", ""]) | st.text(max_size=5),
        "mcp_method": st.sampled_from(["echo", "tools/call"]) | st.text(max_size=5),
        "mcp_name": st.text(max_size=5),
        "last_event_id": st.sampled_from(["0.0", "1.1", "9.9"]) | st.text(max_size=5),
    },
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
METHODS = st.sampled_from(
    ["echo", "tools/call", "tools/list", "ping", "notifications/cancelled", "initialize", "server/discover"]
)
PARAMS = st.fixed_dictionaries(
    {}, optional={"_meta": st.just(META) | JSON, "name": JSON, "arguments": JSON, "requestId": JSON}
)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": JSON,
        "method": METHODS | JSON,
        "params": PARAMS | JSON,
    },
)
BODY = st.one_of(
    MESSAGE.map(lambda one: json.dumps(one).encode()),
    st.lists(MESSAGE, max_size=2).map(lambda one: json.dumps(one).encode()),
    st.binary(max_size=40),
)
METHOD = st.sampled_from(["POST", "POST", "POST", "GET", "DELETE"])
ASKED = st.tuples(METHOD, BODY, HEADERS)


async def _ask(made: World, session: str, method: str, body: bytes, headers: dict[str, str]) -> None:
    named = {name: session if value == "SESSION" else value for name, value in headers.items()}
    reply: Reply | Refused = await made.ask(method, body if method == "POST" else None, ALICE, **named)
    assert reply.status < 500 or reply.status == 503, reply
    if not isinstance(reply.body, bytes):
        assert isinstance(reply, Reply)
        await reply.body.aclose()  # type: ignore[attr-defined]


def fuzzed(asked: list[tuple[str, bytes, dict[str, Any]]]) -> None:
    """All of it, in one world; afterwards a session begins and answers as ever."""

    async def whole() -> None:
        async with asyncio.timeout(20), world(Capacity(sessions=6, each=6)) as made:
            client = await made.begin()
            for method, body, headers in asked:
                await _ask(made, client.id, method, body, headers)
            for one in [one for one in made.service.live if one.in_use or one.child]:
                one.ended_with("the test makes room")
            while made.service.live:  # noqa: ASYNC110 - what the world shows
                await asyncio.sleep(0.01)
            assert result(await (await made.begin()).call("echo", 1)) == {"echo": {}}

    asyncio.run(whole())


def test_a_plain_request_is_answered_here_too() -> None:
    fuzzed([("POST", json.dumps(request("echo", 1)).encode(), {"mcp_session_id": "SESSION"})])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ASKED, min_size=10, max_size=40))
def test_no_request_of_a_known_client_is_too_much(asked: list[tuple[str, bytes, dict[str, Any]]]) -> None:
    fuzzed(asked)
