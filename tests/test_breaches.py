"""A warning, a question or the end: what is done, in which order, and what is told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import pytest

from sandbox.audit.redact import Redactor
from sandbox.breaches import Breaches, told
from sandbox.errors import AuditError
from sandbox.event import Event, Value
from sandbox.excess import Excess
from sandbox.policy.model import BreachPolicy, Origin, Policy

PIDS = Excess("quota.pids", "128 processes, the limit is 128", 128, 128)
WALL = Excess("quota.wall", "the session has run for 12h, the limit is 12h", 43200.0, 43200.0)
CALL = Excess("syscalls.tier", "`ptrace` was called by `s3cret-value\x1b[2J`", detail={"syscall": "ptrace"})


class Session:
    """Everything around a `Breaches`, which says in `done` what was done to it, in order."""

    def __init__(self, **breach: Any) -> None:
        self.done: list[str] = []
        self.events: list[Event] = []
        self.said: list[str] = []
        self.notified: list[Mapping[str, Value]] = []
        self.freezes = self.thaws = True
        self.log_fails = False
        self.init_pid: int | None = None
        self.container = ""
        origins = (("quota.pids", Origin("/home/me/web.toml", 7)),)
        policy = Policy("web", breach=BreachPolicy(**breach), origins=origins)
        me = cast(Any, self)
        self.breaches = Breaches(
            policy, "s1", me, me, Redactor(["s3cret-value"]), self.note, me, self.notify
        )  # fmt: skip

    # the sandbox
    def kill(self) -> None:
        self.done.append("kill")

    def freeze(self, within: float) -> bool:
        self.done.append("freeze")
        return self.freezes and within > 0

    def thaw(self, within: float) -> bool:
        self.done.append("thaw")
        return self.thaws and within > 0

    # the log
    def emit(self, event: Event, *, sync: bool) -> None:
        if self.log_fails:
            raise AuditError("audit-unwritable", "the disk is full")
        assert sync, "evidence is on disk before anybody hears of it"
        self.events.append(event)
        self.done.append(event.kind)

    # the evidence
    def look(self) -> None:
        self.done.append("look")

    def keep(self) -> None:
        self.done.append("keep")

    def report(self) -> dict[str, Value]:
        return {"stderr": "last words"}

    def note(self, text: str) -> None:
        self.said.append(text)
        self.done.append("note")

    def notify(self, event: Mapping[str, Value]) -> None:
        self.notified.append(event)


def test_the_end_is_at_once_and_the_evidence_before_any_word() -> None:
    session = Session()
    session.breaches.exceeded(PIDS)
    assert session.done == ["look", "kill", "keep", "quota.breach", "kill", "note"]
    assert session.breaches.name == "pids"
    assert session.events[0].rule == "quota.pids"
    assert session.events[0].detail["profile"] == "web.toml:7"


@pytest.mark.threat("T2", proves="the client learns rule, numbers, profile line and what would allow it")
def test_what_the_client_is_told() -> None:
    session = Session()
    session.breaches.exceeded(PIDS)
    why = "quota `pids`, 128 processes, the limit is 128 [web.toml:7]"
    assert session.breaches.reason == f"ended by mcp-sandbox: {why}"
    assert session.breaches.data == {
        "rule": "quota.pids", "measured": 128, "limit": 128, "profile": "web.toml:7", "flag": "--pids 256",
        "session": "s1",
    }  # fmt: skip
    (said,) = session.said
    assert said.startswith("error: quota-breach\n  ended by mcp-sandbox: quota `pids`, 128 ")
    assert said.endswith("`--pids 256`\n\nhint: mcp-sandbox audit show s1")


def test_only_the_first_is_the_reason() -> None:
    session = Session()
    session.breaches.exceeded(PIDS)
    before = [*session.done]
    session.breaches.exceeded(WALL)
    session.breaches.end(CALL)
    assert (session.done, session.breaches.name) == (before, "pids")


@pytest.mark.threat("S6", proves="no secret or escape in a hostile name reaches client or terminal")
def test_words_of_the_servers_are_made_safe() -> None:
    session = Session()
    session.breaches.exceeded(CALL)
    assert "s3cret" not in session.breaches.reason + "".join(session.said)
    assert "\x1b" not in session.breaches.reason + "".join(session.said)
    assert "`ptrace` was called by" in session.breaches.reason
    assert "measured" not in session.breaches.data


def test_look_and_report_come_whatever_ended_it() -> None:
    session = Session()
    session.breaches.report()
    assert session.events == []
    session.breaches.end(told("gateway", "the egress gateway ended", {}))
    session.breaches.report()
    assert session.events[-1] == Event("breach.report", {"stderr": "last words"}, rule="gateway")
    assert session.breaches.reason == "ended by mcp-sandbox: the egress gateway ended"


def test_an_evidence_that_fails_does_not_save_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()

    def fail() -> None:
        raise OSError("no /proc")

    monkeypatch.setattr(session, "look", fail)
    with pytest.raises(OSError, match="no /proc"):
        session.breaches.exceeded(PIDS)
    assert session.done == ["kill"]


def test_a_budget_of_the_gateway_keeps_its_numbers() -> None:
    session = Session()
    session.breaches.end(
        told("network.upload", "too much", {"host": "a.example", "used": 2049, "limit": 1024})
    )
    assert session.breaches.data["measured"] == 2049
    assert session.breaches.data["key"] == 'network.upload = "4K"'
    assert session.events[0].detail["host"] == "a.example"


# --- warn ------------------------------------------------------------------------------------------


def test_a_warning_ends_nothing_and_is_said_once() -> None:
    session = Session(pids="warn")
    for _ in range(50):
        session.breaches.exceeded(PIDS)
    assert session.done == ["quota.warn", "note"]
    assert session.breaches.name == ""
    assert session.breaches.warned == PIDS.why
    assert session.said == [
        "warning: quota-exceeded\n  quota `pids`, 128 processes, the limit is 128 [web.toml:7]"
    ]


def test_after_it_was_kept_it_is_said_again() -> None:
    session = Session(pids="warn")
    session.breaches.exceeded(PIDS)
    session.breaches.below("quota.pids")
    session.breaches.exceeded(PIDS)
    assert [event.kind for event in session.events] == ["quota.warn"] * 2


def test_a_warning_that_cannot_be_written_ends_it() -> None:
    session = Session(pids="warn")
    session.log_fails = True
    session.breaches.exceeded(PIDS)
    assert session.breaches.name == "audit"
    assert "kill" in session.done


def test_each_forbidden_call_is_a_matter_of_its_own() -> None:
    ptrace, bpf = (
        Excess("syscalls.tier", f"`{call}` was called", detail={"call": call, "machine": "x86_64"})
        for call in ("ptrace", "bpf")
    )
    session = Session(syscall="warn")
    for excess in (ptrace, ptrace, bpf, ptrace, bpf):
        session.breaches.exceeded(excess)
    assert [event.kind for event in session.events] == ["quota.warn"] * 2
    session = Session(syscall="freeze")
    session.breaches.exceeded(ptrace)
    session.breaches.resume()
    session.breaches.answer(time.monotonic())
    session.breaches.exceeded(ptrace)
    assert not session.breaches.frozen
    session.breaches.exceeded(bpf)
    assert session.breaches.frozen


# --- freeze ----------------------------------------------------------------------------------------


def frozen(**more: Any) -> Session:
    session = Session(**{"pids": "freeze", "wall": "freeze", "answer": 30.0, **more})
    session.breaches.exceeded(PIDS)
    assert session.breaches.frozen
    return session


def test_a_question_stands_until_its_time_is_over() -> None:
    session = frozen()
    assert session.done == ["freeze", "quota.freeze", "note"]
    now = time.monotonic()
    until = session.breaches.answer(now)
    assert until == pytest.approx(now + 30, abs=1)
    assert session.breaches.name == ""
    assert "mcp-sandbox resume s1, or mcp-sandbox stop s1" in session.said[0]
    assert session.notified[0]["event"] == "freeze"


def test_no_answer_ends_it() -> None:
    session = frozen()
    assert session.breaches.answer(time.monotonic() + 31) is None
    assert (session.breaches.name, session.breaches.frozen) == ("pids", False)
    assert "frozen, nobody answered in 31s [web.toml:7]" in session.breaches.reason
    assert session.breaches.data["rule"] == "quota.pids"
    assert "thaw" not in session.done


def test_an_answer_lets_it_go_on() -> None:
    session = frozen()
    assert session.breaches.resume()
    assert session.breaches.answer(time.monotonic()) is None
    assert session.done[3:] == ["thaw", "quota.resume", "note"]
    assert (session.breaches.name, session.breaches.frozen) == ("", False)
    session.breaches.exceeded(PIDS)
    assert not session.breaches.frozen, "a person has just answered for this one"


def test_another_limit_is_another_question() -> None:
    session = frozen()
    session.breaches.exceeded(WALL)
    assert session.done.count("freeze") == 1, "everything stands already"
    session.breaches.resume()
    session.breaches.answer(time.monotonic())
    session.breaches.exceeded(WALL)
    assert session.breaches.frozen
    assert session.events[-1].rule == "quota.wall"


def test_what_kills_does_so_while_a_question_stands() -> None:
    session = frozen()
    session.breaches.exceeded(CALL)
    assert (session.breaches.name, session.breaches.frozen) == ("syscalls.tier", False)
    assert session.breaches.answer(time.monotonic() + 99) is None
    assert session.breaches.name == "syscalls.tier"


def test_nobody_can_answer_what_was_not_asked() -> None:
    session = Session(pids="freeze")
    assert not session.breaches.resume()
    session.breaches.exceeded(PIDS)
    session.breaches.answer(time.monotonic())
    assert session.breaches.frozen, "an answer from before the question does not count"


def test_near_the_end_nothing_is_asked_nor_looked_at() -> None:
    session = frozen()
    session.breaches.ending = True
    assert session.breaches.answer(time.monotonic() + 99) is None
    assert session.breaches.name == "", "it ends as whoever asked for its end is told"
    session = Session(pids="freeze")
    session.breaches.ending = True
    session.breaches.exceeded(PIDS)
    assert session.done == []


def test_what_cannot_be_stopped_for_certain_is_ended() -> None:
    session = Session(pids="freeze")
    session.freezes = False
    session.breaches.exceeded(PIDS)
    assert session.breaches.name == "pids"
    assert "it could not be frozen" in session.breaches.reason


def test_what_cannot_be_woken_for_certain_is_ended() -> None:
    session = frozen()
    session.thaws = False
    session.breaches.resume()
    session.breaches.answer(time.monotonic())
    assert session.breaches.name == "pids"
    assert "it could not go on" in session.breaches.reason


def test_a_question_that_cannot_be_written_is_no_question() -> None:
    session = Session(pids="freeze")
    session.log_fails = True
    session.breaches.exceeded(PIDS)
    assert (session.breaches.name, session.breaches.frozen) == ("audit", False)
    assert session.notified == [{"event": "breach", "message": session.breaches.reason,
                                 "rule": "audit", "session": "s1"}]  # fmt: skip
