"""What a server is told after the one before it crashed, and what its client never notices."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from sandbox.policy.model import HostBudget, Network, Policy, Quota, Tools
from sandbox.relay.crashes import HEALTHY_S, LONGEST_PAUSE_S, SERVER, Crashes, Outcome, adds_up
from sandbox.relay.lines import Lines, Piece, message
from sandbox.relay.replay import DEAD, HELD_S, LARGEST, MOST, Replay

Message = dict[str, Any]
CAP = 1 << 20
VERSION = "io.modelcontextprotocol/subscriptionId"
FACTS: Message = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "one", "version": "1"},
}
REASON = "mcp-sandbox: the server ended with status 7"


def request(id: int | str, method: str, **params: Any) -> Message:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def notification(method: str, **params: Any) -> Message:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def result(id: int | str, **found: Any) -> Message:
    return {"jsonrpc": "2.0", "id": id, "result": found}


def error(id: int | str, text: str = "no") -> Message:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": text}}


class Talk:
    """One client, one server after the other, and what stands between."""

    def __init__(self) -> None:
        self.replay = Replay("ours")
        self.replay.begin()
        self.now = 0.0

    def client(self, said: Message) -> Message | None:
        """What the server gets of it."""
        return self._passed(said, self.replay.from_client)

    def server(self, said: Message) -> Message | None:
        """What the client gets of it."""
        return self._passed(said, lambda frame: self.replay.from_server(frame, self.now))

    def _passed(self, said: Message, way: Any) -> Message | None:
        line = json.dumps(said).encode() + b"\n"
        frame = message((line, True), CAP)
        assert frame is not None
        told = way(frame)
        if told is None:
            return None
        assert told.endswith(b"\n")
        assert told == line or json.loads(told) != said, "what is not changed is passed byte for byte"
        passed: Message = json.loads(told)
        return passed

    def asked(self, said: Message, answer: Message) -> None:
        """A request and its answer, both of which pass."""
        assert self.client(said) == said
        assert self.server(answer) == answer

    def crash(self) -> list[Message]:
        """What the client is told; the next server is there."""
        told = [json.loads(line) for line in self.replay.crashed(REASON)]
        self.replay.begin()
        return told

    def due(self) -> list[Message]:
        """What the server is told before the client's own words."""
        lines, self.replay.for_server[:] = [json.loads(line) for line in self.replay.for_server], []
        return lines


@pytest.fixture
def legacy() -> Talk:
    talk = Talk()
    talk.asked(request(0, "initialize", clientInfo={"name": "c"}), result(0, **FACTS))
    talk.client(notification("notifications/initialized"))
    return talk


@pytest.fixture
def modern() -> Talk:
    talk = Talk()
    discovered = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
    talk.asked(request("d", "server/discover"), result("d", **discovered))
    return talk


def again(talk: Talk) -> Message:
    """Crashes; the handshake as the next server gets it."""
    assert talk.crash() == []
    (opening,) = talk.due()
    assert not talk.replay.settled, "nothing of the client's passes before it is answered"
    return opening


def reopened(talk: Talk) -> list[Message]:
    """Crashes and answers the handshake as before; what follows it."""
    opening = again(talk)
    assert talk.server(result(opening["id"], **FACTS)) is None, "the client had this answer long ago"
    return talk.due()


def test_the_handshake_is_told_again_and_the_client_does_not_notice(legacy: Talk) -> None:
    opening = again(legacy)
    assert opening == request(opening["id"], "initialize", clientInfo={"name": "c"})
    assert opening["id"] == "ours-1"
    assert legacy.server(result("ours-1", **FACTS)) is None
    assert legacy.due() == [notification("notifications/initialized")]
    assert legacy.replay.settled
    legacy.asked(request(1, "tools/call", name="a"), result(1))


def test_level_and_subscriptions_follow_and_their_answers_are_swallowed(legacy: Talk) -> None:
    legacy.asked(request(1, "logging/setLevel", level="info"), result(1))
    legacy.asked(request(2, "logging/setLevel", level="error"), result(2))
    for id, uri in enumerate(("a:1", "b:2", "c:3"), 3):
        legacy.asked(request(id, "resources/subscribe", uri=uri), result(id))
    legacy.asked(request(6, "resources/unsubscribe", uri="b:2"), result(6))
    legacy.asked(request(7, "resources/subscribe", uri="refused:"), error(7))
    _, *rest = reopened(legacy)
    assert [(one["method"], one["params"]) for one in rest] == [
        ("logging/setLevel", {"level": "error"}),
        ("resources/subscribe", {"uri": "a:1"}),
        ("resources/subscribe", {"uri": "c:3"}),
    ]
    for one in rest[1:]:
        assert not legacy.replay.settled
        assert legacy.server(result(one["id"])) is None
    assert legacy.server(error(rest[0]["id"])) is None
    assert legacy.replay.settled, "without a log level it can go on"
    assert legacy.replay.refused == ["logging/setLevel"]


def test_it_is_told_after_every_crash_even_one_during_the_replay(legacy: Talk) -> None:
    again(legacy)
    assert [one["method"] for one in reopened(legacy)] == ["notifications/initialized"]
    assert legacy.replay.settled


@pytest.mark.parametrize("name", ["protocolVersion", "capabilities", "serverInfo"])
@pytest.mark.parametrize("value", [{"name": "other"}, None])
def test_another_server_is_not_taken_for_the_same(legacy: Talk, name: str, value: object) -> None:
    opening = again(legacy)
    found = {**FACTS, name: value} if value else {key: FACTS[key] for key in FACTS if key != name}
    assert legacy.server(result(opening["id"], **found)) is None
    assert legacy.replay.different == f"it answered `initialize` with another `{name}`"
    assert not legacy.replay.settled
    assert legacy.due() == []


def test_an_error_is_no_handshake(legacy: Talk) -> None:
    opening = again(legacy)
    assert legacy.server(error(opening["id"])) is None
    assert legacy.replay.different
    assert not legacy.replay.settled


def test_a_client_without_a_handshake_has_nothing_replayed() -> None:
    talk = Talk()
    talk.client(request(0, "initialize"))
    assert [one["id"] for one in talk.crash()] == [0]
    assert talk.due() == []
    assert talk.replay.settled
    talk.asked(request(1, "initialize"), result(1, **FACTS))


def test_what_was_open_and_unanswered_ends_in_an_error_exactly_once(legacy: Talk) -> None:
    legacy.client(request(1, "tools/call", name="a"))
    legacy.client(request("two", "tools/list"))
    legacy.client(request(3, "tools/call", name="a"))
    legacy.client(request(4, "tools/call", name="a"))
    legacy.server(result(3))
    legacy.client(notification("notifications/cancelled", requestId=4))
    assert legacy.crash() == [error(1, REASON), error("two", REASON)]
    assert [one for one in legacy.crash() if "error" in one] == []


def test_a_request_of_the_dead_server_is_withdrawn_and_its_late_answer_reaches_nobody(legacy: Talk) -> None:
    assert legacy.server(request(1, "elicitation/create")) == request(1, "elicitation/create")
    assert legacy.crash() == [notification("notifications/cancelled", requestId=1, reason=REASON)]
    assert legacy.client(result(1, action="accept")) is None
    assert legacy.client(result(1)) == result(1), "a second one is the session's to refuse"


def test_an_answer_to_the_dead_server_is_none_to_the_next_ones_question(legacy: Talk) -> None:
    """Servers count from 1: without another id, a yes to the old question would be one to the new."""
    legacy.server(request(1, "elicitation/create", message="may I read?"))
    legacy.crash()
    shown = legacy.server(request(1, "elicitation/create", message="may I delete?"))
    assert shown is not None
    assert shown["id"] != 1
    assert shown["params"] == {"message": "may I delete?"}
    assert legacy.client(result(1, action="accept")) is None, "the answer to the old question"
    assert legacy.client(result(shown["id"], action="decline")) == result(1, action="decline")


def test_a_withdrawn_question_is_withdrawn_by_the_id_that_the_client_knows(legacy: Talk) -> None:
    legacy.server(request(1, "roots/list"))
    legacy.crash()
    shown = legacy.server(request(1, "roots/list"))
    assert shown is not None
    told = legacy.server(notification("notifications/cancelled", requestId=1))
    assert told == notification("notifications/cancelled", requestId=shown["id"])


def test_an_answer_may_pass_while_the_handshake_is_told(legacy: Talk) -> None:
    again(legacy)
    legacy.server(request(1, "ping"))
    for id, passes in ((1, True), (2, False)):
        frame = message((json.dumps(result(id)).encode(), True), CAP)
        assert frame is not None
        assert legacy.replay.answers(frame) is passes


# --- the modern era ------------------------------------------------------------------------------


def subscribed(talk: Talk, id: str) -> Message:
    listen = request(id, "subscriptions/listen", notifications={"toolsListChanged": True})
    assert talk.client(listen) == listen
    assert talk.server(acknowledged(id)) is not None
    return listen


def acknowledged(id: str) -> Message:
    return notification("notifications/subscriptions/acknowledged", _meta={VERSION: id})


def rediscovered(talk: Talk) -> list[Message]:
    opening = again(talk)
    assert opening["method"] == "server/discover"
    found = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
    assert talk.server(result(opening["id"], **found)) is None
    return talk.due()


def test_a_live_subscription_is_made_again_under_its_own_id(modern: Talk) -> None:
    listen = subscribed(modern, "l")
    assert modern.server(error("l", REASON)) is None, "the session's last words are kept from it"
    assert rediscovered(modern) == [listen]
    assert modern.server(acknowledged("l")) is None, "the client was told once"
    changed = notification("notifications/tools/list_changed", _meta={VERSION: "l"})
    assert modern.server(changed) == changed
    modern.crash()


def test_an_end_that_no_crash_follows_is_an_end(modern: Talk) -> None:
    subscribed(modern, "l")
    assert modern.server(error("l")) is None
    modern.now = HELD_S - 0.1
    assert modern.replay.due(modern.now) == []
    assert modern.replay.next_due() == HELD_S
    assert [json.loads(line) for line in modern.replay.due(HELD_S)] == [error("l")]
    assert rediscovered(modern) == []


def test_an_end_is_told_when_no_server_follows(modern: Talk) -> None:
    subscribed(modern, "l")
    modern.server(error("l", REASON))
    assert [json.loads(line) for line in modern.replay.ended(REASON)] == [error("l", REASON)]


@pytest.mark.parametrize("how", ["result", "cancelled by the client", "cancelled by the server", "refused"])
def test_what_ended_before_is_not_made_again(modern: Talk, how: str) -> None:
    if how == "refused":
        modern.asked(request("l", "subscriptions/listen"), error("l"))
    else:
        subscribed(modern, "l")
    if how == "result":
        assert modern.server(result("l")) == result("l")
    elif how == "cancelled by the client":
        modern.client(notification("notifications/cancelled", requestId="l"))
    elif how == "cancelled by the server":
        modern.server(notification("notifications/cancelled", requestId="l"))
        modern.server(error("l"))
    assert rediscovered(modern) == []


def test_another_server_in_the_modern_era(modern: Talk) -> None:
    opening = again(modern)
    modern.server(result(opening["id"], supportedVersions=["2099-01-01"], capabilities={"tools": {}}))
    assert modern.replay.different == "it answered `server/discover` with another `supportedVersions`"


# --- bounds ----------------------------------------------------------------------------------------


def test_what_is_remembered_is_bounded(legacy: Talk) -> None:
    for id in range(1, MOST + 10):
        legacy.asked(request(id, "resources/subscribe", uri=f"u:{id}"), result(id))
    legacy.asked(request(0, "resources/subscribe", uri="u" * LARGEST), result(0))
    assert len(reopened(legacy)) == 1 + MOST


def test_questions_of_the_dead_are_forgotten_in_the_end(legacy: Talk) -> None:
    for id in range(DEAD + 10):
        legacy.server(request(id, "ping"))
    assert len(legacy.crash()) == DEAD + 10
    assert legacy.client(result(0)) == result(0)
    assert legacy.client(result(DEAD)) is None


# --- lines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(1, 14))
def test_no_byte_is_changed_however_it_is_cut(size: int) -> None:
    stream = b'{"a":1}\r\n\n' + b"x" * 40 + b"\n{}\nrest"
    lines, found = Lines(16), list[Piece]()
    for at in range(0, len(stream), size):
        found += lines.feed(stream[at : at + size])
        assert len(lines._held) <= 16
    found += lines.rest()
    assert lines.rest() == []
    assert b"".join(piece for piece, _ in found) == stream
    whole = [piece for piece, is_whole in found if is_whole]
    assert whole == [b'{"a":1}\r\n', b"\n", b"{}\n", b"rest"], "a piece of a long line is none"


@pytest.mark.parametrize("line", [b"\n", b"{\n", b"log\n", b'{"jsonrpc":"2.0"}\n', b'{"id":1}\n'])
def test_what_is_no_message_is_none_of_ours(line: bytes) -> None:
    assert message((line, True), CAP) is None


def test_a_piece_of_a_line_is_no_message_whatever_it_looks_like() -> None:
    line = json.dumps(request(1, "ping")).encode() + b"\n"
    assert message((line, True), CAP) is not None
    assert message((line, False), CAP) is None


# --- crashes ---------------------------------------------------------------------------------------


class Case(NamedTuple):
    """How a server ended, and whether it is started again."""

    how: str
    status: int
    again: bool


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(SERVER, 7, True), id="a status of its own"),
        pytest.param(Case(SERVER, 139, True), id="a signal"),
        pytest.param(Case(SERVER, 0, False), id="success"),
        pytest.param(Case("memory", 124, False), id="breach"),
        pytest.param(Case(SERVER, 124, False), id="the status of a breach"),
        pytest.param(Case(SERVER, 125, False), id="not built"),
        pytest.param(Case(SERVER, 126, False), id="not executable"),
        pytest.param(Case(SERVER, 127, False), id="not found"),
        pytest.param(Case("signal", 143, False), id="stopped"),
        pytest.param(Case("client", 0, False), id="client gone"),
        pytest.param(Case("client", 9, False), id="client gone, whatever the status"),
        pytest.param(Case("unknown", 137, False), id="a session that could not say"),
    ],
)
def test_what_a_crash_is(case: Case) -> None:
    outcome = Outcome("s", case.how, case.status)
    assert (Crashes(5).pause(outcome, 0.0) is not None) is case.again


def test_the_pause_doubles_up_to_its_longest_and_the_cap_ends_it() -> None:
    crashes, crash = Crashes(10), Outcome("s", SERVER, 1)
    pauses = [crashes.pause(crash, 1.0) for _ in range(11)]
    assert pauses[:4] == [0.2, 0.4, 0.8, 1.6]
    assert pauses[8:] == [LONGEST_PAUSE_S, LONGEST_PAUSE_S, None]


def test_health_starts_the_count_anew() -> None:
    crashes, crash = Crashes(2), Outcome("s", SERVER, 1)
    assert [crashes.pause(crash, lived) for lived in (1.0, 1.0, HEALTHY_S, 1.0, 1.0)] == [
        0.2, 0.4, 0.2, 0.4, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(Policy("p", quota=Quota(cpu_time=60.0)), id="processor time"),
        pytest.param(Policy("p", quota=Quota(written=1 << 30)), id="bytes written"),
        pytest.param(Policy("p", network=Network(upload=1 << 20)), id="bytes sent"),
        pytest.param(Policy("p", network=Network(budgets=(HostBudget("a", 1, upload=1),))), id="to one host"),
        pytest.param(Policy("p", tools=Tools(calls=100)), id="calls"),
        pytest.param(Policy("p", tools=Tools(budget=1.0)), id="cost"),
    ],
)
def test_what_adds_up_cannot_be_had_again_for_ever(policy: Policy) -> None:
    """A server may crash on purpose, every ten minutes."""
    assert adds_up(policy)
    crashes, crash = Crashes(2, forget=not adds_up(policy)), Outcome("s", SERVER, 1)
    assert [crashes.pause(crash, HEALTHY_S) for _ in range(3)] == [0.2, 0.4, None]
    assert not adds_up(Policy("p", quota=Quota(memory=1, wall=60.0), tools=Tools(rate=1.0)))


def test_the_most_crashes_that_a_profile_can_ask_for() -> None:
    crashes, crash = Crashes(1000), Outcome("s", SERVER, 1)
    assert [crashes.pause(crash, 1.0) for _ in range(1001)][998:] == [30.0, 30.0, None]
