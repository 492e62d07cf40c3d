"""The servers of the end-to-end tests: what each is asked to do, and what shows that it did."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.caller import Caller

Calls = list[tuple[str, dict[str, Any]]]
Answers = list[dict[str, Any]]


@dataclass(frozen=True)
class Server:
    """A shipped profile, the work it is given in a directory, and the proof that the work was done."""

    profile: str
    calls: Callable[[Path], Calls]
    check: Callable[[Path, Answers], None]
    flags: tuple[str, ...] = ()
    prepare: Callable[[Caller, Path], None] = lambda _caller, _place: None


def said(answer: dict[str, Any]) -> str:
    """The text of an answer, which must not be an error."""
    assert not answer.get("isError"), answer
    return "\n".join(part["text"] for part in answer["content"] if part["type"] == "text")


def _everything(_place: Path, answers: Answers) -> None:
    assert said(answers[0]) == "Echo: hällo\u2028wörld"
    assert "completed" in said(answers[1])


def _filesystem(place: Path, answers: Answers) -> None:
    assert (place / "new.txt").read_text() == "written inside"
    assert "written outside" in said(answers[1])
    assert str(place) in said(answers[2])


def _write_note(caller: Caller, place: Path) -> None:
    caller.run("sh", "-c", "printf %s 'written outside' >note.txt", cwd=place).check_returncode()


def _memory(_place: Path, answers: Answers) -> None:
    assert "ada" in said(answers[1])


def _thinking(_place: Path, answers: Answers) -> None:
    assert json.loads(said(answers[0]))["thoughtNumber"] == 1


def _commit(caller: Caller, place: Path) -> None:
    """A repository with one commit and one file that git does not know."""
    script = (
        "git init -q -b main . && echo one >a.txt && git add a.txt && "
        "git -c user.name=t -c user.email=t@example.org commit -q -m 'the first commit' && echo two >b.txt"
    )
    caller.run("sh", "-c", script, cwd=place).check_returncode()


def _git(_place: Path, answers: Answers) -> None:
    assert "b.txt" in said(answers[0])
    assert "the first commit" in said(answers[1])


def _time(_place: Path, answers: Answers) -> None:
    # Tokyo is seven or eight hours ahead of Berlin.
    assert json.loads(said(answers[0]))["target"]["datetime"][11:16] in ("21:30", "22:30")


def _sqlite(_place: Path, answers: Answers) -> None:
    assert "'Ada'" in said(answers[2])


THOUGHT = {"thought": "one", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1}
ADA = {"name": "ada", "entityType": "person", "observations": ["wrote the first program"]}

SERVERS = (
    Server(
        "everything",
        lambda _place: [
            ("echo", {"message": "hällo\u2028wörld"}),
            ("trigger-long-running-operation", {"duration": 0.6, "steps": 4}),
        ],
        _everything,
    ),
    Server(
        "filesystem",
        lambda place: [
            ("write_file", {"path": f"{place}/new.txt", "content": "written inside"}),
            ("read_text_file", {"path": f"{place}/note.txt"}),
            ("list_allowed_directories", {}),
        ],
        _filesystem,
        ("--allow-write", "."),
        _write_note,
    ),
    Server("memory", lambda _place: [("create_entities", {"entities": [ADA]}), ("read_graph", {})], _memory),
    Server("sequential-thinking", lambda _place: [("sequentialthinking", THOUGHT)], _thinking),
    Server(
        "git",
        lambda place: [("git_status", {"repo_path": str(place)}), ("git_log", {"repo_path": str(place)})],
        _git,
        prepare=_commit,
    ),
    Server(
        "time",
        lambda _place: [
            (
                "convert_time",
                {"source_timezone": "Europe/Berlin", "time": "14:30", "target_timezone": "Asia/Tokyo"},
            )
        ],
        _time,
    ),
    Server(
        "sqlite",
        lambda _place: [
            ("create_table", {"query": "CREATE TABLE people (name TEXT)"}),
            ("write_query", {"query": "INSERT INTO people VALUES ('Ada')"}),
            ("read_query", {"query": "SELECT name FROM people"}),
        ],
        _sqlite,
    ),
)
