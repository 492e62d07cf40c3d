"""Where a server's message goes, and ids that are renumbered: tables, and whatever else there is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.serve import renumber
from sandbox.serve.heard import Heard
from sandbox.serve.renumber import Call
from sandbox.serve.routing import GENERAL, Routing
from sandbox.wire.jsonrpc import Frame, FrameReader


def frame(message: dict[str, Any]) -> Frame:
    """The message as it is read."""
    found = FrameReader().feed(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")[0]
    assert isinstance(found, Frame), found
    return found


def heard(message: dict[str, Any]) -> Heard:
    """The same, as it is read of a server."""
    return Heard(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def ask(id: int | str, token: int | str | None = None) -> Frame:
    """A client's request."""
    meta = {} if token is None else {"_meta": {"progressToken": token}}
    return frame({"id": id, "method": "tools/call", "params": meta})


def call(method: str, **params: Any) -> Heard:
    """A server's notification."""
    return heard({"method": method, "params": params})


READ = frozenset({GENERAL, 1, 2, 3})
QUESTION = heard({"id": "s", "method": "elicitation/create", "params": {}})
LOG = call("notifications/message", data="x")


@pytest.mark.parametrize(
    ("message", "open_ones", "read", "expected"),
    [
        pytest.param(heard({"id": 1, "result": {}}), [1], READ, 1, id="an answer"),
        pytest.param(heard({"id": "1", "result": {}}), [1], READ, None, id="of another type"),
        pytest.param(heard({"id": 9, "result": {}}), [1], READ, None, id="of nobody"),
        pytest.param(LOG, [1], READ, 1, id="one open"),
        pytest.param(LOG, [1, 2], READ, GENERAL, id="two open and somebody listens"),
        pytest.param(LOG, [1, 2], READ - {GENERAL}, 2, id="two open and nobody listens"),
        pytest.param(LOG, [1, 2], READ - {GENERAL, 2}, 1, id="two open and one is read"),
        pytest.param(LOG, [1, 2], READ - {1}, 2, id="one of two is read and somebody listens"),
        pytest.param(LOG, [1], {GENERAL}, GENERAL, id="one open that nobody reads"),
        pytest.param(LOG, [1], frozenset(), GENERAL, id="nobody reads"),
        pytest.param(LOG, [], READ, GENERAL, id="none open"),
        pytest.param(QUESTION, [1], READ, 1, id="a question"),
        pytest.param(call("notifications/tools/list_changed"), [1], READ, GENERAL, id="of the server"),
        pytest.param(call("notifications/progress", progressToken="t2"), [1, 2], READ, 2, id="progress"),
        pytest.param(call("notifications/progress", progressToken="x"), [1], READ, GENERAL, id="no token"),
        pytest.param(call("notifications/progress", progressToken=[1]), [1], READ, GENERAL, id="a list"),
        pytest.param(call("notifications/progress", progressToken=True), [1], READ, GENERAL, id="a truth"),
        pytest.param(heard({"id": None, "error": {"code": 1, "message": ""}}), [1], READ, 1, id="id null"),
    ],
)
def test_route(message: Heard, open_ones: list[int], read: frozenset[int], expected: int | None) -> None:
    routing = Routing()
    for id in open_ones:
        routing.ask(ask(id, f"t{id}"), id)
    assert routing.route(message, read.__contains__) == expected


def test_a_withdrawn_question_follows_it_and_a_settled_request_hears_nothing_more() -> None:
    routing = Routing()
    routing.ask(ask(1, "t"), 1)
    assert routing.route(QUESTION, {1}.__contains__) == 1
    routing.ask(ask(2), 2)
    withdrawn = call("notifications/cancelled", requestId="s")
    assert routing.route(withdrawn, READ.__contains__) == 1
    routing.settle(1)
    assert routing.route(call("notifications/progress", progressToken="t"), READ.__contains__) == GENERAL
    assert routing.route(heard({"id": 1, "result": {}}), READ.__contains__) is None
    assert list(routing.open) == [2]


# --- renumbering -------------------------------------------------------------------------------------------

IDS = st.one_of(
    st.integers(-(2**53) + 1, 2**53 - 1), st.text(max_size=20).filter(lambda text: text.isprintable())
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**31), 2**31), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(IDS, IDS, st.integers(1, 2**40), JSON, JSON)
def test_there_and_back_changes_the_ids_alone(
    id: int | str, token: int | str, number: int, arguments: Any, result: Any
) -> None:
    params = {"name": "x", "arguments": arguments, "_meta": {"progressToken": token, "more": result}}
    asked = frame({"id": id, "method": "tools/call", "params": params})
    call = renumber.call_of(asked, id, 1)
    sent = json.loads(renumber.asked(asked, call, number))
    assert (sent["id"], sent["params"]["_meta"]["progressToken"]) == (number, number)
    sent["id"], sent["params"]["_meta"]["progressToken"] = id, token
    assert sent == asked.message

    answer = heard({"id": number, "result": {"content": result}})
    assert renumber.number_of(answer) == number
    assert json.loads(renumber.answered(answer, call)) == {
        "jsonrpc": "2.0",
        "id": id,
        "result": {"content": result},
    }

    progress = heard(
        {"method": "notifications/progress", "params": {"progressToken": number, "data": result}}
    )
    assert renumber.number_of(progress) == number
    told = json.loads(renumber.told(progress, call))
    assert told["params"] == {"progressToken": token, "data": result}


@given(
    st.dictionaries(st.text(max_size=8), JSON, max_size=4),
    st.sampled_from(["message", "progress", "cancelled"]),
)
def test_no_message_of_a_hostile_server_breaks_the_routing(params: dict[str, Any], name: str) -> None:
    for more in ({}, {"_meta": params}, {"progressToken": params}, {"requestId": [params]}):
        told = heard({"method": f"notifications/{name}", "params": {**params, **more}})
        Routing().route(told, READ.__contains__)
        number = renumber.number_of(told)
        assert number is None or type(number) is int
        renumber.told(told, Call(1, None, "x", False, 1))


def test_two_open_requests_make_a_log_message_nobodys() -> None:
    calls = {1: Call(1, None, "tools/call", True, 1), 2: Call(1, None, "tools/call", False, 2)}
    assert renumber.likeliest(LOG, calls) == 1
    assert renumber.likeliest(LOG, {**calls, 3: Call(1, None, "tools/call", True, 3)}) is None
    assert renumber.likeliest(LOG, {1: Call(1, None, renumber.LISTEN, True, 1)}) is None
    assert renumber.likeliest(call("notifications/progress"), calls) is None
