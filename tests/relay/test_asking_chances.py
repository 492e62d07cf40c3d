"""Whatever client, server and terminal say in whatever order: no call passes without its own explicit yes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.event import Event
from sandbox.excess import Excess
from sandbox.inspect.calls import Calls
from sandbox.policy.model import Tools
from sandbox.relay.asking import OWN, Asking
from sandbox.relay.inspection import Inspection
from sandbox.relay.ledger import Ledger, Pending, Refused, Side
from sandbox.relay.questions import KEY
from sandbox.wire.jsonrpc import Frame, FrameReader
from sandbox.wire.salvage import Id
from tests.relay.world import MODERN

ALLOW = {"action": "accept", "content": {"answer": "allow"}}
FORMS = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}


def frame(message: object) -> Frame:
    (made,) = FrameReader().feed(json.dumps(message).encode() + b"\n")
    assert isinstance(made, Frame)
    return made


def about(params: dict[str, Any]) -> str:
    return json.dumps([params.get("name"), params.get("arguments")], sort_keys=True)


class Session:
    """An inspection with its ledger and no threads; what reached whom, and what was said yes to."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.client: list[dict[str, Any]] = []
        self.server: list[dict[str, Any]] = []
        self.allowed: list[str] = []
        self.asking = Asking(3600.0)
        tools = Tools(ask=("push",))
        self.inspection = Inspection([Calls(tools, "/")], lambda finding: {"profile": "x"}, self.asking)
        self.inspection.serve(self)  # type: ignore[arg-type]
        self.shown: dict[object, str] = {}

    def close(self) -> None:
        for question in [*self.asking._open.values()]:
            self.asking._close(question)

    # --- the desk

    def to_client(self, data: bytes) -> None:
        message = json.loads(data)
        self.client.append(message)

    def to_server(self, data: bytes) -> None:
        self.server.append(json.loads(data))

    def forward(self, frame: Frame) -> None:
        self.server.append(json.loads(bytes(frame.data)))

    def report(self, event: Event) -> None:
        pass

    def breach(self, excess: Excess) -> None:
        raise AssertionError(excess)

    def failed(self, error: BaseException) -> None:
        raise error

    def settle(self, side: Side, id: Id) -> Pending | None:
        return self.ledger.settle(side, id)

    def is_open(self, id: Id) -> bool:
        return self.ledger.is_open(id)

    @property
    def era(self) -> str:
        return self.ledger.era

    # --- the relay

    def from_client(self, message: object) -> None:
        got = frame(message)
        if got.kind == "response" and self.inspection.takes("client", got):
            return
        if self.ledger.from_client(got, 0.0) is None:
            passed = self.inspection.to_server(got)
            if passed is not None:
                self.forward(passed)

    def from_server(self, message: object) -> None:
        got = frame(message)
        if got.kind == "response" and self.inspection.takes("server", got):
            return
        verdict = self.ledger.from_server(got, 0.0)
        if not isinstance(verdict, Refused):
            passed = self.inspection.to_client(got, verdict)
            if passed is not None:
                self.client.append(json.loads(bytes(passed.data)))

    # --- what is known

    def questions(self) -> list[tuple[str, object, str]]:
        """Every question that the client was ever asked: how, by which id or state, and about what."""
        found: list[tuple[str, object, str]] = []
        for message in self.client:
            if message.get("method") == "elicitation/create":
                found.append(("client", message["id"], message["params"]["message"]))
            elif KEY in message.get("result", {}).get("inputRequests", {}):
                wanted = message["result"]["inputRequests"][KEY]["params"]["message"]
                found.append(("round", message["result"]["requestState"], wanted))
        return found


IDS = st.sampled_from([1, 2, "1", "2"])
ARGUMENTS = st.sampled_from([{"to": 1}, {"to": True}, {"to": "x"}, {}])
SAID = st.sampled_from([ALLOW, ALLOW, {"action": "accept"}, {"action": "decline"}, {}])
STATES = st.sampled_from([OWN, OWN + "0" * 48, "s", "t"])
CALL = st.tuples(st.just("call"), IDS, st.sampled_from(["push", "read"]), ARGUMENTS, st.booleans())
ACTIONS = st.one_of(
    CALL,
    CALL,
    st.tuples(st.just("answer"), st.integers(0, 5), SAID),
    st.tuples(st.just("again"), IDS, st.integers(0, 5), SAID, ARGUMENTS),
    st.tuples(st.just("forge"), IDS, STATES, ARGUMENTS),
    st.tuples(st.just("cancel"), IDS),
    st.tuples(st.just("serve"), IDS, st.booleans()),
    st.tuples(st.just("pretend"), st.integers(0, 5)),
    st.tuples(st.just("terminal"), st.integers(0, 5), st.booleans()),
)


def call(id: object, name: str, arguments: object, **more: Any) -> dict[str, Any]:
    params = {"name": name, "arguments": arguments, **more}
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}


def act(session: Session, action: tuple[Any, ...], modern: bool) -> int:
    """Do one thing; how many more calls may pass because of it."""
    kind, *words = action
    meta = {"_meta": {**MODERN, **FORMS}} if modern else {}
    questions = session.questions()
    if kind == "call":
        id, name, arguments, forms = words
        session.from_client(call(id, name, arguments, **(meta if forms or not modern else {"_meta": MODERN})))
    elif kind == "answer" and words[0] < len(questions):
        session.from_client({"jsonrpc": "2.0", "id": questions[words[0]][1], "result": words[1]})
        return int(words[1] == ALLOW and questions[words[0]][0] == "client")
    elif kind == "again" and words[1] < len(questions):
        id, which, said, arguments = words
        state = {"requestState": questions[which][1], "inputResponses": {KEY: said}}
        session.from_client(call(id, "push", arguments, **meta, **state))
        return int(said == ALLOW and questions[which][0] == "round")
    elif kind == "forge":
        id, state, arguments = words
        session.from_client(
            call(id, "push", arguments, requestState=state, inputResponses={KEY: ALLOW}, **meta)
        )
    elif kind == "cancel":
        session.from_client(
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": words[0]}}
        )
    elif kind == "serve":
        wants = {"resultType": "input_required", "requestState": "s", "inputRequests": {}}
        session.from_server({"jsonrpc": "2.0", "id": words[0], "result": wants if words[1] else {}})
    elif kind == "pretend" and words[0] < len(questions):
        session.from_server({"jsonrpc": "2.0", "id": questions[words[0]][1], "result": ALLOW})
    elif kind == "terminal":
        waiting = session.asking.questions()
        if words[0] < len(waiting) and session.asking.answer(waiting[words[0]]["question"], yes=words[1]):
            return int(words[1])
    return 0


@settings(max_examples=400, deadline=None)
@given(st.booleans(), st.lists(ACTIONS, max_size=25))
def test_no_call_passes_without_its_own_yes(modern: bool, actions: list[tuple[Any, ...]]) -> None:
    session = Session()
    capabilities = {} if modern else {"elicitation": {}}
    opening = {"protocolVersion": "2025-11-25", "capabilities": capabilities}
    if not modern:
        session.from_client({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": opening})
    # A server's own round of an allowed call lets the same call through once more, each time it wants more.
    may_pass = wanted_more = 0
    for action in actions:
        before = len(session.client)
        may_pass += act(session, action, modern)
        wanted_more += sum(m.get("result", {}).get("requestState") == "s" for m in session.client[before:])
        pushed = [m for m in session.server if m.get("params", {}).get("name") == "push"]
        assert len(pushed) <= may_pass + wanted_more, (action, pushed)
        asked = ["".join(text.split("\n")[1:-1]) for _, _, text in session.questions()]
        asked += ["".join(question.text.split("\n")[1:-1]) for question in session.asking._open.values()]
        session.shown |= dict.fromkeys(asked, "")
        for one in pushed:
            given = one["params"]["arguments"].items()
            shown = "".join(f"  {name}: {json.dumps(value)}" for name, value in given) or "  (nothing)"
            assert shown in session.shown, "nobody was asked about this very call"
            assert OWN not in json.dumps(one), "what is ours stays here"
    session.close()
