"""A finding is told with the thing it is in, once, and with what `run` would do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.examine.judging import Examined, Judge, Seen
from sandbox.examine.report import by_item, document, headline, level, sarif, told, total
from sandbox.inspect.judged import DROP, Asked, Edit, Finding, Judged, changed, denied, found
from sandbox.wire.jsonrpc import Frame, FrameReader


def frame(**message: Any) -> Frame:
    (made,) = FrameReader().feed(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    assert isinstance(made, Frame)
    return made


class Finder:
    """An inspector that finds the same in every answer."""

    name = "poison"

    def __init__(self, judged: Judged | None) -> None:
        self.judged = judged
        self.said: list[Frame] = []

    def to_server(self, frame: Frame, asked: None = None) -> Judged | None:
        self.said.append(frame)
        return None

    def to_client(self, frame: Frame, asked: Asked | None) -> Judged | None:
        return self.judged


def at(place: str, score: float = 8.0) -> Finding:
    return Finding("poison", "poison.hidden", place, "hides something", score, "a\\u200bb")


TOOLS = frame(id=1, result={"tools": [{"name": "one"}, {"name": "two", "description": "x"}], "x": 1})
HELLO = frame(id=1, result={"instructions": "x", "serverInfo": {"name": "s", "version": "1"}})
TEXT = frame(id=1, result={"contents": [{"uri": "test://a", "text": "x"}]})
NOTE = frame(method="notifications/message", params={"level": "info", "data": "x"})


@pytest.mark.parametrize(
    ("message", "asked", "place", "kind", "name", "field"),
    [
        pytest.param(
            TOOLS,
            Asked("tools/list"),
            "/result/tools/1/description",
            "tool",
            "two",
            "/description",
            id="tool",
        ),
        pytest.param(TOOLS, Asked("tools/list"), "/result/tools/0", "tool", "one", "", id="a whole tool"),
        pytest.param(
            TOOLS, Asked("tools/list"), "/result/x", "rest", "tools/list", "/x", id="beside the list"
        ),
        pytest.param(
            HELLO, Asked("initialize"), "/result/instructions", "instructions", "", "", id="instructions"
        ),
        pytest.param(
            HELLO, Asked("initialize"), "/result/serverInfo/name", "server", "s", "/name", id="name"
        ),
        pytest.param(
            TEXT,
            Asked("resources/read", params={"uri": "test://a"}),
            "/result/contents/0/text",
            "result",
            "resources/read test://a",
            "/contents/0/text",
            id="a resource that was read",
        ),
        pytest.param(NOTE, None, "/params/data", "log", "", "/data", id="a line of the log"),
        pytest.param(
            TOOLS, Asked("tools/list"), "/elsewhere", "message", "tools/list", "/elsewhere", id="no part"
        ),
        pytest.param(TOOLS, Asked("tools/list"), "", "message", "tools/list", "", id="the whole message"),
    ],
)
def test_a_finding_names_what_it_is_in(
    message: Frame, asked: Asked | None, place: str, kind: str, name: str, field: str
) -> None:
    judge = Judge([Finder(found(at(place)))])
    judge.heard(message, asked)
    (seen,) = judge.seen.values()
    assert (seen.kind, seen.name, seen.field) == (kind, name, field)


@pytest.mark.parametrize(
    ("judged", "consequence"),
    [
        pytest.param(found(at("/result/tools/1")), "told", id="allow"),
        pytest.param(denied(at("/result/tools/1")), "withheld", id="deny"),
        pytest.param(
            changed([Edit(("result", "tools", 1), DROP)], at("/result/tools/1/name")),
            "withheld",
            id="dropped",
        ),
        pytest.param(
            changed([Edit(("result", "tools", 1, "name"), "x")], at("/result/tools/1/name")),
            "changed",
            id="redact",
        ),
        pytest.param(
            changed([Edit(("result", "tools", 0), DROP)], at("/result/tools/1")),
            "told",
            id="another one is dropped",
        ),
    ],
)
def test_a_finding_says_what_would_be_done(judged: Judged, consequence: str) -> None:
    judge = Judge([Finder(judged)])
    judge.heard(TOOLS, Asked("tools/list"))
    (seen,) = judge.seen.values()
    assert seen.consequence == consequence


def test_the_same_finding_is_told_once_and_every_inspector_is_asked() -> None:
    finders = [Finder(found(at("/result/tools/1"))), Finder(found(at("/result/tools/0"))), Finder(None)]
    judge = Judge(finders)
    for _ in range(3):
        judge.said(frame(id=1, method="tools/list", params={}))
        judge.heard(TOOLS, Asked("tools/list"))
    assert len(judge.seen) == 2
    assert [len(finder.said) for finder in finders] == [3, 3, 3]


# --- the reports -----------------------------------------------------------------------------------------


def seen(name: str = "two", score: float = 8.0, consequence: str = "withheld", kind: str = "tool") -> Seen:
    return Seen(at("/result/tools/1/description", score), kind, name, "/description", consequence)


def examined(*found: Seen) -> Examined:
    listed = (("tools", 2), ("prompts", 1), ("resources", 0), ("resourceTemplates", 1))
    return Examined("s", "1", ("2025-11-25", "2026-07-28"), listed, (), found)


def test_a_person_reads_the_worst_item_first() -> None:
    one = examined(seen("mild", 2.0), seen("bad", 9.0), seen("mild", 3.0), seen("", 5.0, kind="instructions"))
    assert [item for item, _ in by_item(one)] == ["tool `bad`", "instructions", "tool `mild`"]
    assert headline(one) == "s 1 (2025-11-25, 2026-07-28): 2 tools, 1 prompt, 0 resources, 1 template"
    assert total(one) == "4 findings in 3 items"
    assert total(examined()) == "no findings"
    assert total(examined(seen())) == "1 finding in 1 item"


def test_a_finding_in_lines() -> None:
    assert told(seen()) == [
        "/description  poison.hidden, score 8, withheld",
        "  hides something",
        "  > a\\u200bb",
    ]


def test_the_document_has_every_finding() -> None:
    made = document(examined(seen()), "server", "base")
    assert made["listed"] == {"tools": 2, "prompts": 1, "resources": 0, "resourceTemplates": 1}
    (entry,) = made["findings"]
    assert entry == {
        "rule": "poison.hidden",
        "inspector": "poison",
        "kind": "tool",
        "item": "two",
        "field": "/description",
        "place": "/result/tools/1/description",
        "reason": "hides something",
        "score": 8.0,
        "shown": "a\\u200bb",
        "consequence": "withheld",
    }


@pytest.mark.parametrize(
    ("score", "consequence", "expected"),
    [
        pytest.param(9.0, "withheld", "error", id="a high score"),
        pytest.param(5.0, "told", "warning", id="a middle one"),
        pytest.param(1.0, "told", "note", id="a low one"),
        pytest.param(1.0, "changed", "warning", id="what would be changed"),
        pytest.param(0.0, "withheld", "error", id="withheld without a score"),
        pytest.param(0.0, "told", "note", id="told without a score"),
    ],
)
def test_sarif_levels(score: float, consequence: str, expected: str) -> None:
    assert level(seen(score=score, consequence=consequence)) == expected


def test_sarif_refers_to_its_rules_and_to_a_file() -> None:
    made = sarif(examined(seen(), seen("other")), "server", "0.1", ".mcp-sandbox/web.toml")
    (run,) = made["runs"]
    assert made["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["poison.hidden"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == ".mcp-sandbox/web.toml"
    prints = [result["partialFingerprints"]["place/v1"] for result in run["results"]]
    assert len(set(prints)) == 2
