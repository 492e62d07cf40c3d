"""Every text of a message is found, once, with its place, in the part that is judged with it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inspect.judged import Asked
from sandbox.inspect.texts import Part, parts, parts_to_server, texts
from sandbox.wire.jsonrpc import Frame
from tests.inspect.messages import framed, note, request, result

TOOL = {
    "name": "add",
    "title": "Add",
    "description": "adds",
    "inputSchema": {"type": "object", "properties": {"secret_name": {"enum": ["one"], "x-note": "two"}}},
    "icons": [{"src": "https://a.example/i.png"}],
    "annotations": {"title": "three"},
    "_meta": {"a/b": "four"},
}


def said(frame: Frame, method: str = "") -> set[tuple[str, str, str]]:
    """Kind, place and words of every text."""
    return {
        (part.kind, "/".join(map(str, text.place)), text.text)
        for part in parts(frame, Asked(method) if method else None)
        for text in texts(part)
    }


def test_a_tool_is_one_part_with_names_of_properties_and_everything_below() -> None:
    found = said(result(1, tools=[TOOL], nextCursor="c"), "tools/list")
    assert {text for kind, _, text in found if kind == "tool"} >= {
        "add", "Add", "adds", "secret_name", "one", "two", "x-note", "three", "four", "https://a.example/i.png",
    }  # fmt: skip
    assert ("rest", "result/nextCursor", "c") in found
    assert ("tool", "result/tools/0/inputSchema/properties/secret_name", "secret_name") in found


CASES: list[tuple[Frame, str, set[tuple[str, str]]]] = [
    (
        result(1, instructions="i", serverInfo={"name": "n"}, capabilities={}),
        "initialize",
        {("instructions", "i"), ("server", "n")},
    ),
    (
        result(1, prompts=[{"name": "p", "arguments": [{"name": "a", "description": "d"}]}]),
        "prompts/list",
        {("prompt", "p"), ("prompt", "a"), ("prompt", "d")},
    ),
    (
        result(1, resources=[{"uri": "u:1", "name": "r"}]),
        "resources/list",
        {("resource", "u:1"), ("resource", "r")},
    ),
    (
        result(1, resourceTemplates=[{"uriTemplate": "u:{x}"}]),
        "resources/templates/list",
        {("template", "u:{x}")},
    ),
    (
        result(1, messages=[{"role": "user", "content": {"type": "text", "text": "t"}}]),
        "prompts/get",
        {("result", "t")},
    ),
    (
        result(1, contents=[{"uri": "u:1", "text": "t"}]),
        "resources/read",
        {("result", "t"), ("result", "u:1")},
    ),
    (
        result(1, structuredContent={"key of ours": "v"}),
        "tools/call",
        {("result", "v"), ("result", "key of ours")},
    ),
    (
        result(1, completion={"values": ["one", "two"]}),
        "completion/complete",
        {("result", "one"), ("result", "two")},
    ),
    (
        result(1, inputRequests={"k": {"method": "elicitation/create", "params": {"message": "m"}}}),
        "tools/call",
        {("elicitation", "m"), ("rest", "k")},
    ),
    (
        result(1, inputRequests={"k": {"method": "sampling/createMessage", "params": {"systemPrompt": "s"}}}),
        "tools/call",
        {("sampling", "s")},
    ),
    (
        request(1, "elicitation/create", message="m", requestedSchema={"properties": {"p": {"title": "t"}}}),
        "",
        {("elicitation", "m"), ("elicitation", "t"), ("elicitation", "p")},
    ),
    (request(1, "sampling/createMessage", systemPrompt="s"), "", {("sampling", "s")}),
    (note("notifications/message", level="info", data={"said": "d"}), "", {("log", "d")}),
    (note("notifications/progress", progressToken="x", message="m"), "", {("progress", "m")}),
    (note("notifications/cancelled", requestId=1, reason="r"), "", {("notification", "r")}),
    (
        framed({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "m", "data": ["d"]}}),
        "tools/call",
        {("error", "m"), ("error", "d")},
    ),
]


@pytest.mark.parametrize(
    ("frame", "method", "wanted"),
    [pytest.param(*case, id=f"{case[1]} {at}") for at, case in enumerate(CASES)],
)
def test_texts_by_method(frame: Frame, method: str, wanted: set[tuple[str, str]]) -> None:
    assert {(kind, text) for kind, _, text in said(frame, method)} >= wanted


@pytest.mark.parametrize(
    ("value", "sort"),
    [
        pytest.param({"type": "image", "data": "aaaa"}, "blob", id="an image"),
        pytest.param({"type": "text", "data": "aaaa"}, "text", id="data of no image"),
        pytest.param({"blob": "aaaa"}, "blob", id="a resource's bytes"),
        pytest.param({"cursor": "aaaa"}, "text", id="what only looks like the protocol's own"),
        pytest.param({"websiteUrl": "aaaa"}, "link", id="a link"),
    ],
)
def test_what_sort_a_text_is(value: dict[str, Any], sort: str) -> None:
    (part,) = parts(result(1, content=[value]), Asked("tools/call"))
    assert [text.sort for text in texts(part) if text.text == "aaaa"] == [sort]


def test_only_the_protocols_own_places_are_opaque() -> None:
    frame = result(1, requestState="s", structuredContent={"requestState": "t"})
    found = {text.text: text.sort for part in parts(frame, Asked("tools/call")) for text in texts(part)}
    assert (found["s"], found["t"]) == ("opaque", "text")


def test_what_goes_to_the_server_has_parts_too() -> None:
    assert [part.kind for part in parts_to_server(request(1, "tools/call", name="a"))] == ["arguments"]
    assert [part.kind for part in parts_to_server(result(1, roots=[]))] == ["answer"]
    assert parts_to_server(framed({"jsonrpc": "2.0", "method": "notifications/initialized"})) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in strings(one)]


@given(
    st.dictionaries(st.text(max_size=5), JSON, max_size=4),
    st.sampled_from(["tools/list", "initialize", "tools/call"]),
)
def test_no_string_of_a_result_is_missed(value: dict[str, Any], method: str) -> None:
    frame = result(1, **value) if "id" not in value else result(1)
    found = sorted(
        text.text for part in parts(frame, Asked(method)) for text in texts(part) if text.sort != "key"
    )
    assert found == sorted(strings(frame.message["result"]))


def test_a_parts_name_is_what_a_person_calls_it() -> None:
    assert Part("resource", (), {"uri": "u:1", "name": "n"}).name == "u:1"
    assert Part("tool", (), {"name": ["x"]}).name == ""
