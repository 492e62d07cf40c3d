"""What `inspect` says to a server, and when it has heard all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.examine.conversation import LISTS, MOST_PAGES, Conversation, Era
from sandbox.inspect.texts import LISTED
from sandbox.wire.jsonrpc import Frame, FrameReader

ERAS: tuple[Era, ...] = ("legacy", "modern")
OPENED: dict[str, Any] = {"serverInfo": {"name": "s", "version": "1"}, "capabilities": {}}


def frame(**message: Any) -> Frame:
    (made,) = FrameReader().feed(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    assert isinstance(made, Frame)
    return made


class Server:
    """Answers by method; whatever it has no answer for is not implemented."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def hear(self, line: bytes) -> Frame | None:
        message = json.loads(line)
        if "id" not in message:
            self.asked.append((message["method"], {}))
            return None
        self.asked.append((message["method"], message["params"]))
        answer = self.answers.get(message["method"])
        if callable(answer):
            answer = answer(message["params"])
        if answer is None:
            return frame(id=message["id"], error={"code": -32601, "message": "not here"})
        return frame(id=message["id"], result=answer)


def led(era: Era, server: Server, *, read: bool = False) -> Conversation:
    """The whole conversation with it."""
    conversation = Conversation(era, read=read)
    lines = conversation.start()
    while lines:
        heard = [answer for line in lines if (answer := server.hear(line))]
        lines = [line for answer in heard for line in conversation.heard(answer)]
    return conversation


def methods(server: Server) -> list[str]:
    return [method for method, _ in server.asked]


@pytest.mark.parametrize(
    ("era", "opening"),
    [
        pytest.param("legacy", ["initialize", "notifications/initialized"], id="legacy"),
        pytest.param("modern", ["server/discover"], id="modern"),
    ],
)
def test_every_list_is_asked_for(era: Era, opening: list[str]) -> None:
    server = Server({opening[0]: OPENED})
    conversation = led(era, server)
    assert methods(server) == [*opening, *LISTS]
    assert conversation.done
    assert conversation.opened == OPENED
    assert not conversation.refused


def test_a_modern_request_says_revision_and_capabilities() -> None:
    server = Server({"server/discover": OPENED})
    led("modern", server)
    for _, params in server.asked:
        meta = params["_meta"]
        assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
        assert set(meta["io.modelcontextprotocol/clientCapabilities"]) == {"roots", "sampling", "elicitation"}


@pytest.mark.parametrize("era", ERAS)
def test_an_era_that_the_server_does_not_speak(era: Era) -> None:
    conversation = led(era, Server({}))
    assert conversation.done
    assert conversation.opened is None
    assert conversation.refused == "not here"


def paged(member: str, pages: int) -> Any:
    """A list of one item a page."""

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        at = int(params.get("cursor", "0"))
        more = {"nextCursor": str(at + 1)} if at + 1 < pages else {}
        return {member: [{"name": f"one-{at}", "uri": f"test://{at}"}], **more}

    return answer


@pytest.mark.parametrize("method", LISTS)
@pytest.mark.parametrize("era", ERAS)
def test_every_page_of_a_list_is_read(era: Era, method: str) -> None:
    opening = "initialize" if era == "legacy" else "server/discover"
    conversation = led(era, Server({opening: OPENED, method: paged(LISTED[method][0], 3)}))
    assert [item["name"] for item in conversation.items[method]] == ["one-0", "one-1", "one-2"]
    assert conversation.cut == []


def test_a_list_without_an_end_is_cut_and_the_others_are_read() -> None:
    endless = paged("tools", 1 << 30)
    server = Server({"initialize": OPENED, "tools/list": endless, "prompts/list": paged("prompts", 1)})
    conversation = led("legacy", server)
    assert len(conversation.items["tools/list"]) == MOST_PAGES
    assert conversation.cut == ["tools/list"]
    assert len(conversation.items["prompts/list"]) == 1


def test_what_is_listed_is_read_where_that_needs_no_arguments() -> None:
    plain = {"name": "plain", "arguments": 5}
    needs = {"name": "needs", "arguments": [{"name": "a", "required": True}]}
    optional = {"name": "optional", "arguments": [{"name": "a"}]}
    answers = {
        "initialize": OPENED,
        "prompts/list": {"prompts": [plain, needs, optional, {"name": 7}]},
        "resources/list": paged("resources", 2),
    }
    server = Server(answers)
    led("legacy", server, read=True)
    read = [params for method, params in server.asked if method in ("prompts/get", "resources/read")]
    assert read == [{"name": "plain"}, {"name": "optional"}, {"uri": "test://0"}, {"uri": "test://1"}]
    server = Server(answers)
    led("legacy", server)
    assert "prompts/get" not in methods(server)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        pytest.param("ping", {"result": {}}, id="ping"),
        pytest.param("roots/list", {"result": {"roots": []}}, id="no roots"),
        pytest.param("sampling/createMessage", None, id="no model"),
        pytest.param("elicitation/create", None, id="no person"),
        pytest.param("anything/else", None, id="what we do not know"),
    ],
)
def test_the_server_is_answered_and_gets_nothing(method: str, answer: dict[str, Any] | None) -> None:
    conversation = Conversation("legacy")
    conversation.start()
    (line,) = conversation.heard(frame(id="theirs", method=method, params={}))
    message = json.loads(line)
    assert message["id"] == "theirs"
    assert message.get("error") if answer is None else message["result"] == answer["result"]


@pytest.mark.parametrize(
    "result",
    [
        pytest.param({"tools": "none"}, id="no list"),
        pytest.param({"tools": [1, None, "x", []]}, id="items that are none"),
        pytest.param({"tools": [], "nextCursor": 5}, id="a cursor that is none"),
        pytest.param({"tools": [], "nextCursor": ""}, id="an empty cursor"),
        pytest.param({}, id="nothing"),
    ],
)
def test_a_malformed_list_ends_nothing(result: dict[str, Any]) -> None:
    conversation = led("legacy", Server({"initialize": OPENED, "tools/list": result}))
    assert conversation.done
    assert conversation.items["tools/list"] == []


def test_only_the_answer_that_is_waited_for_is_taken() -> None:
    conversation = Conversation("legacy")
    conversation.start()
    assert conversation.heard(frame(id=99, result=OPENED)) == []
    assert conversation.heard(frame(method="notifications/message", params={"level": "info"})) == []
    assert conversation.opened is None
    assert conversation.waiting == (1, "initialize")
