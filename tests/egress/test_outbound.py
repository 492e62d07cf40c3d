"""The wrapper's ear: a fact is answered when it is in the log, and whatever else is said ends the session."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sandbox import outbound as module
from sandbox.audit.clerk import Clerk
from sandbox.audit.redact import Redactor
from sandbox.egress.words import SETTLE, SETTLED, WRITTEN
from sandbox.errors import AuditError
from sandbox.event import Event
from sandbox.gateway import Gateway
from sandbox.outbound import RECENT, Outbound
from sandbox.plan.spec import Endpoint
from sandbox.policy.model import Policy
from sandbox.prepared import Prepared

SECONDS = 10.0
ALLOW = {"kind": "egress.allow", "detail": {"host": "good.example", "port": 443}, "rule": "r"}
DENY = {
    "kind": "egress.deny", "detail": {"host": "evil.example", "port": 443, "reason": "why"},
    "rule": "default deny, [network] allow", "where": "evil.example:443", "grant": "evil.example",
}  # fmt: skip
CLOSE = {"kind": "egress.close", "detail": {"end": "closed"}, "rule": "", "quiet": True}


class Log:
    """A clerk that writes when it may."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.may = threading.Event()
        self.may.set()
        self.fails = False

    def emit(self, event: Event) -> None:
        assert self.may.wait(SECONDS)
        if self.fails:
            raise AuditError("audit", "no room")
        self.events.append(event)


class Calls:
    """The relay's open calls, and what was said to them."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def open_calls(self) -> int:
        return 1

    def explain(self, text: str) -> int:
        self.told.append(text)
        return 1


class Ear:
    """An Outbound that listens, and the gateway's end of its channel."""

    def __init__(self, endpoint: Endpoint | None = None) -> None:
        ours, self.there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.there.settimeout(SECONDS)
        self.gateway = Gateway()
        self.gateway.channel = ours.detach()
        self.log, self.calls, self.notes = Log(), Calls(), list[str]()
        self.changed = threading.Event()
        policy = Policy(name="p")
        prepared = cast(
            Prepared, SimpleNamespace(policy=policy, spec=SimpleNamespace(server="s", endpoint=endpoint))
        )
        self.outbound = Outbound(
            self.gateway, cast(Clerk, self.log), self.calls, prepared,
            self.notes.append, self.changed.set, (), Redactor([]),
        )  # fmt: skip
        self.outbound.start()

    def say(self, *facts: Mapping[str, Any] | bytes) -> None:
        for fact in facts:
            self.there.send(fact if isinstance(fact, bytes) else json.dumps(fact).encode())

    def heard(self) -> bytes | None:
        """What the wrapper has said by now."""
        return self.there.recv(16) if select.select([self.there], [], [], 0)[0] else None

    def breach(self) -> tuple[str, str]:
        """The rule that ends the session, and why."""
        assert self.changed.wait(SECONDS)
        assert self.outbound.breach is not None
        return self.outbound.breach[:2]


@pytest.fixture
def ear(request: pytest.FixtureRequest) -> Iterator[Ear]:
    made = Ear(getattr(request, "param", None))
    yield made
    made.log.may.set()
    made.there.close()
    made.outbound.finish()
    made.outbound._thread.join(SECONDS)
    for trap in made.gateway.trap:
        socket.socket(fileno=trap).close()
    made.gateway.close()


# --- facts ----------------------------------------------------------------------------------------------


@pytest.mark.threat("D3", proves="a fact is answered when it is in the log, and not before")
def test_a_fact_is_answered_when_it_is_written(ear: Ear) -> None:
    ear.log.may.clear()
    ear.say(ALLOW)
    assert not select.select([ear.there], [], [], 0.05)[0]
    assert ear.log.events == []
    ear.log.may.set()
    assert ear.there.recv(16) == WRITTEN
    assert [event.kind for event in ear.log.events] == ["egress.allow"]


def test_a_quiet_fact_is_written_and_not_answered(ear: Ear) -> None:
    ear.say(CLOSE, ALLOW)
    assert ear.there.recv(16) == WRITTEN
    assert [event.kind for event in ear.log.events] == ["egress.close", "egress.allow"]
    assert ear.heard() is None


def test_the_last_facts_are_kept_short_for_whoever_explains_the_end(ear: Ear) -> None:
    for number in range(RECENT + 3):
        detail = {"host": f"{number}.{'x' * 999}", "port": 443, "reason": "why", "extra": "x"}
        ear.say({**DENY, "detail": detail})
        assert ear.there.recv(16) == WRITTEN
    kept = [fact for _, fact in ear.outbound.recent]
    assert len(kept) == RECENT
    assert str(kept[-1]["host"]).startswith(f"{RECENT + 2}.x")
    assert all(len(str(one["host"])) <= 256 and "extra" not in one for one in kept)
    assert kept[0]["kind"] == DENY["kind"]


def test_a_denial_is_told_to_a_person_and_to_open_calls(ear: Ear) -> None:
    ear.say(DENY, ALLOW)
    # Only then, since a person who reads slowly holds up nobody; the second answer comes after it.
    assert ear.there.recv(16) == ear.there.recv(16) == WRITTEN
    (note,) = ear.notes
    assert "denied `evil.example:443` to `s` (profile `p`): why" in note
    assert "--allow-net evil.example" in note
    (told,) = ear.calls.told
    assert "denied `evil.example:443`" in told


def test_a_budget_that_is_spent_is_a_breach(ear: Ear) -> None:
    ear.say({"breach": "network.upload", "why": "too much", "detail": {"limit": 1}})
    assert ear.breach() == ("network.upload", "too much")
    assert ear.there.recv(16) == WRITTEN
    ear.say({"breach": "network.download", "why": "another"})
    assert ear.there.recv(16) == WRITTEN
    assert ear.breach() == ("network.upload", "too much"), "the first one is the reason"


# --- what ends the session --------------------------------------------------------------------------------


@pytest.mark.threat("D3", proves="what the gateway says and nobody can read ends the session")
@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"kind"', id="a word"),
        pytest.param(b"null", id="nothing"),
        pytest.param({"kind": "egress.allow", "detail": {}}, id="an event without its detail"),
        pytest.param({"kind": "egress.deny", "rule": "", "where": "x"}, id="an event without any"),
        pytest.param({"kind": "no.such", "detail": {}, "rule": ""}, id="an event of no kind"),
        pytest.param({"kind": "session.end", "detail": {}, "rule": ""}, id="an event that is not its own"),
        pytest.param({"kind": "dns.deny", "detail": {"repeated": "x"}, "rule": ""}, id="no number"),
        pytest.param(b'{"kind": "' + b"x" * 70_000 + b'"}', id="more than fits"),
    ],
)
def test_what_cannot_be_read_is_a_breach(said: Any, ear: Ear) -> None:
    ear.say(said)
    rule, why = ear.breach()
    assert rule == "gateway"
    assert "cannot be read" in why
    assert ear.heard() is None, "and is not answered"


def test_a_fault_is_a_breach_with_its_words(ear: Ear) -> None:
    ear.say({"fault": "LookupError: x"})
    assert ear.breach() == ("gateway", "the egress gateway failed: LookupError: x")


def test_the_gateways_end_is_a_breach(ear: Ear) -> None:
    ear.there.close()
    assert ear.breach() == ("gateway", "the egress gateway ended, and no way out is left")


def test_the_gateways_end_at_the_end_is_none(ear: Ear) -> None:
    def end() -> None:
        assert ear.there.recv(16) == b""
        ear.say(CLOSE)
        ear.there.close()

    thread = threading.Thread(target=end)
    thread.start()
    ear.outbound.finish()
    thread.join()
    assert ear.outbound.breach is None
    assert [event.kind for event in ear.log.events] == ["egress.close"], "its last words are heard"


def test_a_log_that_fails_is_a_breach_and_no_answer(ear: Ear) -> None:
    ear.log.fails = True
    ear.say(ALLOW)
    rule, why = ear.breach()
    assert rule == "audit"
    assert "no room" in why
    assert ear.heard() is None


# --- asked whether all is told ----------------------------------------------------------------------------


def answering(ear: Ear, delays: list[float]) -> threading.Thread:
    """A gateway that answers each question after so many seconds."""

    def work() -> None:
        for delay in delays:
            assert ear.there.recv(16) == SETTLE
            time.sleep(delay)
            ear.say(DENY, SETTLED)
            assert ear.there.recv(16) == WRITTEN

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_all_is_told_before_a_call_is_answered(ear: Ear) -> None:
    thread = answering(ear, [0.02])
    ear.outbound.settle()
    assert len(ear.log.events) == len(ear.calls.told) == 1
    thread.join()


def test_a_gateway_that_does_not_answer_is_waited_for_a_bounded_time(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE_S", 0.05)
    started = time.monotonic()
    ear.outbound.settle()
    assert 0.04 < time.monotonic() - started < 1.0


def test_an_answer_that_comes_too_late_answers_no_later_question(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE_S", 0.05)
    ear.outbound.settle()
    assert ear.there.recv(16) == SETTLE
    monkeypatch.setattr(module, "SETTLE_S", SECONDS)
    ear.say(SETTLED)
    thread = answering(ear, [0.02])
    ear.outbound.settle()
    assert len(ear.log.events) == 1, "the answer to this question, and what came before it"
    thread.join()


@pytest.mark.threat("S3", proves="a gateway that reads nothing cannot stop the relay")
def test_a_channel_that_is_full_stops_nobody(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_S", 0.0)
    asked = 0
    while ear.gateway.ask(SETTLE):
        asked += 1
        assert asked < 1 << 20
    for _ in range(10):
        ear.outbound.settle()


def test_a_gateway_that_is_gone_is_not_asked(ear: Ear) -> None:
    ear.there.close()
    ear.breach()
    assert not ear.gateway.ask(SETTLE)
    started = time.monotonic()
    ear.outbound.settle()
    assert time.monotonic() - started < module.SETTLE_S


def test_the_end_waits_for_a_gateway_that_hangs_a_bounded_time(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FINISH_S", 0.05)
    started = time.monotonic()
    ear.outbound.finish()
    assert 0.04 < time.monotonic() - started < 1.0
    assert ear.outbound.breach is None
    assert ear.there.recv(16) == b"", "it was told that nothing more is answered"


# --- a server elsewhere ---------------------------------------------------------------------------------

FAR = Endpoint("far.example", 443, "/mcp", tls=True, remote=True)
INSIDE = Endpoint("127.0.0.1", 3000, "/mcp")


def unreached(end: str, **more: Any) -> Mapping[str, Any]:
    detail = {"host": "far.example", "port": 443, "end": end, **more}
    return {"kind": "egress.close", "detail": detail, "rule": "", "quiet": True}


@pytest.mark.parametrize("ear", [FAR], indirect=True)
def test_why_a_server_elsewhere_is_not_reached_is_told_once(ear: Ear) -> None:
    why = "[Errno -2] Name or service not known"
    ear.say(unreached(why), unreached(why), ALLOW)
    assert ear.there.recv(16) == WRITTEN
    text = "`far.example:443` was not reached: Name or service not known"
    assert ear.calls.told == [text, text]
    assert ear.notes == [f"mcp-sandbox: {text}"]
    assert len(ear.log.events) == 3


@pytest.mark.parametrize(
    ("ear", "fact"),
    [
        pytest.param(FAR, unreached("closed"), id="a good end"),
        pytest.param(FAR, unreached("session"), id="the session's end"),
        pytest.param(FAR, unreached("[Errno 104] reset", address="1.2.3.4"), id="one that was reached"),
        pytest.param(INSIDE, unreached("[Errno 111] refused"), id="a server inside"),
        pytest.param(None, unreached("[Errno 111] refused"), id="a server on stdio"),
    ],
    indirect=["ear"],
)
def test_what_needs_no_word(ear: Ear, fact: Mapping[str, Any]) -> None:
    ear.say(fact, ALLOW)
    assert ear.there.recv(16) == WRITTEN
    assert (ear.calls.told, ear.notes) == ([], [])
