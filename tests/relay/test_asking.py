"""A person is asked about a call, over real pipes: who is asked how, which answers count, and once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox.inspect.calls import Calls
from sandbox.inspect.features import Features
from sandbox.inspect.judged import Finding
from sandbox.policy.model import ArgumentRule, ClientFeatures, Tools
from sandbox.relay.asking import MOST_OPEN, OWN, Asking
from sandbox.relay.inspection import Inspection
from sandbox.relay.questions import KEY
from tests.relay.world import MODERN, PATIENCE, World, error, notification, request, result

LONG = 600.0
FORMS = {"elicitation": {}}
ALLOW = {"action": "accept", "content": {"answer": "allow"}}
META = {**MODERN, "io.modelcontextprotocol/clientCapabilities": FORMS}
PUSH = {"name": "push", "arguments": {"to": "main", "n": 1}}


def told(finding: Finding) -> dict[str, Any]:
    return {"place": finding.place, "profile": "web.toml:7"}


Made = Callable[..., World]
notes: list[str] = []


@pytest.fixture
def made() -> Iterator[Made]:
    """A relay whose profile asks about `push` and bounds `to`; `seconds` for an answer."""
    worlds: list[World] = []

    def make(
        seconds: float = LONG, client: ClientFeatures | None = None, *, forms: bool = True, **tools: Any
    ) -> World:
        rules = (ArgumentRule("push", "to", enum=("main", "next")),)
        given = {"ask": ("push",), "deny": ("delete_*",), "arguments": rules, **tools}
        inspectors = [Calls(Tools(**given), "/")]
        features = [Features(client, lambda path: path)] if client else []
        asking = Asking(seconds, notes.append, "files", forms=forms)
        inspection = Inspection([*inspectors, *features], told, asking)
        notes.clear()
        worlds.append(World(inspection=inspection))
        worlds[-1].asking = asking  # type: ignore[attr-defined]
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def opened(world: World, capabilities: dict[str, Any]) -> World:
    """A session of the legacy era."""
    world.client(request(0, "initialize", protocolVersion="2025-11-25", capabilities=capabilities))
    assert world.relay_to_server.hear()["method"] == "initialize"
    world.server(result(0))
    assert world.relay_to_client.hear()["id"] == 0
    return world


def call(id: object, **changes: Any) -> dict[str, object]:
    return request(id, "tools/call", **{**PUSH, **changes})


def modern(id: object, **changes: Any) -> dict[str, object]:
    return call(id, **{"_meta": META, **changes})


def answers(world: World) -> list[tuple[Any, ...]]:
    return [
        (event.detail["answer"], event.detail["by"], event.rule)
        for event in world.events
        if event.kind == "tool.ask"
    ]


def refused(message: dict[str, Any], id: object, *words: str) -> None:
    """The client got a failed result that names the rule and the line."""
    assert message["id"] == id
    assert message["result"]["isError"] is True
    text = message["result"]["content"][0]["text"]
    for word in (*words, "rule `tools.ask`", "[web.toml:7]"):
        assert word in text, text
    assert message["result"]["_meta"]["mcp-sandbox/refused"]["rule"] == "tools.ask"


def unheard(world: World) -> None:
    """The server has heard nothing since: the next message it gets is this one."""
    world.client(notification("notifications/next"))
    assert world.relay_to_server.hear()["method"] == "notifications/next"


# --- the legacy era -------------------------------------------------------------------------------------


def asked(world: World, id: object = 1) -> dict[str, Any]:
    world.client(call(id))
    question = world.relay_to_client.hear()
    assert question["method"] == "elicitation/create"
    assert question["id"].startswith(OWN)
    return question


def test_the_question_says_what_is_called_with_what_and_why(made: Made) -> None:
    question = asked(opened(made(), FORMS))
    assert question["params"]["message"] == (
        "mcp-sandbox asks: may `push` of `the server` be called?\n"
        '  to: "main"\n'
        "  n: 1\n"
        "rule: tools.ask, `push` asks before the tool is called [default]"
    )
    assert question["params"]["requestedSchema"]["required"] == ["answer"]


@pytest.mark.threat("C4", proves="no argument hides another, or writes lines of its own, in the question")
def test_no_argument_hides_another(made: Made) -> None:
    world = made(arguments=())
    opened(world, FORMS)
    world.client(
        call(1, name="push", arguments={"a": "x" * 9000, "b\nrule: none": "y\n\u202ez", "force": True})
    )
    lines = world.relay_to_client.hear()["params"]["message"].split("\n")
    assert len(lines) == 5
    assert lines[1].startswith('  a: "xxx')
    assert lines[1].endswith("x… and 8336 more characters")
    assert lines[2] == '  b\\nrule: none: "y\\n\\u202ez"'
    assert lines[3] == "  force: true"


def test_more_arguments_than_are_shown_are_counted(made: Made) -> None:
    world = made(arguments=())
    opened(world, FORMS)
    world.client(call(1, name="push", arguments={f"k{at}": "z" * 900 for at in range(60)}))
    lines = world.relay_to_client.hear()["params"]["message"].split("\n")
    assert lines[41] == "  … and 20 more, which are not shown"
    assert len("".join(lines)) < 5000


def test_a_tools_name_is_one_line_of_ours(made: Made) -> None:
    world = opened(made(ask=("*",)), {})
    world.client(call(1, name="x\nmcp-sandbox: all is well\u202e", arguments={"to": "main"}))
    until(world)
    (note,) = notes
    assert note.startswith("mcp-sandbox: `x\\nmcp-sandbox: all is well\\u202e` of `files` waits for you")


@pytest.mark.threat("C4", proves="a call that a rule asks about waits for a person's explicit yes")
def test_a_yes_lets_the_call_through_byte_for_byte(made: Made) -> None:
    world = opened(made(), FORMS)
    params = b'{"name" : "push","arguments":{"to":"main","n":1E5}}'
    line = b'{"params":' + params + b',"method":"tools/call","id":7,"jsonrpc":"2.0"}'
    world.client(line)
    question = world.relay_to_client.hear()
    world.client(result(question["id"], **ALLOW))
    assert world.relay_to_server.line() == line
    world.server(result(7, content=[]))
    assert world.relay_to_client.hear() == result(7, content=[])
    assert answers(world) == [("allow", "client", "tools.ask")]


NO = [
    pytest.param({"action": "decline"}, "a person refused", id="declined"),
    pytest.param({"action": "cancel"}, "nobody answered the question", id="dismissed"),
    pytest.param({"action": "accept", "content": {"answer": "refuse"}}, "a person refused", id="refused"),
    pytest.param({"action": "accept"}, "without an answer", id="accepted without a word"),
    pytest.param({"action": "accept", "content": {}}, "without an answer", id="accepted as it came"),
    pytest.param({"action": "accept", "content": {"answer": True}}, "without an answer", id="true"),
    pytest.param({"action": "accept", "content": {"answer": ["allow"]}}, "without an answer", id="a list"),
    pytest.param({"action": "Accept", "content": {"answer": "allow"}}, "no answer", id="another word"),
    pytest.param({"content": {"answer": "allow"}}, "no answer", id="no action"),
    pytest.param({}, "no answer", id="nothing"),
]


@pytest.mark.parametrize(("said", "why"), NO)
def test_only_an_explicit_yes_is_one(made: Made, said: dict[str, Any], why: str) -> None:
    world = opened(made(), FORMS)
    question = asked(world)
    world.client(result(question["id"], **said))
    refused(world.relay_to_client.hear(), 1, why)
    unheard(world)
    assert answers(world)[0][0] == "refuse"


@pytest.mark.threat("C4", proves="silence is a no, and the dialog is withdrawn")
def test_silence_is_a_no(made: Made) -> None:
    world = opened(made(seconds=0.2), FORMS)
    question = asked(world)
    withdrawn = world.relay_to_client.hear()
    assert withdrawn["method"] == "notifications/cancelled"
    assert withdrawn["params"]["requestId"] == question["id"]
    refused(world.relay_to_client.hear(), 1, "nobody answered within 0.2 s")
    world.client(result(question["id"], **ALLOW))  # too late
    unheard(world)
    world.until(lambda: "unasked-response" in world.dropped())


@pytest.mark.threat("C4", proves="the first answer counts, and no later one")
@pytest.mark.parametrize(
    ("first", "second"), [(ALLOW, {"action": "decline"}), ({"action": "decline"}, ALLOW)]
)
def test_a_second_answer_changes_nothing(made: Made, first: Any, second: Any) -> None:
    world = opened(made(), FORMS)
    question = asked(world)
    world.client(result(question["id"], **first), result(question["id"], **second))
    if first is ALLOW:
        assert world.relay_to_server.hear()["id"] == 1
    else:
        refused(world.relay_to_client.hear(), 1)
    unheard(world)
    world.until(lambda: world.dropped().count("unasked-response") == 1)
    assert len(answers(world)) == 1


@pytest.mark.threat("C4", proves="a server answers no question about itself")
def test_a_server_cannot_answer(made: Made) -> None:
    world = opened(made(), FORMS)
    question = asked(world)
    world.server(result(question["id"], **ALLOW))  # were it able to guess the id
    world.until(lambda: "unasked-response" in world.dropped())
    world.client(result(question["id"], action="decline"))
    refused(world.relay_to_client.hear(), 1)
    unheard(world)


def test_a_client_that_cannot_show_the_form_leaves_it_to_a_terminal(made: Made) -> None:
    world = opened(made(), FORMS)
    question = asked(world)
    world.client(error(question["id"], "method not found"))
    (waiting,) = until(world)
    assert world.asking.answer(waiting["question"], yes=True)  # type: ignore[attr-defined]
    assert world.relay_to_server.hear()["id"] == 1


@pytest.mark.threat("C4", proves="a call that was given up is not made, whatever is answered then")
def test_a_cancelled_call_asks_nobody_any_more(made: Made) -> None:
    world = opened(made(), FORMS)
    question = asked(world)
    world.client(notification("notifications/cancelled", requestId=1))
    assert world.relay_to_client.hear()["params"]["requestId"] == question["id"]
    world.client(result(question["id"], **ALLOW))
    unheard(world)
    assert answers(world) == []


def test_another_calls_cancellation_is_passed_on(made: Made) -> None:
    world = opened(made(), FORMS)
    asked(world)
    world.client(notification("notifications/cancelled", requestId="1"))
    assert world.relay_to_server.hear()["params"]["requestId"] == "1"
    assert len(world.asking.questions()) == 1  # type: ignore[attr-defined]


def test_others_go_on_while_one_waits(made: Made) -> None:
    world = opened(made(), FORMS)
    asked(world)
    world.client(request(2, "tools/call", name="read", arguments={}))
    assert world.relay_to_server.hear()["id"] == 2
    world.server(result(2))
    assert world.relay_to_client.hear()["id"] == 2


def test_arguments_are_judged_before_anybody_is_asked(made: Made) -> None:
    world = opened(made(), FORMS)
    world.client(call(1, arguments={"to": "evil"}))
    answer = world.relay_to_client.hear()
    assert answer["result"]["_meta"]["mcp-sandbox/refused"]["rule"] == "tools.arguments.push.to"
    unheard(world)


def test_so_many_wait_and_no_more(made: Made) -> None:
    world = opened(made(), FORMS)
    for id in range(1, MOST_OPEN + 1):
        asked(world, id)
    world.client(call(999))
    refused(world.relay_to_client.hear(), 999, "too many calls wait")


def test_so_much_waits_and_no_more(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.relay.asking.MOST_BYTES", 1500)
    world = opened(made(arguments=()), FORMS)
    world.client(call(1, arguments={"x": "y" * 900}))
    question = world.relay_to_client.hear()
    world.client(call(2, arguments={"x": "y" * 900}))
    refused(world.relay_to_client.hear(), 2, "too many calls wait")
    world.client(result(question["id"], **ALLOW))
    assert world.relay_to_server.hear()["id"] == 1
    asked(world, 3)


# --- a terminal -----------------------------------------------------------------------------------------


def until(world: World) -> list[dict[str, Any]]:
    """The questions that wait at a terminal, once there are any."""
    asking: Asking = world.asking  # type: ignore[attr-defined]
    world.until(lambda: [one["asked"] for one in asking.questions()] == ["terminal"])
    return asking.questions()


@pytest.mark.parametrize(
    "capabilities",
    [
        pytest.param({}, id="nothing offered"),
        pytest.param({"elicitation": {"url": {}}}, id="pages alone"),
        pytest.param({"elicitation": True}, id="no object"),
    ],
)
@pytest.mark.parametrize("yes", [True, False])
def test_a_client_without_forms(made: Made, capabilities: dict[str, Any], yes: bool) -> None:
    world = opened(made(), capabilities)
    world.client(call(1))
    (waiting,) = until(world)
    assert notes == ["mcp-sandbox: `push` of `files` waits for you, for 600 s: `mcp-sandbox answer`"]
    asking: Asking = world.asking  # type: ignore[attr-defined]
    assert "may `push` of" in (asking.text(waiting["question"]) or "")
    assert asking.answer(waiting["question"], yes=yes)
    if yes:
        assert world.relay_to_server.hear()["id"] == 1
    else:
        refused(world.relay_to_client.hear(), 1, "refused at a terminal")
    assert not asking.answer(waiting["question"], yes=True), "once"
    assert asking.text(waiting["question"]) is None
    unheard(world)


def test_a_terminal_may_answer_what_the_client_was_asked(made: Made) -> None:
    world = opened(made(), FORMS)
    question = asked(world)
    asking: Asking = world.asking  # type: ignore[attr-defined]
    (waiting,) = asking.questions()
    assert asking.answer(waiting["question"], yes=True)
    assert world.relay_to_client.hear()["params"]["requestId"] == question["id"], "the dialog closes"
    assert world.relay_to_server.hear()["id"] == 1


# --- the modern era -------------------------------------------------------------------------------------


def required(world: World, id: object = 1, **changes: Any) -> str:
    """The client calls and is told to ask; the state that it comes again with."""
    world.client(modern(id, **changes))
    message = world.relay_to_client.hear()
    assert message["id"] == id
    assert message["result"]["resultType"] == "input_required"
    (wanted,) = message["result"]["inputRequests"].values()
    assert wanted["method"] == "elicitation/create"
    state = message["result"]["requestState"]
    assert isinstance(state, str)
    return state


def again(id: object, state: str, said: Any = ALLOW, **changes: Any) -> dict[str, object]:
    return modern(id, requestState=state, inputResponses={KEY: said}, **changes)


def test_the_call_that_comes_again_with_a_yes_is_made(made: Made) -> None:
    world = made()
    state = required(world)
    world.client(again(2, state))
    assert world.relay_to_server.hear() == modern(2), "of the question nothing is left"
    world.server(result(2, resultType="complete", content=[]))
    assert world.relay_to_client.hear()["id"] == 2


@pytest.mark.parametrize(("said", "why"), NO)
def test_in_rounds_too_only_an_explicit_yes_is_one(made: Made, said: dict[str, Any], why: str) -> None:
    world = made()
    state = required(world)
    world.client(again(2, state, said))
    refused(world.relay_to_client.hear(), 2, why)
    unheard(world)


FORGED = [
    pytest.param(lambda state: OWN + "0" * 48, id="made up"),
    pytest.param(lambda state: OWN, id="nothing but the beginning"),
    pytest.param(lambda state: state[:-1], id="cut"),
    pytest.param(lambda state: state + "0", id="longer"),
    pytest.param(lambda state: state.upper().replace("MCP-SANDBOX", "mcp-sandbox"), id="in capitals"),
]


@pytest.mark.threat("C4", proves="no state that was not given out lets a call through")
@pytest.mark.parametrize("forge", FORGED)
def test_a_forged_state_answers_nothing(made: Made, forge: Callable[[str], str]) -> None:
    world = made()
    state = required(world)
    world.client(again(2, forge(state)))
    refused(world.relay_to_client.hear(), 2, "there is no such question")
    unheard(world)
    assert world.asking.text("x") is None  # type: ignore[attr-defined]
    world.client(again(3, state))
    assert world.relay_to_server.hear()["id"] == 3, "the real one still counts"


@pytest.mark.threat("C4", proves="a yes to one call lets no other call through, and none twice")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"arguments": {"to": "next", "n": 1}}, id="another argument"),
        pytest.param({"arguments": {"to": "main", "n": True}}, id="true for 1"),
        pytest.param({"arguments": {"to": "main", "n": 1.0}}, id="1.0 for 1"),
        pytest.param({"arguments": {"to": "main", "n": 1, "force": True}}, id="one argument more"),
        pytest.param({"name": "delete_all"}, id="another tool"),
        pytest.param({"name": "read"}, id="a tool that nobody asks about"),
        pytest.param({"task": {"ttl": 1}}, id="as a task"),
    ],
)
def test_the_call_has_to_be_the_same(made: Made, changes: dict[str, Any]) -> None:
    world = made()
    state = required(world)
    world.client(again(2, state, **changes))
    refused(world.relay_to_client.hear(), 2, "another one than was asked about")
    world.client(again(3, state))
    refused(world.relay_to_client.hear(), 3, "the question is closed")
    unheard(world)


def test_a_state_counts_once(made: Made) -> None:
    world = made()
    state = required(world)
    world.client(again(2, state), again(3, state))
    assert world.relay_to_server.hear()["id"] == 2
    refused(world.relay_to_client.hear(), 3, "the question is closed")
    unheard(world)


def test_a_state_that_came_too_late(made: Made) -> None:
    world = made(seconds=0.1)
    state = required(world)
    asking: Asking = world.asking  # type: ignore[attr-defined]
    world.until(lambda: not asking._open)
    world.client(again(2, state))
    refused(world.relay_to_client.hear(), 2, "the question is closed")
    unheard(world)


def test_the_keys_order_is_no_difference(made: Made) -> None:
    world = made()
    state = required(world)
    world.client(again(2, state, arguments={"n": 1, "to": "main"}))
    assert world.relay_to_server.hear()["params"]["arguments"] == {"to": "main", "n": 1}


def test_new_meta_comes_along(made: Made) -> None:
    world = made()
    state = required(world, _meta={**META, "progressToken": 1})
    world.client(again(2, state, _meta={**META, "progressToken": 2}))
    assert world.relay_to_server.hear()["params"]["_meta"]["progressToken"] == 2


def test_a_client_without_forms_waits_for_the_terminal(made: Made) -> None:
    world = made()
    world.client(call(1, _meta=MODERN))
    (waiting,) = until(world)
    assert world.asking.answer(waiting["question"], yes=True)  # type: ignore[attr-defined]
    assert world.relay_to_server.hear()["id"] == 1


def test_nobody_is_asked_twice_about_a_call_whose_server_wants_more(made: Made) -> None:
    world = made()
    world.client(again(2, required(world)))
    assert world.relay_to_server.hear()["id"] == 2
    for id in (3, 4):
        state = f"the server's {id}"
        world.server(result(id - 1, resultType="input_required", inputRequests={}, requestState=state))
        assert world.relay_to_client.hear()["id"] == id - 1
        world.client(modern(id, requestState=state, inputResponses={"x": {}}))
        assert world.relay_to_server.hear()["params"]["requestState"] == state


@pytest.mark.threat("C4", proves="a server's own round opens no way around the question")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"requestState": "another"}, id="another state"),
        pytest.param({"arguments": {"to": "next"}}, id="other arguments"),
        pytest.param({}, id="twice"),
    ],
)
def test_another_round_is_asked_about(made: Made, changes: dict[str, Any]) -> None:
    world = made()
    world.client(again(2, required(world)))
    assert world.relay_to_server.hear()["id"] == 2
    world.server(result(2, resultType="input_required", inputRequests={}, requestState="s"))
    assert world.relay_to_client.hear()["id"] == 2
    if not changes:
        world.client(modern(3, requestState="s", inputResponses={}))
        assert world.relay_to_server.hear()["id"] == 3
    required(world, 4, **{"requestState": "s", "inputResponses": {}, **changes})
    unheard(world)


def test_a_servers_own_state_stays_with_the_call(made: Made) -> None:
    """The server wanted more of a call that nobody was asked about, until something was found."""
    world = made()
    state = required(world, requestState="the server's", inputResponses={"x": {"roots": []}})
    world.client(again(2, state))
    sent = world.relay_to_server.hear()["params"]
    assert (sent["requestState"], sent["inputResponses"]) == ("the server's", {"x": {"roots": []}})


# --- what a server wants of the client --------------------------------------------------------------------

ASKS = ClientFeatures(sampling="ask", elicitation="ask")
SAMPLE = {"messages": [], "maxTokens": 5}


def test_a_servers_request_waits_for_a_person(made: Made) -> None:
    world = opened(made(client=ASKS), FORMS)
    world.server(request("s", "sampling/createMessage", **SAMPLE))
    question = world.relay_to_client.hear()
    assert "may `the server` send you `sampling/createMessage`?" in question["params"]["message"]
    world.client(result(question["id"], **ALLOW))
    assert world.relay_to_client.hear() == request("s", "sampling/createMessage", **SAMPLE)
    world.client(result("s", role="assistant"))
    assert world.relay_to_server.hear()["id"] == "s"


def test_a_servers_request_is_refused(made: Made) -> None:
    world = opened(made(client=ASKS), FORMS)
    world.server(request("s", "sampling/createMessage", **SAMPLE))
    question = world.relay_to_client.hear()
    world.client(result(question["id"], action="decline"))
    answer = world.relay_to_server.hear()
    assert (answer["id"], answer["error"]["message"]) == (
        "s",
        "refused by mcp-sandbox: rule `client.sampling`",
    )


def test_a_server_withdraws_its_request(made: Made) -> None:
    world = opened(made(client=ASKS), FORMS)
    world.server(request("s", "sampling/createMessage", **SAMPLE))
    question = world.relay_to_client.hear()
    world.server(notification("notifications/cancelled", requestId="s"), notification("next"))
    assert world.relay_to_client.hear()["params"]["requestId"] == question["id"]
    assert world.relay_to_client.hear()["method"] == "next"


def test_in_rounds_the_wish_waits_at_the_relay(made: Made) -> None:
    world = made(client=ASKS)
    read = {"name": "read", "arguments": {}, "_meta": META}
    world.client(request(0, "tools/list", _meta=META))
    world.relay_to_server.hear()
    world.client(request(1, "tools/call", **read))
    world.relay_to_server.hear()
    wish = {"w": {"method": "sampling/createMessage", "params": SAMPLE}}
    wants = {"resultType": "input_required", "inputRequests": wish, "requestState": "s"}
    world.server(result(1, **wants))
    asks = world.relay_to_client.hear()
    assert list(asks["result"]["inputRequests"]) == [KEY]
    state = asks["result"]["requestState"]
    world.client(request(2, "tools/call", requestState=state, inputResponses={KEY: ALLOW}, **read))
    assert world.relay_to_client.hear() == result(2, **wants)
    world.client(request(3, "tools/call", requestState="s", inputResponses={"w": {}}, **read))
    assert world.relay_to_server.hear()["id"] == 3


def test_in_rounds_a_wish_is_refused(made: Made) -> None:
    world = made(client=ASKS)
    read = {"name": "read", "arguments": {}, "_meta": META}
    world.client(request(0, "tools/list", _meta=META), request(1, "tools/call", **read))
    world.relay_to_server.hear()
    world.relay_to_server.hear()
    wish = {"w": {"method": "sampling/createMessage", "params": SAMPLE}}
    world.server(result(1, resultType="input_required", inputRequests=wish))
    state = world.relay_to_client.hear()["result"]["requestState"]
    world.client(request(2, "tools/call", requestState=state, inputResponses={}, **read))
    answer = world.relay_to_client.hear()
    assert answer["result"]["_meta"]["mcp-sandbox/refused"]["rule"] == "client.sampling"
    unheard(world)


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.threat("C4", proves="where the profile says so, no form of the client's answers")
def test_a_profile_asks_at_a_terminal_alone(made: Made, era: str) -> None:
    world = made(forms=False)
    world.client(modern(1)) if era == "modern" else opened(world, FORMS).client(call(1))
    (waiting,) = until(world)
    assert world.asking.answer(waiting["question"], yes=True)  # type: ignore[attr-defined]
    assert world.relay_to_server.hear()["id"] == 1


# --- many at once -----------------------------------------------------------------------------------------


def test_answers_from_everywhere_at_once_count_once(made: Made) -> None:
    """The client, a terminal and the deadline answer forty questions in the same moment."""
    world = opened(made(seconds=0.5), FORMS)
    asking: Asking = world.asking  # type: ignore[attr-defined]
    questions = [asked(world, id) for id in range(1, 41)]
    ids = [one["question"] for one in asking.questions()]

    def terminal() -> None:
        for id in ids:
            asking.answer(id, yes=True)

    threads = [threading.Thread(target=terminal) for _ in range(3)]
    for thread in threads:
        thread.start()
    world.client(*(result(question["id"], action="decline") for question in questions[::-1]))
    for thread in threads:
        thread.join(PATIENCE)
    world.until(lambda: len(answers(world)) == 40)
    world.until(lambda: not world.open_ids() or sum(one[0] == "allow" for one in answers(world)) > 0)
    allowed = sum(one[0] == "allow" for one in answers(world))
    assert len(world.open_ids()) == allowed
