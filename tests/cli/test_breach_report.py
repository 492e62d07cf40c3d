"""A report of a breach on a terminal: readable, and nothing in it acts on the terminal."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from sandbox.audit.sink import Sink
from sandbox.cli.breach_report import lines, summary
from sandbox.cli.main import main
from sandbox.event import Event, Value


def process(pid: int, parent: int, name: str, state: str, threads: int, mebibytes: int) -> dict[str, Value]:
    return {
        "pid": pid, "inside": pid - 9, "parent": parent, "name": name, "state": state, "threads": threads,
        "memory": mebibytes << 20,
    }  # fmt: skip


TMP: dict[str, Value] = {"used": 1, "size": 4, "files": 1, "most": 65536}
REPORT: dict[str, Value] = {
    "processes": [
        process(10, 3, "mcp-init", "S", 1, 1),
        process(11, 10, "node", "R", 7, 9),
        process(13, 10, "later", "S", 1, 0),
        process(12, 11, "sh", "Z", 1, 0),
    ],
    "more_processes": 61,
    "calls": [{"method": "tools/call", "tool": "search", "age": 2.51}],
    "more_calls": 0,
    "samples": [
        {"before": 1.5, "memory": 100 << 20, "pids": 3, "disks": {"/tmp": TMP}},
        {"before": 0.1, "memory": 512 << 20, "pids": 64, "cpu": 1.25},
    ],
    "egress": [
        {"before": 0.5, "kind": "egress.deny", "host": "a.example", "port": 443, "reason": "no rule matched"}
    ],
    "stderr": "one\ntwo\n",
}
HOSTILE = "\x1b[2J\r\n\u202e\x9b1m"


def test_a_person_reads_it() -> None:
    assert [*lines(REPORT)] == [
        "  processes right before the end (pid, inside, state, threads, memory)",
        "         10      1 S    1      1.0M  mcp-init",
        "         11      2 R    7      9.0M    node",
        "         12      3 Z    1      0.0M      sh",
        "         13      4 S    1      0.0M    later",
        "    and 61 more",
        "  open calls (age)",
        "         2.5s  tools/call search",
        "  last samples, of at most 10 (seconds before the end)",
        "       BEFORE    MEMORY      PIDS       CPU   FULLEST",
        "         1.5s    100.0M         3         -      25%",
        "         0.1s    512.0M        64      1.25       0%",
        "  recent egress (seconds before the end)",
        "         0.5s  egress.deny    a.example:443 no rule matched",
        "  last of stderr",
        "    | one",
        "    | two",
    ]
    assert summary(REPORT) == "65 processes, 1 open calls, 1 facts of egress"


@pytest.mark.threat("S7", proves="a hostile server's names in a report do not act on the terminal")
def test_names_and_words_of_the_servers_are_written_out() -> None:
    hostile: dict[str, Value] = {
        "processes": [{"pid": 1, "name": HOSTILE, "state": HOSTILE}],
        "calls": [{"method": HOSTILE, "tool": HOSTILE, "age": 1}],
        "samples": [{"before": 1, HOSTILE: 3, "memory": 1, "disks": {HOSTILE: {"used": 1}}}],
        "egress": [{"kind": HOSTILE, "host": HOSTILE, "port": 1, "reason": HOSTILE}],
        "stderr": HOSTILE,
    }
    for line in lines(hostile):
        assert line.isprintable(), line


ODD: list[Any] = [
    None, 3, "x", [], {}, [3], [None], {"a": 1}, [[]], [{"pid": "x"}], [{"pid": 1e308}], True,
    [{"pid": 1, "parent": 1}], [{"pid": 1, "parent": 2}, {"pid": 2, "parent": 1}],
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_log_that_was_edited_breaks_nothing(odd: Any) -> None:
    for key in REPORT:
        for line in (*lines({**REPORT, key: odd}), summary({**REPORT, key: odd})):
            assert line.isprintable()


def test_show_has_it_at_the_end_and_json_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with Sink("s1", "github", environ=os.environ) as sink:
        for event in (
            Event("session.start"),
            Event("breach.report", REPORT, "quota.pids"),
            Event("session.end"),
        ):
            sink.emit(event)
    assert main(["audit", "show", "s1"]) == 0
    shown = capsys.readouterr().out
    assert (
        'what="65 processes, 1 open calls, 1 facts of egress"  [quota.pids]\n  processes right before'
        in shown
    )
    assert shown.splitlines()[-1].endswith("session.end")
    assert main(["audit", "show", "s1", "--json", "--kind", "breach"]) == 0
    assert json.loads(capsys.readouterr().out)["detail"] == REPORT
