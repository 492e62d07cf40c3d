"""What becomes of messages that carry credentials, each way and in each mode."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inspect.judged import Asked, Judged
from sandbox.inspect.secrets import MOST_TOLD, Secrets
from sandbox.verdict import Action
from sandbox.wire.jsonrpc import Frame, FrameReader
from sandbox.wire.splice import splice
from tests.inspect.secret_values import GITHUB, KEY, MAKING, OWN, STRIPE, TAG, frame, inspector, redaction

CALL = Asked("tools/call", "t")


def answer(*texts: str, **more: Any) -> dict[str, Any]:
    return {"id": 1, "result": {"content": [{"type": "text", "text": text} for text in texts], **more}}


def call(tool: str = "t", **arguments: Any) -> dict[str, Any]:
    return {"id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


def after(judged: Judged | None, message: Frame) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(splice(message.data, judged.edits if judged else ()))
    return made


def heard(
    message: dict[str, Any], secrets: Secrets | None = None, asked: Asked | None = CALL
) -> dict[str, Any]:
    """What the client hears of a message of the server's."""
    made = frame(message)
    judged = (secrets or inspector()).to_client(made, asked)
    assert judged is None or judged.verdict.action in (Action.REDACT, Action.ALLOW)
    return after(judged, made)


def rules(judged: Judged | None) -> list[str]:
    return [finding.rule for finding in judged.findings] if judged else []


# --- towards the client --------------------------------------------------------------------------------

PLACES = {
    "a result's text": answer(f"it is {GITHUB}."),
    "a result's text, the session's own": answer(f"it is {OWN}."),
    "structured content": answer("x", structuredContent={"deep": [{"a": GITHUB}]}),
    "a name in structured content": answer("x", structuredContent={"deep": {GITHUB: 1}}),
    "a result's _meta": answer("x", _meta={"note": STRIPE}),
    "a resource's text": {"id": 1, "result": {"contents": [{"uri": "a:b", "text": KEY}]}},
    "a resource's blob": {
        "id": 1,
        "result": {
            "contents": [{"uri": "a:b", "blob": base64.b64encode(f"key {GITHUB} end".encode()).decode()}]
        },
    },
    "a prompt": {
        "id": 1,
        "result": {"messages": [{"role": "user", "content": {"type": "text", "text": GITHUB}}]},
    },
    "a tool's description": {"id": 1, "result": {"tools": [{"name": "t", "description": f"use {GITHUB}"}]}},
    "an error's message": {"id": 1, "error": {"code": -1, "message": f"denied for {GITHUB}"}},
    "an error's data": {"id": 1, "error": {"code": -1, "message": "no", "data": {"env": {"TOKEN": OWN}}}},
    "a log message": {"method": "notifications/message", "params": {"level": "info", "data": f"as {OWN}"}},
    "progress": {
        "method": "notifications/progress",
        "params": {"progressToken": 1, "progress": 1, "message": OWN},
    },
    "an elicitation": {"id": 9, "method": "elicitation/create", "params": {"message": f"is {GITHUB} right?"}},
    "a sampling": {
        "id": 9,
        "method": "sampling/createMessage",
        "params": {"messages": [{"role": "user", "content": {"type": "text", "text": OWN}}], "maxTokens": 1},
    },
    "a completion": {"id": 1, "result": {"completion": {"values": [OWN, "b"]}}},
    "a cursor": {"id": 1, "result": {"tools": [], "nextCursor": base64.b64encode(OWN.encode()).decode()}},
    "a name of an argument": {
        "id": 1,
        "result": {"prompts": [{"name": "p", "arguments": [{"name": GITHUB}]}]},
    },
}


@pytest.mark.parametrize("where", PLACES)
def test_no_secret_reaches_the_client(where: str) -> None:
    said = json.dumps(heard(PLACES[where]))
    assert GITHUB not in said
    assert OWN not in said
    assert STRIPE not in said
    assert KEY.splitlines()[1] not in said


@pytest.mark.parametrize("where", PLACES)
def test_the_same_reaches_it_where_nobody_looks(where: str) -> None:
    """The attack works without the inspector: what it takes out was there."""
    said = json.dumps(PLACES[where])
    plain = any(secret in said for secret in (GITHUB, OWN, STRIPE, KEY.splitlines()[1]))
    assert plain or "blob" in where or "cursor" in where


@pytest.mark.parametrize("where", PLACES)
def test_what_is_told_holds_no_secret(where: str) -> None:
    judged = inspector().to_client(frame(PLACES[where]), CALL)
    assert judged is not None
    for finding in judged.findings:
        assert finding.rule.startswith("secrets.")
        told = f"{finding.rule} {finding.place} {finding.reason} {finding.shown}"
        assert not any(secret in told for secret in (GITHUB, OWN, STRIPE))
        assert not finding.shown


@pytest.mark.parametrize("where", PLACES)
def test_block_keeps_the_message_back_and_log_lets_it_pass(where: str) -> None:
    blocked = inspector("block").to_client(frame(PLACES[where]), CALL)
    assert blocked is not None
    assert blocked.verdict.action is Action.DENY
    logged = inspector("log").to_client(frame(PLACES[where]), CALL)
    assert logged is not None
    assert (logged.verdict.action, logged.edits) == (Action.ALLOW, ())


def test_a_secret_as_the_name_of_a_request_stops_it() -> None:
    judged = inspector().to_client(frame({"id": GITHUB, "method": "roots/list", "params": {}}), None)
    assert judged is not None
    assert judged.verdict.action is Action.DENY
    assert GITHUB not in str(judged)


def test_a_result_says_itself_what_was_taken_out() -> None:
    said = heard(answer(GITHUB, _meta={"a": 1}))
    assert said["result"]["_meta"] == {"a": 1, "mcp-sandbox/redacted": ["github-token"]}
    assert heard(answer(GITHUB))["result"]["_meta"] == {"mcp-sandbox/redacted": ["github-token"]}


def test_other_bytes_stay_as_they_were() -> None:
    line = b'{"jsonrpc":"2.0","id":1,"result":{"n":1E5, "content":[{"text":"%s"}] ,"z":"\\u00e9"}}\n'
    made = FrameReader(1 << 20).feed(line % GITHUB.encode())[0]
    assert isinstance(made, Frame)
    judged = inspector().to_client(made, None)
    assert judged is not None
    assert b'"n":1E5,' in splice(made.data, judged.edits)
    assert b'"z":"\\u00e9"' in splice(made.data, judged.edits)


def test_a_value_is_known_by_the_name_it_has() -> None:
    said = heard(
        answer("x", structuredContent={"db": {"password": "xK9vT2mQ8zR4wL"}, "id": "xK9vT2mQ8zR4wM"})
    )
    assert said["result"]["structuredContent"]["db"]["password"].startswith("REDACTED_assignment_")
    assert said["result"]["structuredContent"]["id"] == "xK9vT2mQ8zR4wM"


@pytest.mark.parametrize(
    "between", ["\n", "\t", "\r\n", " ", "=", '"', "\\n", "%20", "%3D", "\u00a0", "é", "\x1b[32m"]
)
@pytest.mark.parametrize("secret", [GITHUB, OWN, STRIPE, MAKING.example("AKIA{k16}")])
def test_whatever_stands_before_a_secret(between: str, secret: str) -> None:
    assert secret not in json.dumps(heard(answer(f"it is{between}{secret}{between}end")))


@pytest.mark.parametrize("between", ["\n", " ", "\t", "-"])
def test_the_sessions_own_one_letter_a_line(between: str) -> None:
    said = heard(answer(between.join(OWN)))
    assert said["result"]["content"][0]["text"].startswith("REDACTED_")


HONEST = {
    "an answer": answer("The file has 12 lines."),
    "tokens that are counted": answer("12 tokens", structuredContent={"tokens": 12, "token": "word"}),
    "a schema with a password": {
        "id": 1,
        "result": {"tools": [{"name": "t", "inputSchema": {"properties": {"password": {"type": "string"}}}}]},
    },
    "a progress token": {
        "method": "notifications/progress",
        "params": {"progressToken": "xK9vT2mQ8zR4wLaaa1", "progress": 1},
    },
    "a cursor": {
        "id": 1,
        "result": {
            "tools": [],
            "nextCursor": "eyJhbGciOiJIUzI1NiJ9.eyJwYWdlIjoyfQ.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw",
        },
    },
    "a picture": answer("x", more=base64.b64encode(bytes(range(256)) * 30).decode()),
    "hashes": answer("sha256:" + "9f86d081884c7d65" * 4),
}


@pytest.mark.parametrize("what", HONEST)
def test_honest_messages_pass_as_they_are(what: str) -> None:
    assert inspector().to_client(frame(HONEST[what]), CALL) is None


def test_many_kinds_are_told_in_few_findings() -> None:
    texts = [MAKING.example(rule.example) for rule in redaction().rules.rules if rule.group == "token"]
    judged = inspector().to_client(frame(answer(" ; ".join(texts))), CALL)
    assert judged is not None
    assert len(judged.findings) == MOST_TOLD + 1
    assert judged.findings[-1].rule == "secrets.more"


# --- cut apart --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [6, 12, 20, 30])
@pytest.mark.parametrize("secret", [GITHUB, OWN])
def test_a_secret_over_the_parts_of_a_result(secret: str, cut: int) -> None:
    said = heard(answer(secret[:cut], secret[cut:]))
    left = "".join(part["text"] for part in said["result"]["content"])
    assert secret[:cut] not in left
    assert secret[cut:] not in left


@pytest.mark.parametrize(
    "how", [lambda text: text, lambda text: text[::-1], lambda text: text.encode().hex()]
)
def test_the_sessions_own_over_many_parts(how: Any) -> None:
    spelt = how(OWN)
    said = heard(answer(*(spelt[at : at + 5] for at in range(0, len(spelt), 5))))
    assert spelt not in "".join(part["text"] for part in said["result"]["content"])


def test_the_sessions_own_over_other_texts_of_a_message() -> None:
    said = heard(answer("x", structuredContent={"a": [OWN[:14], OWN[14:28], OWN[28:]]}))
    assert OWN[14:28] not in json.dumps(said)


def test_a_secret_over_messages_loses_its_rest() -> None:
    secrets = inspector()
    logs = [OWN[at : at + 8] for at in range(0, len(OWN), 8)]
    said = [
        heard({"method": "notifications/message", "params": {"level": "info", "data": log}}, secrets)[
            "params"
        ]["data"]
        for log in logs
    ]
    assert said[0] == logs[0]  # nothing tells it from any other word
    assert said[3:] != logs[3:]
    assert not any(a == b for a, b in zip(said[3:], logs[3:], strict=True))


def test_a_token_over_two_messages_loses_its_rest() -> None:
    secrets = inspector()
    first = heard({"method": "notifications/message", "params": {"data": f"uses {GITHUB[:20]}"}}, secrets)
    rest = heard({"method": "notifications/message", "params": {"data": f"{GITHUB[20:]} ok"}}, secrets)
    assert first["params"]["data"] == f"uses {GITHUB[:20]}"
    assert GITHUB[20:] not in rest["params"]["data"]


def test_what_was_taken_out_is_not_found_again_with_the_next_message() -> None:
    secrets = inspector()
    assert "REDACTED" in json.dumps(heard(answer(f"is {GITHUB}"), secrets))
    assert heard(answer("and so on"), secrets) == {"jsonrpc": "2.0", **answer("and so on")}


# --- towards the server -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "action"),
    [
        pytest.param(call(note=f"by the way: {GITHUB}"), Action.DENY, id="a token in a text"),
        pytest.param(call(note=KEY), Action.DENY, id="a private key in a text"),
        pytest.param(call(x=[base64.b64encode(GITHUB.encode()).decode()]), Action.DENY, id="in base64"),
        pytest.param(call(github_token=GITHUB), Action.ALLOW, id="under a name that asks for one"),
        pytest.param(call(headers={"x": GITHUB}), Action.ALLOW, id="among headers"),
        pytest.param(call(url="postgres://u:xK9vT2mQ8z@h/d"), Action.ALLOW, id="a connection string"),
        pytest.param(call(author=GITHUB), Action.DENY, id="an author is no authorisation"),
        pytest.param(
            {"id": 1, "method": "prompts/get", "params": {"name": "p", "arguments": {"a": GITHUB}}},
            Action.DENY,
            id="a prompt's argument",
        ),
        pytest.param(
            {"id": 1, "method": "resources/read", "params": {"uri": f"x:{GITHUB}"}},
            Action.ALLOW,
            id="an address",
        ),
        pytest.param(
            {"id": 1, "result": {"content": {"type": "text", "text": GITHUB}}},
            Action.ALLOW,
            id="an answer of the client's",
        ),
    ],
)
def test_credentials_in_what_the_client_says(message: dict[str, Any], action: Action) -> None:
    judged = inspector().to_server(frame(message))
    assert judged is not None
    assert judged.verdict.action is action
    assert judged.edits == ()
    assert all(GITHUB not in f"{one.place}{one.reason}" for one in judged.findings)


def test_in_log_mode_a_call_passes() -> None:
    judged = inspector("log").to_server(frame(call(note=GITHUB)))
    assert judged is not None
    assert judged.verdict.action is Action.ALLOW


def test_the_server_may_get_what_was_granted_to_it() -> None:
    assert inspector().to_server(frame(call(password=OWN, note=f"use {OWN}"))) is None


def test_a_decoy_in_a_call_is_denied() -> None:
    secrets = Secrets("redact", redaction({}), redaction({"~/.aws/credentials": OWN}))
    judged = secrets.to_server(frame(call(note=base64.b64encode(OWN.encode()).decode())))
    assert rules(judged) == ["secrets.decoy"]
    assert secrets.to_server(frame(call(note="hello"))) is None


# --- what comes back -------------------------------------------------------------------------------------


def mark_of(secrets: Secrets, message: dict[str, Any]) -> str:
    said = json.dumps(heard(message, secrets))
    at = said.index("REDACTED_")
    return said[at : said.index('"', at)].split()[0].rstrip(".")


def test_a_mark_in_an_address_becomes_the_secret_again() -> None:
    secrets = inspector()
    mark = mark_of(secrets, {"id": 1, "result": {"resources": [{"uri": f"x://{GITHUB}", "name": "n"}]}})
    reads = frame(
        {"id": 2, "method": "resources/read", "params": {"uri": f"x://{mark}".replace("x://x://", "x://")}}
    )
    judged = secrets.to_server(reads)
    assert rules(judged) == ["secrets.restored"]
    assert after(judged, reads)["params"]["uri"] == f"x://{GITHUB}"
    assert GITHUB not in str(judged.findings if judged else "")


def test_a_cursor_comes_back_as_it_was() -> None:
    secrets = inspector()
    cursor = f"page-2-{OWN}"
    given = heard({"id": 1, "result": {"tools": [], "nextCursor": cursor}}, secrets)["result"]["nextCursor"]
    assert OWN not in given
    asks = frame({"id": 2, "method": "tools/list", "params": {"cursor": given}})
    assert after(secrets.to_server(asks), asks)["params"]["cursor"] == cursor


def test_a_token_that_a_tool_gives_out_goes_back_to_the_next() -> None:
    secrets = inspector()
    said = heard(answer("x", structuredContent={"session_token": "xK9vT2mQ8zR4wL"}), secrets)
    token = said["result"]["structuredContent"]["session_token"]
    calls = frame(call(session=token))
    assert after(secrets.to_server(calls), calls)["params"]["arguments"]["session"] == "xK9vT2mQ8zR4wL"


def test_a_mark_is_not_written_in_place_of_the_secret() -> None:
    secrets = inspector()
    mark = mark_of(secrets, answer(f"key={GITHUB}."))
    assert rules(secrets.to_server(frame(call(path="a", content=f"key={mark}")))) == ["secrets.mark"]
    assert rules(secrets.to_server(frame(call(url=mark)))) == ["secrets.mark"]


def test_a_mark_of_no_session_is_a_word() -> None:
    assert inspector().to_server(frame(call(a="REDACTED_x_0000_1 and REDACTED_"))) is None
    assert TAG != "0000"


# --- whatever comes --------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=30)
    | st.sampled_from([GITHUB, OWN]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5))
def test_whatever_a_server_says_no_secret_is_left(result: dict[str, Any]) -> None:
    said = json.dumps(heard({"id": 1, "result": result}))
    assert GITHUB not in said
    assert OWN not in said


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5))
def test_whatever_a_client_says_is_judged(arguments: dict[str, Any]) -> None:
    judged = inspector().to_server(frame(call(**{"a": arguments})))
    if GITHUB in json.dumps(arguments):
        assert judged is not None


# --- what an attacker tried -----------------------------------------------------------------------------

AKIA = MAKING.example("AKIA{k16}")


@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"method": f"notifications/{GITHUB}", "params": {}}, id="a method"),
        pytest.param({"id": OWN, "method": "ping"}, id="an id"),
        pytest.param({"id": 1, "result": {}, GITHUB: 1}, id="the name of a member that no revision has"),
    ],
)
def test_what_cannot_be_changed_is_kept_back(message: dict[str, Any]) -> None:
    judged = inspector().to_client(frame(message), None)
    assert judged is not None
    assert judged.verdict.action is Action.DENY
    assert GITHUB not in str(judged)
    assert OWN not in str(judged)


def test_a_member_that_no_revision_has_is_looked_at() -> None:
    assert GITHUB not in json.dumps(heard({"id": 1, "result": {}, "more": {"a": GITHUB}}, asked=None))


@pytest.mark.parametrize("glue", ["n_", "token_", "x", "9", "REDACTED_a_9f3c_1"])
@pytest.mark.parametrize("secret", [GITHUB, STRIPE, AKIA])
def test_nothing_glued_before_it_hides_a_token(glue: str, secret: str) -> None:
    assert secret not in json.dumps(heard(answer(f"is {glue}{secret} ")))


def test_credentials_in_names_of_arguments() -> None:
    judged = inspector().to_server(frame(call(a={GITHUB: 1})))
    assert judged is not None
    assert judged.verdict.action is Action.DENY
    assert GITHUB not in str(judged)


def test_a_card_as_a_number() -> None:
    said = heard(answer("x", structuredContent={"card_number": 4111111111111111, "rows": 4111111111111111}))
    assert str(said["result"]["structuredContent"]["card_number"]).startswith("REDACTED_card-number_")
    assert said["result"]["structuredContent"]["rows"] == 4111111111111111


def test_many_names_are_written_anew_once() -> None:
    import time

    names = {f"{MAKING.example('ghp_{w36}')}": {"a": 1} for _ in range(3000)}
    began = time.process_time()
    said = heard(answer("x", structuredContent=names))
    assert time.process_time() - began < 5.0
    assert "ghp_" not in json.dumps(said)


@pytest.mark.parametrize(
    "spelt",
    [
        pytest.param(GITHUB, id="plain"),
        pytest.param(OWN, id="the session's own"),
        pytest.param(base64.b64encode(f" {GITHUB}".encode()).decode(), id="base64"),
        pytest.param(GITHUB[::-1], id="reversed"),
        pytest.param("".join(f"%{byte:02x}" for byte in GITHUB.encode()), id="URL"),
    ],
)
def test_however_many_there_are_none_is_left(spelt: str) -> None:
    """Beyond the bounds of what is looked at, nothing passes."""
    assert spelt not in json.dumps(heard(answer(f"{spelt} " * 12_000)))


# --- a look ahead of the other inspectors ----------------------------------------------------------------

SPELT = st.sampled_from(
    [GITHUB, STRIPE, KEY, OWN, base64.b64encode(f" {GITHUB}".encode()).decode(), GITHUB[::-1], "a word\n"]
)


@given(st.lists(st.lists(SPELT, max_size=3), min_size=1, max_size=4), st.sets(st.integers(0, 3)))
def test_a_look_ahead_finds_what_a_look_in_turn_does(said: list[list[str]], ahead: set[int]) -> None:
    """Of several messages in a row, of which some were begun."""
    usual, early = inspector(), inspector()
    for at, texts in enumerate(said):
        message = frame(answer(*texts))
        if at in ahead:
            early.ahead(message)
        assert early.to_client(message, CALL) == usual.to_client(message, CALL)


@given(SPELT, SPELT)
def test_of_a_message_that_another_was_made_of_nothing_is_taken_over(before: str, after: str) -> None:
    usual, early = inspector(), inspector()
    early.ahead(frame(answer(before)))
    message = frame(answer(after))
    assert early.to_client(message, CALL) == usual.to_client(message, CALL)
