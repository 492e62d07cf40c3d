"""`answer`: what waits is shown to a person at a terminal, and what the person types is passed on."""

from __future__ import annotations

import json
import os
import pty
import select
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sandbox import leases
from sandbox.cli import main
from sandbox.control import Control
from sandbox.leases import Lease

RUN = "import sys; from sandbox.cli.main import main; sys.exit(main(sys.argv[1:]))"
PROMPT = b"leaves it waiting): "
QUESTION = {"question": "q1", "what": "push", "rule": "tools.ask", "asked": "terminal", "left": 90.0}


class Session:
    """A session whose questions are these; what was answered."""

    def __init__(
        self, name: str, *questions: dict[str, Any], text: str | None = "may it?", late: bool = False
    ):
        own = os.getpid()
        leases.take(Lease(name, "files", own, leases.start_time(own)), os.environ)
        self.given: list[Mapping[str, Any]] = []
        self.control = Control(name, os.environ)

        def answer(given: Mapping[str, Any]) -> dict[str, Any]:
            self.given.append(given)
            return {"answered": not late}

        self.control.open({
            "questions": lambda: {"questions": [*questions]},
            "question": lambda given: {"text": text if given["question"] == "q1" else None},
            "answer": answer,
        })  # fmt: skip


@pytest.fixture
def sessions(own_home: Path) -> Iterator[list[Session]]:
    made: list[Session] = []
    yield made
    for one in made:
        one.control.close()


def typed(*words: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Runs `answer` at a terminal and types these words, one at each question; status and screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", RUN, "answer", *options])  # noqa: S606 - a fixed program
    screen, left, until = b"", list(words), time.monotonic() + 30
    try:
        while time.monotonic() < until and select.select([terminal], [], [], 30)[0]:
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # EIO: the other side has closed
                break
            screen += piece
            if screen.endswith(PROMPT) and left:
                os.write(terminal, f"{left.pop(0)}\n".encode())
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    return os.waitstatus_to_exitcode(status), screen.decode()


@pytest.mark.parametrize(("word", "yes"), [("allow", True), ("refuse", False)])
def test_what_is_typed_is_passed_on(sessions: list[Session], word: str, yes: bool) -> None:
    sessions.append(Session("s-1", QUESTION))
    status, screen = typed(word)
    assert (status, sessions[0].given) == (0, [{"question": "q1", "yes": yes}]), screen
    assert "may it?" in screen
    assert "90 s left" in screen


@pytest.mark.parametrize("word", ["", "yes", "y", "ALLOW", "allow it", "all"])
def test_anything_else_leaves_it_waiting(sessions: list[Session], word: str) -> None:
    sessions.append(Session("s-1", QUESTION))
    status, _ = typed(word)
    assert (status, sessions[0].given) == (0, [])


def test_every_session_is_asked(sessions: list[Session]) -> None:
    sessions += [Session("s-1", QUESTION), Session("s-2", QUESTION)]
    status, _ = typed("allow", "refuse")
    assert status == 0
    assert [one.given[0]["yes"] for one in sessions] in ([True, False], [False, True])


def test_one_session_alone(sessions: list[Session]) -> None:
    sessions += [Session("s-1", QUESTION), Session("s-2", QUESTION)]
    assert typed("allow", options=("s-2",))[0] == 0
    assert [len(one.given) for one in sessions] == [0, 1]


def test_an_answer_that_comes_too_late_is_said(sessions: list[Session]) -> None:
    sessions.append(Session("s-1", QUESTION, late=True))
    status, screen = typed("allow")
    assert status == 1
    assert "error: too-late" in screen


def test_a_question_that_is_closed_is_not_shown(sessions: list[Session]) -> None:
    sessions.append(Session("s-1", QUESTION, text=None))
    status, screen = typed()
    assert (status, PROMPT.decode() in screen) == (0, False)


def test_a_hostile_question_does_not_drive_the_terminal(sessions: list[Session]) -> None:
    sessions.append(Session("s-1", {**QUESTION, "what": "\x1b[2J"}, text="a\x1b[2J\rb\u202ec"))
    _, screen = typed("refuse")
    assert "\x1b[2J" not in screen
    assert "\u202e" not in screen
    assert "\\x1b[2J\\rb\\u202ec" in screen


def test_nothing_waits(sessions: list[Session]) -> None:
    sessions.append(Session("s-1"))
    status, screen = typed()
    assert (status, screen.strip()) == (0, "nothing waits for an answer")


def test_a_pipe_answers_nothing(sessions: list[Session], capsys: pytest.CaptureFixture[str]) -> None:
    sessions.append(Session("s-1", QUESTION))
    assert main.main(["answer"]) == 2
    assert "no-terminal" in capsys.readouterr().err
    assert sessions[0].given == []


def test_lists(sessions: list[Session], capsys: pytest.CaptureFixture[str]) -> None:
    sessions.append(Session("s-1", QUESTION, {**QUESTION, "question": "q2", "asked": "client"}))
    assert main.main(["answer", "--list"]) == 0
    assert capsys.readouterr().out == (
        "files: push, by tools.ask, asked here, 90 s left\n"
        "files: push, by tools.ask, asked at its client too, 90 s left\n"
    )
    assert main.main(["answer", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == 1
    assert [one["question"] for one in told["questions"]] == ["q1", "q2"]
    assert told["questions"][0]["session"] == "s-1"


def test_a_session_that_answers_nonsense(sessions: list[Session], capsys: pytest.CaptureFixture[str]) -> None:
    own = os.getpid()
    leases.take(Lease("s-1", "files", own, leases.start_time(own)), os.environ)
    control = Control("s-1", os.environ)
    control.open({"questions": lambda: {"questions": "many"}})
    assert main.main(["answer", "--list"]) == 0
    assert "nothing waits" in capsys.readouterr().out
    control.close()
