"""Tools and arguments by the profile, seen as messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inspect.calls import LONGEST_NAME, Calls
from sandbox.inspect.judged import DROP, Asked, Judged
from sandbox.policy.model import ArgumentRule, Tools
from sandbox.verdict import Action
from sandbox.wire.jsonrpc import Frame, FrameReader

RULES = (
    ArgumentRule("read_*", "path", within=("/work",)),
    ArgumentRule("fetch", "url", hosts=("a.example",), optional=True),
)
TOOLS = Tools(deny=("delete_*",), ask=("push_*", "delete_some"), arguments=RULES, ask_tainted=("send_*",))
LISTED = Asked("tools/list")


def frame(message: object) -> Frame:
    (made,) = FrameReader().feed(json.dumps(message).encode() + b"\n")
    assert isinstance(made, Frame)
    return made


def call(name: object, arguments: object = None, **envelope: Any) -> Frame:
    params = {"name": name, **({} if arguments is None else {"arguments": arguments})}
    return frame({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params, **envelope})


def calls(tools: Tools = TOOLS, *, tainted: bool = False, **links: str) -> Calls:
    return Calls(tools, "/work", lambda path: links.get(path.rpartition("/")[2], path), lambda: tainted)


CALLS = [
    pytest.param("list", {}, "", id="allowed"),
    pytest.param("delete_all", {}, "deny tools.deny /params/name", id="denied"),
    pytest.param("delete_some", {}, "deny tools.deny /params/name", id="deny outranks ask"),
    pytest.param("push_it", {}, "ask tools.ask /params/name", id="asked about"),
    pytest.param("Delete_all", {}, "", id="names are what they are"),
    pytest.param("read_file", {"path": "a"}, "", id="a path within"),
    pytest.param(
        "read_file", {"path": "../a"}, "deny tools.arguments.read_*.path /params/arguments", id="outside"
    ),
    pytest.param("read_file", {}, "deny tools.arguments.read_*.path /params/arguments", id="absent"),
    pytest.param(
        "read_file", None, "deny tools.arguments.read_*.path /params/arguments", id="no arguments at all"
    ),
    pytest.param("read_file", [1], "deny tools.arguments /params/arguments", id="no object of arguments"),
    pytest.param(
        "read_file", {"path": "link"}, "deny tools.arguments.read_*.path /params/arguments", id="a link out"
    ),
    pytest.param("fetch", {}, "", id="optional"),
    pytest.param("fetch", [5], "deny tools.arguments /params/arguments", id="optional, of no object"),
    pytest.param("fetch", {"url": "https://a.example/"}, "", id="a host that is listed"),
    pytest.param(
        "fetch", {"url": "https://b.example/"}, "deny tools.arguments.fetch.url /params/arguments", id="not"
    ),
    pytest.param(5, {}, "deny tools.allow /params/name", id="a name that is none"),
    pytest.param("x" * (LONGEST_NAME + 1), {}, "deny tools.allow /params/name", id="a name too long"),
    pytest.param("send_mail", {}, "", id="asked about only after something was found"),
]


def said(judged: Judged | None) -> str:
    if judged is None:
        return ""
    (finding,) = judged.findings
    assert finding.rule == judged.verdict.rule
    return f"{judged.verdict.action.value} {finding.rule} {finding.place}"


@pytest.mark.parametrize(("name", "arguments", "expected"), CALLS)
def test_what_is_said_of_a_call(name: object, arguments: object, expected: str) -> None:
    inspector = calls(link="/etc/passwd")
    assert said(inspector.to_server(call(name, arguments))) == expected
    assert said(inspector.to_server(call(name, arguments))) == expected, "and again, from memory"


@pytest.mark.parametrize("name", ["list", "push_it", "read_file", "delete_all"])
def test_a_call_that_wants_no_answer_is_never_made(name: str) -> None:
    sent = {
        "jsonrpc": "2.0",
        "method": "tools/call",
        "params": {"name": name, "arguments": {"path": "/work"}},
    }
    judged = calls().to_server(frame(sent))
    assert judged is not None
    assert judged.verdict.action is Action.DENY


@pytest.mark.threat("T1", proves="no member in another case names another tool or argument to a server in Go")
@pytest.mark.parametrize("name", ["Name", "NAME", "n\u0410me", "Arguments", "argument\u017f"])
def test_a_member_in_another_case(name: str) -> None:
    sent = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list", name: "delete_all"}}
    judged = calls().to_server(frame(sent))
    if name == "n\u0410me":  # another letter, not another case
        assert judged is None
    else:
        assert said(judged) == "deny tools.allow /params"


@pytest.mark.parametrize("name", ["Path", "PATH"])
def test_an_argument_in_another_case(name: str) -> None:
    judged = calls().to_server(call("read_file", {"path": "/work/a", name: "/etc/passwd"}))
    assert said(judged) == "deny tools.arguments.read_*.path /params/arguments"
    judged = calls().to_server(call("fetch", {"URL": "https://b.example"}))
    assert said(judged) == "deny tools.arguments.fetch.url /params/arguments"


def test_nothing_is_allowed_but_what_is_listed() -> None:
    inspector = calls(Tools(allow=("read",)))
    assert inspector.to_server(call("read")) is None
    assert said(inspector.to_server(call("other"))) == "deny tools.allow /params/name"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("send_mail", "ask tools.ask_tainted /params/name"),
        ("push_it", "ask tools.ask /params/name"),
        ("list", ""),
        ("delete_all", "deny tools.deny /params/name"),
    ],
)
def test_after_something_was_found_more_is_asked(name: str, expected: str) -> None:
    assert said(calls(tainted=True).to_server(call(name))) == expected


def test_other_messages_are_no_business_of_this_one() -> None:
    inspector = calls()
    for message in (
        {"jsonrpc": "2.0", "id": 1, "method": "prompts/get", "params": {"name": "delete_all"}},
        {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "delete_all"}]}},
    ):
        assert inspector.to_server(frame(message)) is None
        assert inspector.to_client(frame(message), Asked("tools/call", "x")) is None


# --- lists ----------------------------------------------------------------------------------------------


def listed(*names: object, asked: Asked | None = LISTED, **members: Any) -> Judged | None:
    tools = [{"name": name, "inputSchema": {}, **members} for name in names]
    return calls().to_client(frame({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}), asked)


def test_a_model_is_not_told_of_what_it_may_not_call() -> None:
    judged = listed("list", "delete_all", "push_it", "delete_some")
    assert judged is not None
    assert [edit.place for edit in judged.edits] == [("result", "tools", 1), ("result", "tools", 3)]
    assert all(edit.value is DROP for edit in judged.edits)
    (finding,) = judged.findings
    assert finding.rule == "tools.deny"
    assert finding.reason == "not listed, since a call would be denied: `delete_all`, `delete_some`"


def test_a_list_of_what_may_be_called_passes() -> None:
    assert listed("list", "push_it", "read_file") is None
    assert listed() is None
    assert listed(5, None, {"a": 1}) is None
    assert listed("delete_all", asked=None) is None


def test_annotations_allow_nothing() -> None:
    assert listed("delete_all", annotations={"readOnlyHint": True, "destructiveHint": False}) is not None


def test_what_a_list_hides_is_shown_harmless_and_short() -> None:
    judged = listed(*(f"delete_\u202e\n{at}" for at in range(30)))
    assert judged is not None
    assert judged.findings[0].reason.isprintable()
    assert judged.findings[0].reason.endswith("and 22 more")


@pytest.mark.parametrize(
    "result", [{}, {"tools": None}, {"tools": {"name": "delete_all"}}, {"tools": [1, "delete_all", None]}]
)
def test_a_list_that_is_none_passes_here(result: Any) -> None:
    assert calls().to_client(frame({"jsonrpc": "2.0", "id": 1, "result": result}), LISTED) is None


def test_more_names_than_are_remembered() -> None:
    inspector = calls(Tools(deny=("d*",)))
    for at in range(10_000):
        inspector.to_server(call(f"t{at}"))
    assert len(inspector._known) < 5000
    many = [{"name": f"d{at}"} for at in range(9000)]
    judged = inspector.to_client(frame({"jsonrpc": "2.0", "id": 1, "result": {"tools": many}}), LISTED)
    assert judged is not None
    assert len(judged.edits) == 9000


@given(st.text(max_size=30), st.dictionaries(st.text(max_size=5), st.text(max_size=10), max_size=3))
def test_a_denied_tool_is_never_called_and_never_listed(name: str, arguments: dict[str, str]) -> None:
    inspector = calls()
    judged = inspector.to_server(call(f"delete_{name}", arguments))
    assert judged is not None
    assert judged.verdict.action is Action.DENY
    assert listed(f"delete_{name}") is not None
