"""Limits of the profile on a relay over real pipes: what passes, who is told, what the main loop hears."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sandbox.excess import Excess
from sandbox.policy.model import BreachPolicy, Policy, Stopping
from sandbox.records import replace
from sandbox.relay.outlet import PIECE, Intake
from sandbox.wire.jsonrpc import FrameReader
from tests.plan.world import policy
from tests.relay.world import INITIALIZE, MODERN, PATIENCE, Pipe, World, notification, request, result

NOTE = notification("notifications/message", data="x")
UNLIMITED: dict[str, Any] = {"flood": None, "waste": None, "stall": None}


def limited(table: dict[str, Any], action: Stopping = "kill") -> Policy:
    traffic = UNLIMITED | table.get("traffic", {})
    made = policy(table | {"traffic": traffic})
    return replace(made, breach=BreachPolicy(traffic=action, calls=action))


class Loop:
    """The session's main loop, as far as limits need one: it looks whenever it is woken."""

    def __init__(self, world: World) -> None:
        self.found: list[Excess] = []
        self._world = world
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while not self._over.is_set():
            found, _ = self._world.relay.limits.look(time.monotonic(), frozenset())
            self.found += found
            self._over.wait(0.002)

    def keys(self) -> list[str]:
        return [one.key for one in self.found]

    def end(self) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def carried(
    table: dict[str, Any], action: Stopping = "kill", cap: int = 1 << 16
) -> Iterator[tuple[World, Loop]]:
    """A relay with these limits, and its main loop."""
    world = World(cap=cap, policy=limited(table, action))
    loop = Loop(world)
    try:
        yield world, loop
    finally:
        loop.end()
        world.close()


def call(id: object, tool: str = "read", **arguments: object) -> dict[str, object]:
    return request(id, "tools/call", name=tool, arguments=arguments)


def heard(world: World, count: int) -> list[object]:
    return [world.relay_to_server.hear()["id"] for _ in range(count)]


# --- the client's side ---------------------------------------------------------------------------

CLIENT = [
    pytest.param({"traffic": {"rate": 2 / 3600}}, "traffic.rate", id="rate"),
    pytest.param({"traffic": {"concurrency": 2}}, "traffic.concurrency", id="concurrency"),
    pytest.param({"tools": {"calls": 2}}, "tools.calls", id="calls"),
    pytest.param({"tools": {"rate": 2 / 3600}}, "tools.rate", id="rate of calls"),
    pytest.param({"tools": {"repeat": 2}}, "tools.repeat", id="repeat"),
    pytest.param({"tools": {"budget": 2.0}}, "tools.budget", id="budget"),
]


@pytest.mark.threat("C4", proves="a client that loops: the call that breaks a limit never reaches the server")
@pytest.mark.parametrize(("table", "key"), CLIENT)
def test_what_breaks_a_limit_waits_unanswered_for_the_end(table: dict[str, Any], key: str) -> None:
    with carried(table) as (world, loop):
        world.client(call(1), call(2), call(3))
        world.until(lambda: bool(loop.found))
        (excess,) = loop.found
        assert excess.key == key
        assert excess.measured is not None
        assert excess.limit is not None
        assert excess.measured > excess.limit
        assert heard(world, 2) == [1, 2]
        assert world.open_ids() == [1, 2, 3], "its answer is that of the sandbox's end"
        assert world.relay.fail_pending(-32603, "ended") == 3
        world.end_client()
        assert world.relay_to_server.line() == b"", "and the server never heard of it"


def test_without_a_limit_the_same_calls_pass() -> None:
    with carried({}) as (world, loop):
        world.client(call(1), call(2), call(3))
        assert heard(world, 3) == [1, 2, 3]
        assert loop.found == []


@pytest.mark.threat("C4", proves="where the profile says `deny` the call alone is refused, and says by what")
@pytest.mark.parametrize(("table", "key"), CLIENT)
def test_denied_alone(table: dict[str, Any], key: str) -> None:
    with carried(table, "deny") as (world, loop):
        world.client(call(1), call(2), call(3))
        answer = world.relay_to_client.hear()
        assert answer["id"] == 3
        assert heard(world, 2) == [1, 2]
        said, data = refusal(answer)
        assert f"refused by mcp-sandbox: rule `{key}`" in said
        assert data["rule"] == key
        assert data["measured"] > data["limit"]
        assert str(data["profile"]).startswith("web.toml:")
        assert str(data["profile"]) in said
        assert world.open_ids() == [1, 2]
        assert world.relay.counts.denied == 1
        (event,) = [event for event in world.events if event.rule == key]
        assert event.kind == ("tool.deny" if key.startswith("tools.") else "relay.dropped")
        assert (event.detail["id"], event.detail["profile"]) == (3, data["profile"])
        assert loop.found == []
        world.client(notification("notifications/cancelled", requestId=1))
        assert world.relay_to_server.hear()["method"] == "notifications/cancelled", "relief passes"


def refusal(answer: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The words and the numbers: of a tool call in a result, of anything else in an error."""
    if "error" in answer:
        assert answer["error"]["code"] == -32603
        assert str(answer["error"]["data"]["rule"]).startswith("traffic.")
        return answer["error"]["message"], answer["error"]["data"]
    found = answer["result"]
    assert found["isError"] is True
    return found["content"][0]["text"], found["_meta"]["mcp-sandbox/refused"]


def test_a_refused_call_is_a_whole_result_in_the_modern_era() -> None:
    with carried({"tools": {"calls": 1}}, "deny") as (world, _):
        for number in (1, 2):
            world.client(request(number, "tools/call", name="a", _meta=MODERN))
        assert world.relay_to_client.hear()["result"]["resultType"] == "complete"


@pytest.mark.parametrize(("table", "key"), CLIENT)
def test_a_warning_is_one_and_everything_passes(table: dict[str, Any], key: str) -> None:
    with carried(table, "warn") as (world, loop):
        world.client(*[call(number) for number in range(6)])
        assert heard(world, 6) == list(range(6))
        world.until(lambda: loop.keys() == [key])


@pytest.mark.parametrize(("table", "key"), CLIENT)
def test_a_frozen_session_goes_on_with_the_call_that_broke_the_limit(table: dict[str, Any], key: str) -> None:
    world = World(policy=limited(table, "freeze"))
    world.client(call(1), call(2), call(3))
    assert heard(world, 2) == [1, 2]
    found: list[Excess] = []

    def look() -> list[Excess]:
        found.extend(world.relay.limits.look(time.monotonic(), frozenset())[0])
        return found

    world.until(lambda: bool(look()))
    assert [one.key for one in found] == [key]
    time.sleep(0.05)
    assert world.relay.counts.calls == 2, "nothing passes until the main loop has acted"
    look()
    assert heard(world, 1) == [3]
    world.close()


def test_other_calls_and_progress_tokens_do_not_make_a_loop() -> None:
    with carried({"tools": {"repeat": 2}}, "deny") as (world, _):
        world.client(call(1, a=1, b=2), call(2, a=2, b=2), call(3, "write", a=1, b=2), request(4, "ping"))
        world.client(
            request(5, "tools/call", name="read", arguments={"b": 2, "a": 1}, _meta={"progressToken": 5})
        )
        world.client(
            request(6, "tools/call", arguments={"a": 1, "b": 2}, _meta={"progressToken": 6}, name="read")
        )
        assert heard(world, 5) == [1, 2, 3, 4, 5]
        said, data = refusal(world.relay_to_client.hear())
        assert "`read` was called 3 times with the same arguments" in said
        assert (data["tool"], data["window"]) == ("read", 60.0)


def test_a_request_that_was_answered_is_not_open_at_once_and_a_subscription_never_is() -> None:
    with carried({"traffic": {"concurrency": 1}}, "deny") as (world, _):
        world.asked(request(1, "subscriptions/listen"))
        for number in range(2, 6):
            world.client(request(number))
            assert world.relay_to_server.line()
            world.server(result(number))
            assert world.relay_to_client.hear() == result(number)


def test_lines_that_are_no_message_count_as_the_clients() -> None:
    with carried({"traffic": {"rate": 2 / 3600}}) as (world, loop):
        world.client(b"garbage", b"garbage", b"garbage")
        world.until(lambda: loop.keys() == ["traffic.rate"])


# --- time ----------------------------------------------------------------------------------------


@pytest.mark.threat("S3", proves="a call that the server leaves open is ended, and its late answer dropped")
@pytest.mark.parametrize("first", [INITIALIZE, request(0, "server/discover", _meta=MODERN)])
def test_a_call_ends_when_its_time_is_over(first: dict[str, object]) -> None:
    with carried({"traffic": {"timeout": 0.6}}) as (world, loop):
        world.asked(first)
        world.server(result(0))
        assert world.relay_to_client.hear() == result(0)
        world.asked(request(1, "subscriptions/listen"), call(2))
        told = world.relay_to_client.hear()
        assert (told["id"], told["error"]["code"]) == (2, -32603)
        assert told["error"]["data"]["rule"] == "traffic.timeout"
        assert told["error"]["data"]["limit"] == 0.6
        assert "web.toml:" in told["error"]["message"]
        cancelled = world.relay_to_server.hear()
        assert (cancelled["method"], cancelled["params"]["requestId"]) == ("notifications/cancelled", 2)
        world.server(result(2), result(1))
        assert world.relay_to_client.hear() == result(1), "a subscription stays open, the late answer is gone"
        world.until(lambda: "traffic.timeout" in world.dropped())
        assert loop.found == [], "the call is ended, not the sandbox"
        assert world.relay.counts.expired == 1


def test_a_server_that_reads_nothing_does_not_keep_a_timed_out_call_from_its_error() -> None:
    with carried({"traffic": {"timeout": 0.2}}, cap=1 << 20) as (world, _):
        filler = threading.Thread(target=world.client, args=[call(1, a="x" * 200_000)])
        filler.start()
        assert world.relay_to_client.hear()["id"] == 1
        world.relay_to_server.line()
        filler.join()


def test_an_answer_in_time_is_not_touched() -> None:
    with carried({"traffic": {"timeout": 0.8}}) as (world, _):
        world.asked(call(1))
        world.server(result(1))
        assert world.relay_to_client.hear() == result(1)
        world.asked(call(1))
        assert "error" in world.relay_to_client.hear(), "the same id later is another call"


@pytest.mark.threat("S3", proves="a server that stops reading is noticed, and a slow one is not taken for it")
def test_a_message_that_waits_too_long_for_the_server() -> None:
    with carried({"traffic": {"stall": 0.8}}, cap=1 << 20) as (world, loop):
        slow = threading.Thread(target=world.client, args=[call(1, a="x" * 400_000)])
        slow.start()
        world.until(lambda: loop.keys() == ["traffic.stall"])
        assert loop.found[0].measured is not None
        assert loop.found[0].measured >= 0.8
        world.relay_to_server.line()
        slow.join()
        world.until(lambda: world.relay.counts.calls == 1)
        for number in range(2, 6):
            writer = threading.Thread(target=world.client, args=[call(number, a="x" * 400_000)])
            writer.start()
            assert world.relay_to_server.line()
            writer.join()
        assert loop.keys() == ["traffic.stall"], "once, and not for those that were read"


def test_a_frozen_server_does_not_stall() -> None:
    world = World(cap=1 << 20, policy=limited({"traffic": {"stall": 10.0}}))
    limits = world.relay.limits
    slow = threading.Thread(target=world.client, args=[call(1, a="x" * 400_000)])
    slow.start()
    world.until(lambda: world.relay._server.since > 0)
    now = time.monotonic()
    limits.paused = True
    assert limits.look(now + 1000, frozenset())[0] == []
    limits.paused = False
    found, again = limits.look(now + 1001, frozenset())
    assert not found
    assert again == pytest.approx(now + 1010, abs=0.01)
    assert [one.key for one in limits.look(now + 1011, frozenset())[0]] == ["traffic.stall"]
    assert limits.look(now + 2000, frozenset()) == ([], now + 2010), "told once"
    world.relay_to_server.line()
    slow.join()
    world.close()


# --- the server's side ---------------------------------------------------------------------------


def flood_of(line: bytes, count: int, end: bytes = b"\n") -> Callable[[World], None]:
    def flood(world: World) -> None:
        for _ in range(count // 100):
            world.server_to_relay.say(end.join([line] * 100))

    return flood


NOTES = json.dumps(NOTE).encode()
FORGED = json.dumps(result("never asked")).encode()
FLOODS = [
    pytest.param(flood_of(NOTES, 4000), "traffic.flood", id="notifications"),
    pytest.param(flood_of(b"xx", 4000), "traffic.flood", id="noise"),
    pytest.param(flood_of(b"", 4000), "traffic.flood", id="blank lines"),
    pytest.param(flood_of(FORGED, 4000), "traffic.flood", id="answers never asked for"),
    pytest.param(flood_of(b'{"jsonrpc":"2.0","id":1,"method":1}', 4000), "traffic.flood", id="broken"),
    pytest.param(flood_of(b"x" * 1000, 400), "traffic.waste", id="bytes of noise"),
    pytest.param(flood_of(b"x" * 90_000, 100), "traffic.waste", id="lines longer than a message"),
    pytest.param(flood_of(b" " * 1000, 400), "traffic.waste", id="blanks"),
    pytest.param(flood_of(b"x" * 4000, 100, b""), "traffic.waste", id="a line without an end"),
    pytest.param(flood_of(b"{\n" + b"  1,\n" * 800 + b"}", 100), "traffic.waste", id="objects over lines"),
]


@pytest.mark.threat("S3", proves="a flood of any kind is a breach, and what is beyond it reaches nobody")
@pytest.mark.parametrize(("flood", "key"), FLOODS)
def test_a_flood_is_a_breach(flood: Callable[[World], None], key: str) -> None:
    with carried({"traffic": {"flood": 500 / 3600, "waste": 200_000}}) as (world, loop):
        world.asked(call(1))
        got: list[bytes] = []
        listener = threading.Thread(target=lambda: got.extend(iter(world.relay_to_client.line, b"")))
        listener.start()
        flood(world)
        world.until(lambda: loop.keys() == [key])
        excess = loop.found[0]
        assert excess.measured is not None
        assert excess.limit is not None
        assert excess.limit < excess.measured
        assert world.open_ids() == [1]
        world.end_server()
        assert world.relay.server_eof.wait(PATIENCE)
        world.relay_to_client.close(world.relay_to_client.write_end)
        listener.join()
        assert len(got) <= 510, "what was within the limit, and what little came back meanwhile"
        assert len(world.events) <= 2 * 510
        assert loop.keys() == [key], "told once"


@pytest.mark.parametrize(("flood", "key"), FLOODS)
def test_without_a_limit_a_flood_goes_through(flood: Callable[[World], None], key: str) -> None:
    with carried({}) as (world, loop):
        got: list[bytes] = []
        listener = threading.Thread(target=lambda: got.extend(iter(world.relay_to_client.line, b"")))
        listener.start()
        flood(world)
        world.server(notification("notifications/last"))
        world.end_server()
        assert world.relay.server_eof.wait(PATIENCE)
        world.relay_to_client.close(world.relay_to_client.write_end)
        listener.join()
        assert loop.found == []
        assert b"notifications/last" in got[-1]


def test_where_floods_are_denied_the_server_waits_and_nothing_is_lost() -> None:
    with carried({"traffic": {"flood": 50.0}}, "deny") as (world, loop):
        started = time.monotonic()
        world.asked(call(1))
        world.server(*[NOTE] * 75, result(1))
        got = [world.relay_to_client.hear() for _ in range(76)]
        assert got == [NOTE] * 75 + [result(1)]
        assert 0.4 < time.monotonic() - started < PATIENCE
        assert loop.found == []
        assert [event.rule for event in world.events if event.kind == "relay.held"] == ["traffic.flood"]


def test_answers_are_no_flood() -> None:
    with carried({"traffic": {"flood": 10.0}}) as (world, loop):
        for number in range(200):
            world.client(request(number))
            world.relay_to_server.line()
            world.server(result(number))
            world.relay_to_client.line()
        assert loop.found == []
        assert (world.relay.counts.calls, world.relay.counts.answered) == (200, 200)
        assert world.relay.counts.bytes_up > 0
        assert world.relay.counts.bytes_down > 0


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.threat("S3", proves="a flood of the shortest lines: our own memory stays small")
def test_short_lines_are_taken_in_small_pieces() -> None:
    pipe = Pipe()
    lines = b"{}\n" * 200_000

    def write() -> None:
        pipe.say(lines[:-1])
        pipe.close(pipe.write_end)

    writer = threading.Thread(target=write)
    writer.start()
    intake = Intake(pipe.read_end)
    sizes = [len(piece) for chunk in iter(intake.read, b"") for piece in intake.cut(chunk)]
    writer.join()
    pipe.close_all()
    assert sum(sizes) == len(lines)
    assert max(sizes) <= PIECE


def test_a_piece_of_the_shortest_lines_costs_little_memory() -> None:
    reader = FrameReader()
    tracemalloc.start()
    try:
        assert len(reader.feed(b"x\n" * (PIECE // 2))) == PIECE // 2
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
