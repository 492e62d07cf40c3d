"""The headers of the stateless era: the specification's own examples, and the SDK's reading beside ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared import inbound

from sandbox.wire.mcp_headers import (
    FIRST_MODERN,
    PARAMS_MAX,
    SESSION_MAX,
    VERSION_KEY,
    Malformed,
    Param,
    decoded,
    encoded,
    headers_for,
    is_modern,
    is_session_id,
    mismatch,
    tool_params_of,
    version_of,
)

Json = dict[str, Any]


def request(method: str = "tools/list", version: str | None = FIRST_MODERN, **params: Any) -> Json:
    meta = {} if version is None else {"_meta": {VERSION_KEY: version}}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**meta, **params}}


def call(**arguments: Any) -> Json:
    return request("tools/call", name="run", arguments=arguments)


def lower(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {name.lower(): value for name, value in pairs}


# --- values --------------------------------------------------------------------------------------------

VALUES = [
    pytest.param("us-west1", "us-west1", id="plain"),
    pytest.param("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?=", id="beyond ASCII"),
    pytest.param(" padded ", "=?base64?IHBhZGRlZCA=?=", id="blanks at the edges"),
    pytest.param("line1\nline2", "=?base64?bGluZTEKbGluZTI=?=", id="a line end"),
    pytest.param("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", id="looks encoded"),
    pytest.param("", "", id="empty"),
    pytest.param("a\r\nX-Injected: 1", "=?base64?YQ0KWC1JbmplY3RlZDogMQ==?=", id="another header"),
    pytest.param("\t", "=?base64?CQ==?=", id="a tab alone"),
    pytest.param("a\tb", "=?base64?YQli?=", id="a tab within"),
    pytest.param("a b", "a b", id="a space within"),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_a_value_is_encoded_as_the_specification_shows(text: str, value: str) -> None:
    assert encoded(text) == value
    assert decoded(value) == text


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("=?base64?SGVsbG8?=", id="no padding"),
        pytest.param("=?base64?SGVsbG9=?=", id="bits to spare"),
        pytest.param("=?base64?SGVs bG8=?=", id="a blank"),
        pytest.param("=?base64?/w==?=", id="no UTF-8"),
        pytest.param("=?base64?SGVsbG8\u00e9?=", id="not ASCII"),
        pytest.param("caf\u00e9", id="Latin-1"),
        pytest.param("a\x00", id="NUL"),
        pytest.param("a\r\nb", id="a line end"),
    ],
)
def test_a_value_that_no_client_makes_means_nothing(value: str) -> None:
    assert decoded(value) is None
    assert "cannot be decoded" in (mismatch({"mcp-param-anything": value}, request()) or "")


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=40))
def test_every_text_arrives_and_in_one_line_of_ascii(text: str) -> None:
    value = encoded(text)
    assert (decoded(value), value.isascii(), value.isprintable()) == (text, True, True)
    assert inbound.decode_header_value(value) == text
    assert decoded(inbound.encode_header_value(text)) == text


@settings(max_examples=500, deadline=None)
@given(st.text("=?base64QUJD+/\t ~", max_size=30))
def test_no_value_is_read_as_anything_but_what_the_sdk_reads(value: str) -> None:
    for one in (value, f"=?base64?{value}?="):
        ours, theirs = decoded(one), inbound.decode_header_value(one)
        assert ours in (theirs, None)


# --- what is sent --------------------------------------------------------------------------------------

MADE = [
    pytest.param(
        request(), {"mcp-protocol-version": FIRST_MODERN, "mcp-method": "tools/list"}, id="a request"
    ),
    pytest.param(
        request("resources/read", uri="file:///ü"),
        {
            "mcp-protocol-version": FIRST_MODERN, "mcp-method": "resources/read",
            "mcp-name": "=?base64?ZmlsZTovLy/DvA==?=",
        }, id="a resource",
    ),
    pytest.param(
        request("prompts/get", name="p"),
        {"mcp-protocol-version": FIRST_MODERN, "mcp-method": "prompts/get", "mcp-name": "p"}, id="a prompt",
    ),
    pytest.param(
        request("tools/call", name=["p"]),
        {"mcp-protocol-version": FIRST_MODERN, "mcp-method": "tools/call"}, id="a name that is none",
    ),
    pytest.param(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": [1]},
        {"mcp-method": "tools/call"}, id="params by position",
    ),
    pytest.param({"jsonrpc": "2.0", "id": 1, "result": {}}, {}, id="a response"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "headers"), MADE)
def test_headers_say_what_the_message_says(message: Json, headers: dict[str, str]) -> None:
    assert lower(headers_for(message)) == headers


def test_a_notification_takes_the_revision_that_is_given() -> None:
    message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    made = lower(headers_for(message, version=FIRST_MODERN))
    assert made == {"mcp-protocol-version": FIRST_MODERN, "mcp-method": "notifications/cancelled"}
    assert mismatch(made, message) is None


REGION = Param(("region",), "Region", "string")
SIZE = Param(("limits", "size"), "Size", "integer")
DRY = Param(("dry",), "Dry", "boolean")
ALL = (REGION, SIZE, DRY)

PARAMS = [
    pytest.param(
        call(region="eu", limits={"size": 4}, dry=False),
        {"region": "eu", "size": "4", "dry": "false"}, id="each kind",
    ),
    pytest.param(call(region="ü"), {"region": "=?base64?w7w=?="}, id="beyond ASCII"),
    pytest.param(call(region=None, limits=None), {}, id="null"),
    pytest.param(call(limits="x"), {}, id="a path that leads nowhere"),
    pytest.param(call(limits={"size": 4.0}), {"size": "4"}, id="an integer with a point"),
    pytest.param(call(limits={"size": -7}), {"size": "-7"}, id="a negative one"),
    pytest.param(call(region=["eu"], dry={}), {}, id="no scalar"),
    pytest.param(call(limits={"size": 10**5000}), {}, id="a number without end"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "shown"), PARAMS)
def test_arguments_are_shown_where_the_tool_wants_it(message: Json, shown: dict[str, str]) -> None:
    made = lower(headers_for(message, ALL))
    found = {
        name.removeprefix("mcp-param-"): one for name, one in made.items() if name.startswith("mcp-param-")
    }
    assert found == shown
    assert mismatch(made, message, ALL) is None


# --- what is let in ------------------------------------------------------------------------------------


def headers(**changed: str | None) -> dict[str, str]:
    """What a client that is right sends of `call(region="eu")`, changed."""
    sent = lower(headers_for(call(region="eu"), ALL))
    for name, value in changed.items():
        sent.pop(name.replace("_", "-"), None)
        if value is not None:
            sent[name.replace("_", "-")] = value
    return sent


LIES = [
    pytest.param(headers(mcp_protocol_version=None), "`MCP-Protocol-Version` is missing", id="no revision"),
    pytest.param(headers(mcp_protocol_version="2025-11-25"), "another revision", id="another revision"),
    pytest.param(headers(mcp_method=None), "`Mcp-Method` is missing", id="no method"),
    pytest.param(headers(mcp_method="tools/list"), "`Mcp-Method` differs", id="a harmless method"),
    pytest.param(headers(mcp_method="Tools/Call"), "`Mcp-Method` differs", id="case counts"),
    pytest.param(headers(mcp_name=None), "`Mcp-Name` is missing", id="no name"),
    pytest.param(headers(mcp_name="read"), "`Mcp-Name` differs from `params.name`", id="a harmless tool"),
    pytest.param(headers(mcp_name="run, read"), "`Mcp-Name` differs", id="twice, folded"),
    pytest.param(
        headers(mcp_name="=?base64?cmVhZA==?="), "`Mcp-Name` differs", id="a harmless tool, encoded"
    ),
    pytest.param(headers(mcp_name="=?base64?!?="), "`mcp-name` cannot be decoded", id="no Base64"),
    pytest.param(headers(mcp_param_region="us"), "`Mcp-Param-Region` differs", id="another argument"),
    pytest.param(headers(mcp_param_region=None), "`Mcp-Param-Region` is missing", id="an argument unsaid"),
    pytest.param(headers(mcp_param_size="1"), "argument is not", id="an argument that is none"),
]


@pytest.mark.parametrize(("sent", "said"), LIES)
def test_a_header_that_differs_is_named(sent: dict[str, str], said: str) -> None:
    message = call(region="eu")
    assert mismatch(headers(), message, ALL) is None
    assert said in (mismatch(sent, message, ALL) or "")


@pytest.mark.parametrize(
    ("sent", "same"),
    [("4", True), ("4.0", True), ("4.5", False), ("04", True), ("4e0", False), ("", False), ("\t4", False)],
)
def test_integers_are_compared_as_numbers(sent: str, same: bool) -> None:
    message = call(limits={"size": 4})
    made = lower(headers_for(message, ALL)) | {"mcp-param-size": sent}
    assert (mismatch(made, message, ALL) is None) is same


def test_the_same_name_encoded_without_need_is_the_same() -> None:
    assert mismatch(headers(mcp_name="=?base64?cnVu?="), call(region="eu"), ALL) is None


def test_arguments_are_not_judged_where_the_tool_is_not_known() -> None:
    assert mismatch(headers(mcp_param_region="us", mcp_param_more="x"), call(region="eu")) is None


# --- tools ---------------------------------------------------------------------------------------------


def tool(**properties: Any) -> Json:
    return {"name": "run", "inputSchema": {"type": "object", "properties": properties}}


def shown(name: Any = "A", kind: Any = "string", **more: Any) -> Json:
    return {"type": kind, "x-mcp-header": name, **more}


DEEP: Json = {}
for _ in range(5000):
    DEEP = {"properties": {"x": DEEP}}

TOOLS = [
    pytest.param(tool(), (), id="none"),
    pytest.param({"name": "x"}, (), id="no schema"),
    pytest.param({"name": "x", "inputSchema": True}, (), id="a schema that is no object"),
    pytest.param(tool(region=shown("Region")), (REGION,), id="one"),
    pytest.param(tool(limits={"properties": {"size": shown("Size", "integer")}}), (SIZE,), id="within"),
    pytest.param(
        tool(a={"const": shown(), "default": shown(), "enum": [shown()]}), (), id="data, not schemas"
    ),
    pytest.param({"inputSchema": DEEP}, (), id="without end"),
]
WRONG = [
    pytest.param(tool(a=shown("")), "no name", id="empty"),
    pytest.param(tool(a=shown("a b")), "no name", id="a blank"),
    pytest.param(tool(a=shown("a\r\nHost: x")), "no name", id="another header"),
    pytest.param(tool(a=shown("a:")), "no name", id="a colon"),
    pytest.param(tool(a=shown("é")), "no name", id="beyond ASCII"),
    pytest.param(tool(a=shown("x" * 129)), "no name", id="long"),
    pytest.param(tool(a=shown(7)), "no name", id="a number"),
    pytest.param(tool(a=shown(kind="number")), "no string", id="of numbers"),
    pytest.param(tool(a=shown(kind="object")), "no string", id="of objects"),
    pytest.param(tool(a=shown(kind=["string", "null"])), "no string", id="of two kinds"),
    pytest.param(tool(a=shown("A"), b=shown("a")), "two arguments", id="twice"),
    pytest.param(tool(a={"items": shown()}), "properties", id="in a list"),
    pytest.param(tool(a={"anyOf": [shown()]}), "properties", id="in a choice"),
    pytest.param(
        {"inputSchema": {"$defs": {"a": {"properties": {"b": shown()}}}}}, "properties", id="in $defs"
    ),
    pytest.param({"inputSchema": shown()}, "properties", id="at the root"),
    pytest.param(tool(**{f"a{n}": shown(f"A{n}") for n in range(PARAMS_MAX + 1)}), "more than", id="many"),
]


@pytest.mark.parametrize(("definition", "params"), TOOLS)
def test_what_a_tool_wants_in_headers_is_read(definition: Json, params: tuple[Param, ...]) -> None:
    assert tool_params_of(definition) == params
    assert inbound.find_invalid_x_mcp_header(definition.get("inputSchema")) is None


@pytest.mark.parametrize(("definition", "said"), WRONG)
def test_a_tool_that_wants_it_wrongly_is_refused(definition: Json, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        tool_params_of(definition)
    if said != "more than" and "xxx" not in str(definition):
        assert inbound.find_invalid_x_mcp_header(definition["inputSchema"]) is not None


LEAVES = st.builds(
    shown, st.sampled_from(["A", "a", "B", "", "a b"]), st.sampled_from(["string", "integer", "null"])
)
SCHEMAS = st.recursive(
    LEAVES | st.just({}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("items", "not", "default", "x"), inner),
            **dict.fromkeys(("anyOf", "allOf", "enum"), st.lists(inner, max_size=2)),
            **dict.fromkeys(
                ("properties", "$defs"), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
            ),
        },
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS)
def test_the_same_tools_are_refused_as_by_the_sdk(schema: Json) -> None:
    try:
        found = tool_params_of({"inputSchema": schema})
    except Malformed:
        assert inbound.find_invalid_x_mcp_header(schema) is not None
    else:
        assert inbound.find_invalid_x_mcp_header(schema) is None
        assert {param.path: param.name for param in found} == inbound.x_mcp_header_map(schema)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["region", "limits", "dry"]), st.none() | st.booleans() | st.integers()
                    | st.text(max_size=8) | st.dictionaries(st.just("size"), st.integers()), max_size=3),
    st.text(max_size=8),
)  # fmt: skip
def test_what_we_send_the_sdk_takes_and_the_other_way_round(arguments: Json, name: str) -> None:
    message = request("tools/call", name=name, arguments=arguments)
    message["params"]["_meta"] |= {"io.modelcontextprotocol/clientCapabilities": {}}
    made = lower(headers_for(message, ALL))
    assert isinstance(inbound.classify_inbound_request(message, headers=made), inbound.InboundModernRoute)
    theirs = inbound.mcp_param_headers({one.path: one.name for one in ALL}, arguments)
    own = {name: value for name, value in made.items() if not name.startswith("mcp-param-")}
    assert mismatch(own | lower(tuple(theirs.items())), message, ALL) is None


# --- revisions and sessions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "modern"),
    [
        ("2026-07-28", True),
        ("2027-01-01", True),
        ("2025-11-25", False),
        ("x", True),
        (None, False),
        ("9", True),
    ],
)
def test_an_era_begins_with_a_revision(version: str | None, modern: bool) -> None:
    assert is_modern(version) is modern
    assert version_of(request(version=version)) == version


@pytest.mark.parametrize("meta", [None, [], 7, {}, {VERSION_KEY: 7}])
def test_a_message_that_names_no_revision_has_none(meta: Any) -> None:
    assert version_of({"params": {"_meta": meta}}) is None


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("1868a90c-4f2b", True), ("~!", True), ("", False), ("a b", False), ("a\n", False), ("é", False),
        ("x" * SESSION_MAX, True), ("x" * (SESSION_MAX + 1), False), ("a\x7f", False),
    ],
)  # fmt: skip
def test_a_session_id_is_visible_ascii(text: str, good: bool) -> None:
    assert is_session_id(text) is good
