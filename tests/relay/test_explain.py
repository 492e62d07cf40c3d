"""What is put into the answer to a failed call, and that nothing else in it changes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.relay.explain import MAX_TEXT_CHARS, amend, printable, reports_failure
from sandbox.wire.jsonrpc import CAP, Frame, FrameReader

DENIED = ("a:443 is not allowed", 'rule "default"')
WORDS = rb" (mcp-sandbox: a:443 is not allowed; rule \"default\")"
TOLD = rb'"mcpSandbox":{"denied":["a:443 is not allowed","rule \"default\""]}'
ITEM = rb'{"type":"text","text":"mcp-sandbox: a:443 is not allowed\nrule \"default\""}'


def frame(line: bytes) -> Frame:
    (item,) = FrameReader().feed(line)
    assert isinstance(item, Frame), item
    return item


def line(body: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,%s}\n' % body


# An answer as it goes to the client; without what stands in angles it is the answer as it came.
AMENDED = [
    pytest.param(b'"error":{"code":-1,"message":"no<WORDS>"<,"data":{TOLD}>}', id="an error without data"),
    pytest.param(b'"error":{"code":-1,"message":"<WORDS>"<,"data":{TOLD}>}', id="an empty message"),
    pytest.param(
        b'"error":{"code":-1,"message":"no<WORDS>","data":{"b":1,"a":2<,TOLD>}}', id="data is an object"
    ),
    pytest.param(b'"error":{"code":-1,"message":"no<WORDS>","data":{<TOLD>}}', id="data is empty"),
    pytest.param(
        b' "error":{ "data" : { <TOLD>}\t, "message"\t: "no<WORDS>" , "code":-1 } ',
        id="data comes first, and blanks",
    ),
    pytest.param(b'"error":{"message":"no<WORDS>","code":1 <,"data":{TOLD}>}', id="a blank before the brace"),
    pytest.param(b'"error":{"code":-1,"message":"no<WORDS>","data":null}', id="data that is null stays"),
    pytest.param(b'"error":{"code":-1,"message":"no<WORDS>","data":[{}]}', id="data that is a list stays"),
    pytest.param(b'"error":{"code":-1,"message":"no<WORDS>","data":"{}"}', id="data that is text stays"),
    pytest.param(
        b'"error":{"code":-1,"message":"no<WORDS>","data":{"mcpSandbox":1}}', id="a member of that name stays"
    ),
    pytest.param(
        rb'"error":{"code":-1,"message":"no<WORDS>","data":{"mcp\u0053andbox":{}}}',
        id="a member of that name stays, also when it is escaped",
    ),
    pytest.param(
        b'"error":{"code":-1,"message":"no<WORDS>","data":{"a":{"mcpSandbox":1}<,TOLD>}}',
        id="a deeper member of that name is another",
    ),
    pytest.param(
        rb'"err\u006fr":{"code":-1,"mess\u0061ge":"no<WORDS>"<,"data":{TOLD}>}', id="names may be escaped"
    ),
    pytest.param(
        rb'"error":{"code":-1,"\",\"data\":{}":[],"message":"no<WORDS>"<,"data":{TOLD}>}',
        id="a name that looks like a member",
    ),
    pytest.param(
        rb'"error":{"code":-1,"message":"\"message\":\"x\",\"data\":{}\\<WORDS>"<,"data":{TOLD}>}',
        id="a message that looks like members, and ends in a backslash",
    ),
    pytest.param(
        '"error":{"é":"\u2028","code":-1,"message":"\U0001f512<WORDS>"<,"data":{TOLD}>}'.encode(),
        id="more bytes than characters",
    ),
    pytest.param(
        b'"error":{"code":-123456789012345678901234567890,"message":"no<WORDS>","data":'
        b'{"a":[18446744073709551616,1E5,1.0,0.1000,-0.0,-0,1e-400,5e-324]<,TOLD>}}',
        id="numbers that an encoder would spell otherwise",
    ),
    pytest.param(b'"result":{"content":[<ITEM>],"isError":true}', id="no content"),
    pytest.param(b'"result":{"content":[ <ITEM>],"isError":true}', id="no content but a blank"),
    pytest.param(
        b'"result":{"isError":true,"content":[{"type":"text","text":"]"} <,ITEM>],"z":1}', id="content"
    ),
    pytest.param(
        b'"result":{"isError" :true, "content":[[],1<,ITEM>], "content2":[1E5]}', id="content of any shape"
    ),
]


def came(template: bytes) -> bytes:
    return line(re.sub(rb"<[^>]*>", b"", template))


def goes(template: bytes) -> bytes:
    for name, value in ((b"WORDS", WORDS), (b"TOLD", TOLD), (b"ITEM", ITEM)):
        template = template.replace(name, value)
    return line(template.replace(b"<", b"").replace(b">", b""))


@pytest.mark.parametrize("template", AMENDED)
def test_the_denials_are_put_in_and_no_other_byte_changes(template: bytes) -> None:
    answer = frame(came(template))
    assert reports_failure(answer.message)
    amended = amend(answer.data, DENIED, CAP)
    assert amended == goes(template)
    assert frame(amended).id == 1, "and it is a frame as strict as any"
    assert amend(bytearray(answer.data), DENIED, CAP) == amended


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(b'{"isError":true}', id="none"),
        pytest.param(b'{"isError":true,"content":"[]"}', id="text"),
        pytest.param(b'{"isError":true,"content":null}', id="null"),
        pytest.param(b'{"isError":true,"content":{"content":[]}}', id="an object"),
    ],
)
def test_a_result_whose_content_is_no_list_stays(result: bytes) -> None:
    answer = frame(line(b'"result":' + result))
    assert reports_failure(answer.message)
    assert amend(answer.data, DENIED, CAP) is None


@pytest.mark.parametrize("mark", [b"{}", b'{"isError":false}', b'{"isError":1}', b'{"isError":"true"}'])
def test_only_a_result_marked_as_an_error_reports_failure(mark: bytes) -> None:
    assert not reports_failure(frame(line(b'"result":' + mark)).message)


@pytest.mark.parametrize("template", AMENDED)
def test_an_answer_grows_to_the_cap_and_not_beyond(template: bytes) -> None:
    size = len(goes(template)) - 1
    assert amend(came(template), DENIED, size) == goes(template)
    assert amend(came(template), DENIED, size - 1) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("`é.example:443` — denied", "`é.example:443` — denied", id="plain"),
        pytest.param(
            "a\x1b[2Jb\nc\u202ed\udc80", "a\ufffd[2Jb\ufffdc\ufffdd\ufffd", id="controls, surrogates"
        ),
        pytest.param("x" * 10_000, "x" * MAX_TEXT_CHARS, id="long"),
    ],
)
def test_a_text_is_made_printable_and_short(text: str, shown: str) -> None:
    assert printable(text) == shown


# --- any answer ------------------------------------------------------------------------------------

NUMBERS = st.sampled_from("0 -0 -0.0 1.0 0.1000 1E5 1e-400 5e-324 18446744073709551616".split())
BLANK = st.sampled_from(["", "", "", " ", "\t", "  "])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.sampled_from(["data", "content", "error", "message", "mcpSandbox", "isError", 'a"', "b\\"]) | TEXTS


@st.composite
def spelled(draw: st.DrawFn, value: str) -> str:
    """A string as JSON, escaped or not."""
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


@st.composite
def joined(draw: st.DrawFn, brackets: str, items: list[str]) -> str:
    """A list or an object with blanks wherever they may stand."""
    inner = ",".join(draw(BLANK) + item + draw(BLANK) for item in items) or draw(BLANK)
    return brackets[0] + inner + brackets[1]


@st.composite
def objects(draw: st.DrawFn, known: dict[str, st.SearchStrategy[str]]) -> str:
    """An object with members of `known` and others, in any order, each name once."""
    names = draw(st.lists(NAMES.filter(lambda name: name not in known), max_size=3, unique=True))
    members = {name: draw(VALUES) for name in names} | {name: draw(value) for name, value in known.items()}
    order = draw(st.permutations(list(members)))
    pairs = [draw(spelled(name)) + draw(BLANK) + ":" + draw(BLANK) + members[name] for name in order]
    return draw(joined("{}", pairs))


LEAVES = NUMBERS | st.sampled_from(["null", "true", "false"]) | TEXTS.flatmap(spelled)
VALUES: st.SearchStrategy[str] = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3).flatmap(lambda items: joined("[]", items))
        | st.dictionaries(NAMES, inner, max_size=3).flatmap(
            lambda members: joined("{}", [f"{json.dumps(name)}:{value}" for name, value in members.items()])
        )
    ),
    max_leaves=6,
)
ERROR = {"code": st.integers().map(str), "message": TEXTS.flatmap(spelled)}
DATA = VALUES | objects({}) | objects({"mcpSandbox": VALUES})
ERRORS = objects(ERROR) | objects(ERROR | {"data": DATA})
RESULTS = objects({"isError": st.just("true"), "content": VALUES})
ENVELOPE = {"jsonrpc": st.just('"2.0"'), "id": st.just("1")}


@st.composite
def failures(draw: st.DrawFn) -> bytes:
    """The answer to a failed call, however it is spelled."""
    body = {"error": ERRORS} if draw(st.booleans()) else {"result": RESULTS}
    absent = {"error", "result", "method"} - set(body)
    text = draw(objects(ENVELOPE | body).filter(lambda text: not absent & set(dict(parse(text)))))
    return (draw(BLANK) + text + "\n").encode()


class Text(str):
    """A number as it is spelled, which no string equals."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return type(other) is Text and str(self) == str(other)


Members = list[tuple[str, Any]]


def parse(text: str | bytes) -> Any:
    """All of a JSON text: the order of members as well, and how numbers are spelled."""
    return json.loads(text, object_pairs_hook=Pairs, parse_int=Text, parse_float=Text)


class Pairs(Members):
    """An object: unlike a list of pairs, and equal only with its order."""

    def __eq__(self, other: object) -> bool:
        return type(other) is Pairs and list(self) == list(other)


def expected(message: Pairs) -> Pairs | None:
    """The reference: what `amend` promises, on parsed values."""
    members = dict(message)
    where = "error" if "error" in members else "result"
    changed = _error(members[where]) if where == "error" else _result(members[where])
    return None if changed is None else _with(message, where, changed)


def _with(pairs: Pairs, name: str, value: Any) -> Pairs:
    return Pairs((key, value if key == name else old) for key, old in pairs)


def _error(error: Pairs) -> Pairs:
    members = dict(error)
    ours = ("mcpSandbox", Pairs([("denied", list(DENIED))]))
    told = _with(error, "message", members["message"] + f" (mcp-sandbox: {'; '.join(DENIED)})")
    if "data" not in members:
        return Pairs([*told, ("data", Pairs([ours]))])
    if type(members["data"]) is Pairs and "mcpSandbox" not in dict(members["data"]):
        return _with(told, "data", Pairs([*members["data"], ours]))
    return told


def _result(result: Pairs) -> Pairs | None:
    content = dict(result)["content"]
    if type(content) is not list:
        return None
    item = Pairs([("type", "text"), ("text", "mcp-sandbox: " + "\n".join(DENIED))])
    return _with(result, "content", [*content, item])


@given(failures())
def test_amending_changes_the_intended_place_and_nothing_else(data: bytes) -> None:
    answer = frame(data)
    assert reports_failure(answer.message)
    amended = amend(answer.data, DENIED, CAP)
    wanted = expected(parse(data))
    assert (None if amended is None else parse(amended)) == wanted
