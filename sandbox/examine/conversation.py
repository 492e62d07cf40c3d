"""What a client says who wants to know all that a server lists: bytes in, bytes out (P)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from sandbox.inspect.judged import Asked
from sandbox.inspect.texts import LISTED
from sandbox.records import dataclass
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.structs import msgspec

Era = Literal["legacy", "modern"]

REVISIONS: Final[Mapping[Era, str]] = {"legacy": "2025-11-25", "modern": "2026-07-28"}
LISTS: Final = tuple(LISTED)
MOST_PAGES: Final = 100
MOST_READ: Final = 200
"""Prompts and resources that are read, each."""
_CLIENT = {"name": "mcp-sandbox-inspect", "version": "1"}
# Servers list more to a client that can do more.
_OFFERED: Mapping[str, Any] = {"roots": {}, "sampling": {}, "elicitation": {}}
Calls = Callable[[Sequence[Mapping[str, Any]]], Sequence[tuple[str, dict[str, Any]]]]
_META = "io.modelcontextprotocol/"
_REFUSED = {"error": {"code": -1, "message": "refused by mcp-sandbox: nobody is here to answer"}}
_NO_METHOD = {"error": {"code": -32601, "message": "method not found"}}
_ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "ping": {"result": {}},
    "roots/list": {"result": {"roots": []}},
    "sampling/createMessage": _REFUSED,
    "elicitation/create": _REFUSED,
}


@dataclass(frozen=True, slots=True)
class Called:
    """One tool call and how it was answered; `said`: the server's words, where it reported a failure."""

    tool: str
    how: Literal["result", "failure", "refusal"]
    said: str = ""


class Conversation:
    """One session in one era: the opening, every page of every list and, where asked for, what is listed."""

    def __init__(self, era: Era, *, read: bool = False, calls: Calls | None = None) -> None:
        """`calls`: from the listed tools, those that are called once every list is known."""
        self.era = era
        self.done = False
        self.refused = ""
        """Why the server does not speak this era; empty where it does."""
        self.opened: dict[str, Any] | None = None
        """The result of the opening."""
        self.items: dict[str, list[dict[str, Any]]] = {method: [] for method in LISTS}
        self.cut: list[str] = []
        """Lists whose end was not reached."""
        self.called: list[Called] = []
        self._calls = calls
        self._read = read
        self._to_ask: deque[tuple[str, dict[str, Any]]] = deque()
        self._asked: tuple[int, str, dict[str, Any]] | None = None
        self._pages = 0
        self._last = 0

    @property
    def waiting(self) -> tuple[int, str]:
        """The id and the method of the request whose answer is waited for; 0 where none is."""
        return self._asked[:2] if self._asked else (0, "")

    @property
    def identity(self) -> tuple[str, str]:
        """The name and the version that the server gives itself."""
        opened = self.opened or {}
        meta, told = opened.get("_meta"), opened.get("serverInfo")
        if type(told) is not dict and type(meta) is dict:
            told = meta.get("io.modelcontextprotocol/serverInfo")
        told = told if type(told) is dict else {}
        return str(told.get("name", "")), str(told.get("version", ""))

    def start(self) -> list[bytes]:
        """The client's first message."""
        if self.era == "modern":
            return [self._ask("server/discover", {})]
        hello = {"protocolVersion": REVISIONS["legacy"], "capabilities": _OFFERED, "clientInfo": _CLIENT}
        return [self._ask("initialize", hello)]

    def asked(self, frame: Frame) -> Asked | None:
        """The request that a message of the server's answers."""
        if self._asked is None or frame.kind != "response" or frame.id != self._asked[0]:
            return None
        return Asked(self._asked[1], params=self._asked[2])

    def heard(self, frame: Frame) -> list[bytes]:
        """What to say after this message of the server's."""
        if frame.kind == "request":
            answer = _ANSWERS.get(str(frame.method), _NO_METHOD)
            return [_line({"jsonrpc": "2.0", "id": frame.id, **answer})]
        if self.asked(frame) is None or self._asked is None:
            return []
        _, method, params = self._asked
        self._asked = None
        said = [*self._taken(method, params, frame)]
        return said if self.done else [*said, *self._next()]

    # --- answers -----------------------------------------------------------------------------------------

    def _taken(self, method: str, params: dict[str, Any], frame: Frame) -> list[bytes]:
        result = frame.message.get("result")
        opening = method in ("initialize", "server/discover")
        if method == "tools/call":
            self.called.append(_called(params, frame))
        if type(result) is not dict:
            if opening:
                self.done, self.refused = True, _error(frame)
            return []
        if opening:
            return self._opened(result)
        if method in LISTED:
            self._listed(method, params, result)
        return []

    def _opened(self, result: dict[str, Any]) -> list[bytes]:
        self.opened = result
        self._to_ask.extend((method, {}) for method in LISTS)
        if self.era == "modern":
            return []
        return [_line({"jsonrpc": "2.0", "method": "notifications/initialized"})]

    def _listed(self, method: str, params: dict[str, Any], result: dict[str, Any]) -> None:
        page = result.get(LISTED[method][0])
        items = [one for one in page if type(one) is dict] if type(page) is list else []
        self.items[method] += items
        self._pages = self._pages + 1 if "cursor" in params else 1
        cursor = result.get("nextCursor")
        if type(cursor) is not str or not cursor:
            self._to_ask.extend(self._readable(method))
        elif self._pages >= MOST_PAGES:
            self.cut.append(method)
        else:
            self._to_ask.appendleft((method, {"cursor": cursor}))

    def _readable(self, method: str) -> list[tuple[str, dict[str, Any]]]:
        """The requests for what a list has named, where that is to be read and needs no arguments."""
        how = _READING.get(method) if self._read else None
        if how is None:
            return []
        found = [one for one in map(how, self.items[method]) if one is not None]
        return found[:MOST_READ]

    # --- requests ----------------------------------------------------------------------------------------

    def _next(self) -> list[bytes]:
        if not self._to_ask and self._calls is not None:
            wanted, self._calls = self._calls(self.items["tools/list"]), None
            self._to_ask.extend(("tools/call", {"name": name, "arguments": given}) for name, given in wanted)
        if not self._to_ask:
            self.done = True
            return []
        return [self._ask(*self._to_ask.popleft())]

    def _ask(self, method: str, params: dict[str, Any]) -> bytes:
        self._last += 1
        if self.era == "modern":
            params = {**params, "_meta": self._meta()}
        self._asked = self._last, method, params
        return _line({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})

    def _meta(self) -> dict[str, Any]:
        return {
            f"{_META}protocolVersion": REVISIONS["modern"],
            f"{_META}clientCapabilities": _OFFERED,
            f"{_META}clientInfo": _CLIENT,
        }


def _prompt(item: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    arguments = item.get("arguments")
    listed = arguments if type(arguments) is list else []
    needs = any(type(one) is dict and one.get("required") for one in listed)
    name = item.get("name")
    return None if needs or type(name) is not str else ("prompts/get", {"name": name})


def _resource(item: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    uri = item.get("uri")
    return ("resources/read", {"uri": uri}) if type(uri) is str else None


_READING: Mapping[str, Callable[[Mapping[str, Any]], tuple[str, dict[str, Any]] | None]] = {
    "prompts/list": _prompt,
    "resources/list": _resource,
}


def _called(params: Mapping[str, Any], frame: Frame) -> Called:
    tool, result = str(params["name"]), frame.message.get("result")
    if type(result) is not dict:
        return Called(tool, "refusal", _error(frame))
    if result.get("isError") is not True:
        return Called(tool, "result")
    content = result.get("content")
    parts = content if type(content) is list else []
    texts = [one["text"] for one in parts if type(one) is dict and type(one.get("text")) is str]
    return Called(tool, "failure", " ".join(texts))


def _error(frame: Frame) -> str:
    error = frame.message.get("error")
    message = error.get("message") if type(error) is dict else None
    return message if type(message) is str and message else "the opening was not answered with a result"


def _line(message: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(message) + b"\n"
