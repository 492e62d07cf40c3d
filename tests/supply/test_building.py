"""What a build hears of its gateway: facts go to the log before they are answered, and nonsense ends it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from sandbox.building import RULE, _Ear
from sandbox.egress.words import DEFAULT_DENY, SETTLED, WRITTEN
from sandbox.event import Event, Value


class Log:
    """Where the events go, and whether one of them was answered before it was there."""

    def __init__(self, theirs: socket.socket) -> None:
        self.events: list[Event] = []
        self._theirs = theirs

    def emit(self, event: Event) -> None:
        with pytest.raises(BlockingIOError):
            self._theirs.recv(16, socket.MSG_DONTWAIT)
        self.events.append(event)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


Heard = tuple[_Ear, Log, list[tuple[str, str]], socket.socket]


@pytest.fixture
def ear(ends: tuple[socket.socket, socket.socket]) -> Heard:
    ours, theirs = ends
    told: list[tuple[str, str]] = []
    log = Log(theirs)
    gateway = SimpleNamespace(channel=ours.fileno())
    return _Ear(gateway, log, lambda *said: told.append(said)), log, told, theirs  # type: ignore[arg-type]


def say(theirs: socket.socket, **said: object) -> None:
    theirs.send(json.dumps(said).encode())


def test_a_denial_is_in_the_log_then_answered_then_told(ear: Heard) -> None:
    listening, log, told, theirs = ear
    detail: dict[str, Value] = {"host": "a.test", "port": 443, "reason": "no"}
    say(theirs, kind="egress.deny", detail=detail, rule=DEFAULT_DENY, where="a.test:443")
    assert listening.hear()
    assert log.events == [Event("egress.deny", detail, rule=RULE)]
    assert theirs.recv(16) == WRITTEN
    assert told == [("a.test:443", RULE)]
    assert listening.breach is None


def test_what_was_carried_is_added_up_and_a_quiet_fact_is_not_answered(ear: Heard) -> None:
    listening, _, _, theirs = ear
    for up, down in ((1, 2), (10, 20)):
        say(theirs, kind="egress.close", detail={"up": up, "down": down}, rule="", quiet=True)
        assert listening.hear()
    assert listening.carried == (11, 22)
    with pytest.raises(BlockingIOError):
        theirs.recv(16, socket.MSG_DONTWAIT)


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        pytest.param(b'{"fault": "it fell"}', "gateway", id="a fault"),
        pytest.param(b'{"breach": "network.upload", "why": "too much"}', "network.upload", id="a budget"),
        pytest.param(b"nonsense", "gateway", id="no JSON"),
        pytest.param(b"[1]", "gateway", id="no object"),
        pytest.param(b'{"kind": "session.end", "detail": {}}', "gateway", id="an event of ours"),
        pytest.param(b'{"kind": "egress.deny"}', "gateway", id="no detail"),
        pytest.param(b'{"kind": "egress.close", "detail": {"up": "many"}}', "gateway", id="no number"),
        pytest.param(b'{"where": "a", "detail": 1}', "gateway", id="a detail that is none"),
        pytest.param(b"\xff", "gateway", id="no text"),
    ],
)
def test_what_ends_a_build(ear: Heard, said: bytes, rule: str) -> None:
    listening, _, _, theirs = ear
    theirs.send(said)
    assert listening.hear()
    assert listening.breach is not None
    assert listening.breach[0] == rule


def test_an_answer_that_nobody_waits_for_is_no_fact(ear: Heard) -> None:
    listening, log, _, theirs = ear
    theirs.send(SETTLED)
    assert listening.hear()
    assert (log.events, listening.breach) == ([], None)


def test_a_gateway_that_is_gone_ends_the_build(ear: Heard) -> None:
    listening, _, _, theirs = ear
    theirs.close()
    assert not listening.hear()
    assert listening.breach is not None
    assert listening.breach[0] == "gateway"
    assert os.fstat(listening.fd)
