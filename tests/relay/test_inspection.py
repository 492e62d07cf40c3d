"""Whatever inspectors say or do, each message is passed, changed or answered, and nobody waits for ever."""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Callable, Iterator

import pytest

from sandbox.event import Value
from sandbox.inspect.judged import Asked, Edit, Finding, Judged, changed, denied, found
from sandbox.policy.model import Policy, Traffic
from sandbox.relay import inspection as module
from sandbox.relay.inspection import Inspection
from sandbox.verdict import Verdict
from sandbox.wire.jsonrpc import Frame, FrameReader
from tests.relay.world import PATIENCE, World, legacy, notification, request, result

F_SETPIPE_SZ = 1031
FINDING = Finding("poison", "poison.word", "/result", "it has the word")


class Script:
    """An inspector that does what the test says."""

    name = "script"

    def __init__(
        self,
        to_server: Callable[[Frame], Judged | None] = lambda frame: None,
        to_client: Callable[[Frame, Asked | None], Judged | None] = lambda frame, asked: None,
    ) -> None:
        self._to_server, self._to_client = to_server, to_client

    def to_server(self, frame: Frame, asked: None = None) -> Judged | None:
        return self._to_server(frame)

    def to_client(self, frame: Frame, asked: Asked | None) -> Judged | None:
        return self._to_client(frame, asked)


def told(finding: Finding) -> dict[str, Value]:
    return {"profile": "p.toml:3"}


Make = Callable[..., World]


@pytest.fixture
def world() -> Iterator[Make]:
    made: list[World] = []

    def make(*inspectors: Script, policy: Policy | None = None) -> World:
        made.append(World(inspection=Inspection(inspectors, told), policy=policy))
        return made[-1]

    yield make
    for one in made:
        one.close()


def call(id: int, tool: str = "echo") -> dict[str, object]:
    return request(id, "tools/call", name=tool, arguments={})


def test_an_inspector_that_fails_ends_the_session_and_passes_nothing(world: Make) -> None:
    def fail(frame: Frame) -> Judged | None:
        raise KeyError("a fault of ours")

    one = world(Script(to_server=fail))
    one.client(call(1))
    one.until(lambda: one.relay.failed is not None)
    one.end_client()
    assert one.relay_to_server.line() == b""


def test_the_next_inspector_sees_what_the_former_left(world: Make) -> None:
    seen: list[object] = []

    def strip(frame: Frame, asked: Asked | None) -> Judged | None:
        return changed([Edit(("result", "text"), "clean")], FINDING)

    def look(frame: Frame, asked: Asked | None) -> Judged | None:
        seen.append((frame.message["result"], asked))
        return None

    one = world(Script(to_client=strip), Script(to_client=look))
    one.asked(call(1))
    one.server(result(1, text="dirty"))
    assert one.relay_to_client.hear()["result"] == {"text": "clean"}
    assert seen == [({"text": "clean"}, Asked("tools/call", "echo"))]
    assert [event.rule for event in one.events if event.kind == "poison.found"] == ["poison.word"]


def test_a_finding_alone_changes_nothing(world: Make) -> None:
    one = world(Script(to_client=lambda frame, asked: found(FINDING)))
    one.asked(call(1))
    line = b'{"jsonrpc":"2.0", "id":1, "result":{"n":1E5}}'
    one.server(line)
    assert one.relay_to_client.line() == line


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        pytest.param(call(1), "result", id="a tool call fails as tools do"),
        pytest.param(request(1, "resources/read", uri="a:b"), "error", id="anything else is an error"),
    ],
)
def test_whoever_asked_is_told_the_rule(world: Make, asked: dict[str, object], answered: str) -> None:
    one = world(Script(to_server=lambda frame: denied(FINDING)))
    one.client(asked)
    answer = one.relay_to_client.hear()
    words = answer["result"]["content"][0]["text"] if answered == "result" else answer["error"]["message"]
    assert "poison.word" in words
    assert "p.toml:3" in words
    assert one.open_ids() == []


def test_an_answer_that_is_kept_back_is_answered_once(world: Make) -> None:
    one = world(Script(to_client=lambda frame, asked: denied(FINDING)))
    one.asked(call(1))
    one.server(result(1, text="x"), result(1, text="x"))
    assert one.relay_to_client.hear()["result"]["isError"]
    one.until(lambda: one.dropped() == ["poison.word", "unasked-response"])


def lists_first(frame: Frame) -> Judged | None:
    """An inspector that holds no call before the tools were listed."""
    if frame.method != "tools/call":
        return None
    return Judged(Verdict.allow("script"), fetch=("tools/list",))


def test_a_call_waits_for_all_pages_of_the_list(world: Make) -> None:
    pages: list[object] = []

    def hold(frame: Frame) -> Judged | None:
        return None if len(pages) == 2 else lists_first(frame)

    def learn(frame: Frame, asked: Asked | None) -> Judged | None:
        if asked is not None and asked.ours:
            pages.append(frame.message["result"])
        return None

    one = world(Script(hold, learn))
    one.client(call(1), call(2))
    first = one.relay_to_server.hear()
    assert (first["method"], first["params"]) == ("tools/list", {})
    one.server({"jsonrpc": "2.0", "id": first["id"], "result": {"tools": [], "nextCursor": "more"}})
    second = one.relay_to_server.hear()
    assert second["params"] == {"cursor": "more"}
    one.server({"jsonrpc": "2.0", "id": second["id"], "result": {"tools": [], "nextCursor": ""}})
    assert [one.relay_to_server.hear()["id"] for _ in range(2)] == [1, 2]
    assert len(pages) == 2


def test_a_list_that_never_comes_is_a_refusal(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIST_S", 0.05)
    one = world(Script(lists_first))
    one.client(call(1))
    assert one.relay_to_server.hear()["method"] == "tools/list"
    assert "could not be read" in one.relay_to_client.line().decode()
    assert one.open_ids() == []


def test_an_inspector_is_not_asked_for_lists_twice(world: Make) -> None:
    one = world(Script(lists_first))
    one.client(call(1))
    asked = one.relay_to_server.hear()
    one.server({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "none"}})
    assert "could not be read" in one.relay_to_client.line().decode()


def test_a_cancelled_call_is_not_sent_when_its_list_has_come(world: Make) -> None:
    answered = threading.Event()
    one = world(Script(lambda frame: None if answered.is_set() else lists_first(frame)))
    one.client(call(1))
    asked = one.relay_to_server.hear()
    one.client(notification("notifications/cancelled", requestId=1))
    one.until(lambda: one.open_ids() == [])
    answered.set()
    one.server({"jsonrpc": "2.0", "id": asked["id"], "result": {"tools": []}})
    one.client(request(9, "ping"))
    assert one.relay_to_server.hear()["id"] == 9


def test_the_end_of_the_session_answers_a_held_call(world: Make) -> None:
    one = world(Script(lists_first))
    one.client(call(1))
    one.relay_to_server.hear()
    assert one.relay.fail_pending(-32603, "over") == 1
    assert one.relay_to_client.hear()["error"]["message"] == "over"


def test_too_many_calls_that_wait_are_refused(world: Make) -> None:
    one = world(Script(lists_first))
    one.client(*(call(number) for number in range(module.MOST_HELD + 1)))
    assert "wait already" in one.relay_to_client.line().decode()


def test_a_client_that_reads_nothing_holds_up_no_message_of_its_own(world: Make) -> None:
    """The answer to what was kept back waits for the client, and nothing else does."""
    one = world(Script(to_client=lambda frame, asked: denied(FINDING) if asked else None))
    fcntl.fcntl(one.relay_to_client.write_end, F_SETPIPE_SZ, 4096)
    many = [*range(40)]
    one.asked(*(call(number) for number in many))
    threading.Thread(target=one.server, args=[result(number) for number in many], daemon=True).start()
    one.until(lambda: len(one.dropped()) > 3)
    one.client(notification("notifications/progress", progressToken=1, progress=1))
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(one.relay_to_server.line()), daemon=True)
    reader.start()
    reader.join(PATIENCE)
    assert json.loads(heard[0])["method"] == "notifications/progress"
    for _ in many:
        assert one.relay_to_client.hear()["result"]["isError"]


def test_a_request_of_the_servers_that_is_refused_tells_it_the_rule_alone(world: Make) -> None:
    refuse = Script(to_client=lambda frame, asked: denied(FINDING) if frame.method == "roots/list" else None)
    one = world(refuse)
    legacy(one)
    one.server(request(5, "roots/list"))
    answer = one.relay_to_server.hear()
    assert answer["id"] == 5
    assert "poison.word" in answer["error"]["message"]
    assert "it has the word" not in answer["error"]["message"]


def test_a_client_that_closes_its_input_still_gets_what_was_held(world: Make) -> None:
    """`printf … | mcp-sandbox run`: the list is read and the call sent after the end of the input."""
    listed = threading.Event()
    one = world(Script(lambda frame: None if listed.is_set() else lists_first(frame)))
    one.client(call(1))
    one.end_client()
    assert one.relay.client_eof.wait(PATIENCE)
    asked = one.relay_to_server.hear()
    listed.set()
    one.server({"jsonrpc": "2.0", "id": asked["id"], "result": {"tools": []}})
    assert one.relay_to_server.hear()["id"] == 1
    assert one.relay_to_server.line() == b"", "and then the server's input ends"


def test_the_servers_end_does_not_wait_for_a_list(world: Make) -> None:
    one = world(Script(lists_first))
    one.client(call(1))
    one.relay_to_server.hear()
    one.server_to_relay.close(one.server_to_relay.write_end)
    one.end_client()
    assert one.relay_to_server.line() == b""


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"jsonrpc":"2.0","id":"%s","result":{"tools":[],"tools":[]}}', id="a key twice"),
        pytest.param(b'{"jsonrpc":"2.0","id":"%s","result":[]}', id="no result"),
    ],
)
def test_a_list_that_is_no_message_is_read_no_further(world: Make, line: bytes) -> None:
    one = world(Script(lists_first))
    one.client(call(1))
    asked = one.relay_to_server.hear()["id"]
    one.server(line % asked.encode())
    assert "could not be read" in one.relay_to_client.line().decode()


def test_after_a_list_that_never_came_the_next_call_asks_anew(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIST_S", 0.05)
    one = world(Script(lists_first))
    for number in (1, 2):
        one.client(call(number))
        assert one.relay_to_server.hear()["method"] == "tools/list"
        assert one.relay_to_client.hear()["id"] == number


def test_a_call_that_went_on_leaves_no_timer(world: Make) -> None:
    before = {*threading.enumerate()}
    listed = threading.Event()
    one = world(Script(lambda frame: None if listed.is_set() else lists_first(frame)))
    one.client(call(1))
    asked = one.relay_to_server.hear()
    listed.set()
    one.server({"jsonrpc": "2.0", "id": asked["id"], "result": {"tools": []}})
    assert one.relay_to_server.hear()["id"] == 1
    one.until(lambda: not any(isinstance(new, threading.Timer) for new in {*threading.enumerate()} - before))


def test_an_answer_to_a_call_that_the_server_never_got_is_dropped(world: Make) -> None:
    one = world(Script(lists_first))
    one.client(call(1))
    one.relay_to_server.hear()
    one.server(result(1, text="a guess"))
    one.until(lambda: one.dropped() == ["unasked-response"])
    assert one.open_ids() == [1]


def test_a_refused_answer_of_the_clients_is_an_error_for_the_server(world: Make) -> None:
    one = world(Script(lambda frame: denied(FINDING) if frame.kind == "response" else None))
    legacy(one)
    one.server(request(5, "elicitation/create", message="?", requestedSchema={}))
    assert one.relay_to_client.hear()["id"] == 5
    one.client(result(5, action="accept", content={"x": "secret"}))
    answer = one.relay_to_server.hear()
    assert (answer["id"], "poison.word" in answer["error"]["message"]) == (5, True)


def test_a_held_call_whose_time_is_over_is_forgotten_and_the_server_never_hears_of_it(world: Make) -> None:
    listed = threading.Event()
    script = Script(lambda frame: None if listed.is_set() else lists_first(frame))
    one = world(script, policy=Policy("p", traffic=Traffic(timeout=0.5, flood=None, waste=None, stall=None)))
    one.client(call(1))
    asked = one.relay_to_server.hear()
    assert "no answer within" in one.relay_to_client.line().decode()
    listed.set()
    one.server({"jsonrpc": "2.0", "id": asked["id"], "result": {"tools": []}})
    one.client(call(2))
    assert one.relay_to_server.hear()["id"] == 2


class Ahead(Script):
    """An inspector that can begin with a message before its turn."""

    def __init__(self) -> None:
        super().__init__(to_client=self._judged)
        self.begun: list[int] = []
        self.judged: list[int] = []

    def ahead(self, frame: Frame) -> None:
        self.begun.append(frame.size)

    def _judged(self, frame: Frame, asked: Asked | None) -> None:
        self.judged.append(frame.size)


def test_a_long_message_is_begun_with_ahead() -> None:
    script = Ahead()
    inspection = Inspection([Script(), script], told)
    for size in (module.LONG - 1000, module.LONG + 1):
        message = notification("notifications/message", data="x" * size)
        (made,) = FrameReader().feed(json.dumps(message).encode() + b"\n")
        assert isinstance(made, Frame)
        inspection.to_client(made, None)
    assert script.begun == script.judged[1:]
