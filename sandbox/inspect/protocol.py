"""Holds every message against the revision that the session speaks, and calls against the tools' schemas (P).

Under `on` what two readers would take for different things, what has no end and what nobody asked for is
refused, and what is merely wrong is told once; under `strict` everything wrong is refused. What a revision
leaves open is open here too: unknown fields, unknown methods, anything in `_meta`.
"""

from __future__ import annotations

from typing import Any, Final

from sandbox.inspect.arguments import Tool, Tools
from sandbox.inspect.fact import Fact, Judging, of_schema, of_shape
from sandbox.inspect.judged import Asked, Judged
from sandbox.inspect.listed import Odd, odd_tools
from sandbox.inspect.revisions import LAST_LEGACY, MODERN, shapes
from sandbox.inspect.shapes import Method, Shape
from sandbox.inspect.tracked import Pages, Rounds, Tokens
from sandbox.verdict import Verdict
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.splice import DROP, Edit, Place

MOST_ASKED: Final = 4096

_META = "io.modelcontextprotocol/"
_VERSION = _META + "protocolVersion"
_CAPABILITIES = _META + "clientCapabilities"
_LISTS: Final = frozenset(
    "tools/list resources/list resources/templates/list prompts/list tasks/list".split()
)
_NEEDS: Final = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
"""What a client has to have said that it can, for a server to ask it."""
_NONE: Final[dict[str, Any]] = {}


class Protocol:
    """The inspector of one session."""

    name = "protocol"

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self._revision = ""
        self._capabilities: dict[str, Any] | None = None
        self._tools = Tools()
        self._client_tokens, self._server_tokens = Tokens(), Tokens()
        self._pages, self._rounds = Pages(), Rounds()
        self._tasks: dict[object, str] = {}
        self._asked_client: dict[object, str] = {}
        self._fetched: set[object] = set()
        self._judging = Judging(strict=strict)
        self._speak(LAST_LEGACY)

    def _speak(self, revision: object) -> bool:
        """Judge by `revision` from now on; whether it is known."""
        known = shapes(revision) if type(revision) is str else None
        if known is not None and type(revision) is str:
            self._revision = revision
            self._shapes = known
            self._requests: dict[str, Method] = {}
        return known is not None

    # --- what the client says -----------------------------------------------------------------------

    def to_server(self, frame: Frame, asked: None = None) -> Judged | None:
        """Of a message of the client's."""
        method = frame.method
        if method is None:
            return self._client_answers(frame)
        params = frame.message.get("params", _NONE)
        if "_meta" in params:
            self._read_meta(frame, params["_meta"])
        if frame.kind == "request":
            return self._client_asks(frame, method, params)
        if method == "notifications/cancelled":
            self._client_tokens.answered(params.get("requestId"))
        facts = self._unlike("->", method, params) + self._progress(self._server_tokens, method, params)
        return self._judging.of(facts, method) if facts else None

    def _client_asks(self, frame: Frame, method: str, params: dict[str, Any]) -> Judged | None:
        if method == "initialize" and self._revision == MODERN:
            self._speak(LAST_LEGACY)  # the last word counts: clients of both eras try one and then the other
        known = self._requests.get(method)
        if known is None and (known := self._shapes.method(">", method)) is not None:
            self._requests[method] = known
        if known is None or not known.params.fits(params):
            facts = self._unlike(">", method, params)
            if facts and (judged := self._judging.of(facts, method)) is not None:
                return judged
        if "requestState" in params or "inputResponses" in params:
            self._rounds.asked(frame.id, method, frame.tool, params)
        if method == "tools/call":
            return self._call(frame, params)
        if method == "initialize":
            self._capabilities = _table(params.get("capabilities"))
        elif method.startswith("tasks/"):
            self._remember(self._tasks, frame.id, params.get("taskId"))
        return None

    def _read_meta(self, frame: Frame, meta: Any) -> None:
        """What a request says about itself: its revision (the modern era), and its progress token."""
        if type(meta) is not dict:
            return
        if (version := meta.get(_VERSION)) is not None:
            if version != self._revision:
                self._speak(version)
            self._capabilities = _table(meta.get(_CAPABILITIES))
        if "progressToken" in meta and frame.kind == "request":
            self._client_tokens.asked(frame.id, meta["progressToken"])

    def _client_answers(self, frame: Frame) -> Judged | None:
        """An answer to a question of the server's."""
        self._server_tokens.answered(frame.id)
        method = self._asked_client.pop(frame.id, "")
        known = self._shapes.method("<", method)
        if known is None or known.result is None:
            return None
        facts = self._answer_faults(known.result, frame, grave=False)
        return self._judging.of(facts, method) if facts else None

    # --- calls --------------------------------------------------------------------------------------

    def _call(self, frame: Frame, params: dict[str, Any]) -> Judged | None:
        tool = self._tools.get(frame.tool)
        if tool is None:
            return self._call_unlisted(frame)
        given = params.get("arguments")
        wrong = tool.arguments.check(_NONE if given is None else given, frame.size)
        if not wrong and tool.arguments.trouble is None:
            return None
        place = ("params", "arguments")
        names = tool.arguments.names()
        facts = of_schema(tool.arguments, wrong, place, "protocol.arguments", names)
        return self._judging.of(facts, "tools/call")

    def _call_unlisted(self, frame: Frame) -> Judged | None:
        """Strictly, the list is read first, and a tool that is not in it does not exist."""
        lacks = self._tools.lacks(frame.tool)
        if self._strict and not lacks and frame.id not in self._fetched:
            if len(self._fetched) > MOST_ASKED:
                self._fetched.clear()
            self._fetched.add(frame.id)
            return Judged(Verdict.allow("protocol.tool", "the list has to be read"), fetch=("tools/list",))
        self._fetched.discard(frame.id)
        if not self._strict and not lacks:
            return None
        where: Place = ("params", "name")
        reason = "the server lists no tool of that name"
        return self._judging.of([Fact("protocol.tool", where, reason, grave=False)], "tools/call")

    # --- what the server says -----------------------------------------------------------------------

    def to_client(self, frame: Frame, asked: Asked | None) -> Judged | None:
        """Of a message of the server's, with the request that it answers where it answers one."""
        if frame.method is not None:
            return self._server_says(frame, frame.method)
        self._client_tokens.answered(frame.id)
        result = frame.message.get("result")
        if asked is None or result is None:
            self._rounds.answered(frame.id)
            self._tasks.pop(frame.id, None)
            return None
        if result.get("resultType") == "input_required" and self._revision == MODERN:
            facts = self._asks_back(frame, asked, result)
        else:
            self._rounds.answered(frame.id)
            if asked.method == "tools/call":
                facts = self._called(frame, asked, result)
            else:
                facts = self._answered(frame, asked, result)
        if asked.method in _LISTS:
            facts, edits = self._mended(frame, asked, result, facts)
            return self._judging.of(facts, asked.method, edits) if facts else None
        return self._judging.of(facts, asked.method) if facts else None

    def _server_says(self, frame: Frame, method: str) -> Judged | None:
        """A request or a notification."""
        params = frame.message.get("params", _NONE)
        if frame.kind == "request":
            facts = self._unlike("<", method, params) + self._uncalled_for(method, ("method",))
            self._remember(self._asked_client, frame.id, method)
            if type(meta := params.get("_meta")) is dict and "progressToken" in meta:
                self._server_tokens.asked(frame.id, meta["progressToken"])
        else:
            facts = self._unlike("<-", method, params) + self._progress(self._client_tokens, method, params)
            if method == "notifications/tools/list_changed":
                self._tools.changed()
            elif method == "notifications/cancelled":
                self._server_tokens.answered(params.get("requestId"))
        return self._judging.of(facts, method) if facts else None

    def _called(self, frame: Frame, asked: Asked, result: dict[str, Any]) -> list[Fact]:
        facts = self._result_faults(frame, asked, result)
        tool = self._tools.get(asked.tool)
        if tool is None or tool.result is None or result.get("isError") is True:
            return facts
        return facts + self._structured(frame, tool, result)

    def _structured(self, frame: Frame, tool: Tool, result: dict[str, Any]) -> list[Fact]:
        place: Place = ("result", "structuredContent")
        if tool.result is None or "task" in result:
            return []
        if result.get("structuredContent") is None:
            return [
                Fact(
                    "protocol.result",
                    place,
                    "nothing is there, and the tool has a schema for it",
                    grave=False,
                )
            ]
        wrong = tool.result.check(result["structuredContent"], frame.size)
        return of_schema(tool.result, wrong, place, "protocol.result")

    def _answered(self, frame: Frame, asked: Asked, result: dict[str, Any]) -> list[Fact]:
        """The answer to anything but a call."""
        facts = []
        if asked.method == "initialize" and not self._speak(result.get("protocolVersion")):
            where: Place = ("result", "protocolVersion")
            facts.append(
                Fact(
                    "protocol.revision",
                    where,
                    "the server speaks no revision that is known here",
                    grave=False,
                )
            )
        facts += self._result_faults(frame, asked, result)
        task = self._tasks.pop(frame.id, None)
        if task is not None and asked.method != "tasks/result" and result.get("taskId", task) != task:
            where = ("result", "taskId")
            facts.append(
                Fact("protocol.task", where, "the task is not the one that was asked about", grave=True)
            )
        return facts

    def _asks_back(self, frame: Frame, asked: Asked, result: dict[str, Any]) -> list[Fact]:
        """A result that asks the client for something, in place of an answer."""
        facts = self._answer_faults(self._shapes.shape("InputRequiredResult"), frame)
        why = self._rounds.again(frame.id, asked.method, asked.tool, result.get("requestState"))
        if why is not None:
            facts.append(Fact("protocol.rounds", ("result",), why, grave=True))
        requests = result.get("inputRequests")
        for request in requests.values() if type(requests) is dict else ():
            method = request.get("method") if type(request) is dict else None
            facts += self._uncalled_for(method, ("result", "inputRequests"))
        return facts

    # --- lists --------------------------------------------------------------------------------------

    def _mended(
        self, frame: Frame, asked: Asked, result: dict[str, Any], facts: list[Fact]
    ) -> tuple[list[Fact], list[Edit]]:
        """One page of a list: what of it is taken out, so that the rest can pass."""
        cursor, following = (asked.params or _NONE).get("cursor"), result.get("nextCursor")
        if asked.method == "tools/list" and type(tools := result.get("tools")) is list:
            facts = facts + [self._odd(odd) for odd in odd_tools(frame.data, tools, thorough=self._strict)]
            self._tools.learn(tools, frame.size, cursor or None, following or None)
        facts = [self._mend(fact) for fact in facts]
        why = self._pages.turn(asked.method, cursor, following)
        if why is not None:
            facts.append(Fact("protocol.pages", ("result", "nextCursor"), why, grave=True, mended=True))
        places = dict.fromkeys(fact.place[:3] for fact in facts if fact.mended)
        return facts, [Edit(place, DROP) for place in places]

    def _odd(self, odd: Odd) -> Fact:
        # Models' providers refuse a request with one name twice, and pins go by name.
        return Fact(odd.rule, ("result", "tools", odd.index, *odd.place), odd.reason, grave=odd.twice)

    def _mend(self, fact: Fact) -> Fact:
        """Of an item that would be refused, that it is left out instead."""
        if len(fact.place) < 3 or type(fact.place[2]) is not int or not (fact.grave or self._strict):
            return fact
        return Fact(fact.rule, fact.place, fact.reason, fact.grave, mended=True)

    # --- shapes -------------------------------------------------------------------------------------

    def _unlike(self, mark: str, method: str, params: dict[str, Any]) -> list[Fact]:
        """Where the parameters of a method do not have its shape, or it is not this side's to send."""
        known = self._shapes.method(mark, method)
        if known is None:
            return self._misplaced(mark, method)
        if known.params.fits(params) or (known.optional and not params):
            return []
        return of_shape(known.params, params, ("params",))

    def _misplaced(self, mark: str, method: str) -> list[Fact]:
        place: Place = ("method",)
        if self._shapes.has(_OTHER[mark], method):
            reason = "the method is the other side's to send"
            return [Fact("protocol.direction", place, reason, grave=True)]
        if len(mark) == 2 and (self._shapes.has(">", method) or self._shapes.has("<", method)):
            # Nobody can answer it, and some servers do what it says all the same.
            return [Fact("protocol.direction", place, "the method is a request's, and has no id", grave=True)]
        if self._strict or _is_of_another_revision(mark, method):
            reason = f"the method is none of revision {self._revision}"
            return [Fact("protocol.method", place, reason, grave=False)]
        return []

    def _result_faults(self, frame: Frame, asked: Asked, result: dict[str, Any]) -> list[Fact]:
        shape = self._result_shape(asked.method, result)
        if shape is None or shape.fits(result):
            return []
        return self._answer_faults(shape, frame)

    def _result_shape(self, method: str, result: dict[str, Any]) -> Shape | None:
        known = self._requests.get(method) or self._shapes.method(">", method)
        if self._revision == MODERN:
            # Extensions name types of results of their own.
            return None if known is None or result.get("resultType", _DONE) != _DONE else known.result
        if method == "tools/call" and "task" in result:
            return self._shapes.shape("CreateTaskResult")
        return None if known is None else known.result

    def _answer_faults(self, shape: Shape, frame: Frame, *, grave: bool = True) -> list[Fact]:
        result = frame.message.get("result")
        if result is None or shape.fits(result):
            return []
        facts = of_shape(shape, result, ("result",))
        return facts if grave else [Fact(one.rule, one.place, one.reason, grave=False) for one in facts]

    # --- single rules -------------------------------------------------------------------------------

    def _progress(self, tokens: Tokens, method: str, params: dict[str, Any]) -> list[Fact]:
        if method != "notifications/progress" or tokens.is_open(token := params.get("progressToken")):
            return []
        place: Place = ("params", "progressToken")
        if tokens.was_open(token):
            reason = "the token belongs to a request that is done"
            return [Fact("protocol.progress", place, reason, grave=False)] if self._strict else []
        return [Fact("protocol.progress", place, "the token belongs to no request", grave=True)]

    def _uncalled_for(self, method: object, place: Place) -> list[Fact]:
        """A question that the client has not said it can answer."""
        needed = _NEEDS.get(method) if type(method) is str else None
        if needed is None or self._capabilities is None or needed in self._capabilities:
            return []
        return [Fact("protocol.capability", place, f"the client did not offer `{needed}`", grave=False)]

    def _remember(self, table: dict[Any, Any], id: object, value: object) -> None:
        if type(value) is str:
            table[id] = value
            if len(table) > MOST_ASKED:
                table.pop(next(iter(table)))


_DONE: Final = "complete"
_OTHER: Final = {">": "<", "<": ">", "->": "<-", "<-": "->"}


def _is_of_another_revision(mark: str, method: str) -> bool:
    return any(known.has(mark, method) for one in (LAST_LEGACY, MODERN) if (known := shapes(one)) is not None)


def _table(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else {}
