"""Every text of a message that can reach a model, a person or a server, and its place (P).

A message is cut into parts: what is judged, withheld and labelled as one (a tool, the instructions, a whole
result). A part gives its texts in the order of the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from sandbox.inspect.judged import Asked
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.splice import Place

Kind = Literal[
    "tool", "prompt", "resource", "template", "instructions", "server",
    "result", "error", "elicitation", "sampling", "request", "log", "progress", "notification", "rest",
    "arguments", "answer",
]  # fmt: skip
"""`rest`: what else a message holds. `arguments` and `answer` go to the server, all others to the client."""
Sort = Literal["text", "key", "link", "blob", "opaque"]
"""`key`: the name of a member, found at the member's place. `link`: a URI. `blob`: bytes in base64.
`opaque`: what only the other side's program reads (cursors, request state)."""

DEFINITIONS: Final = frozenset({"tool", "prompt", "resource", "template", "instructions", "server"})
"""What a server is, as opposed to what it answers."""

LISTED: Final[Mapping[str, tuple[str, Kind]]] = {
    "tools/list": ("tools", "tool"),
    "prompts/list": ("prompts", "prompt"),
    "resources/list": ("resources", "resource"),
    "resources/templates/list": ("resourceTemplates", "template"),
}
"""By method: the member of the result that holds the items, and what they are."""
_OPENING = frozenset({"initialize", "server/discover"})
_ASKS: Mapping[str, Kind] = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling"}
_TELLS: Mapping[str, Kind] = {"notifications/message": "log", "notifications/progress": "progress"}
_NAMES: Mapping[Kind, str] = {"resource": "uri", "template": "uriTemplate"}

_OPAQUE = frozenset(
    {"requestState", "nextCursor", "cursor", "progressToken", "protocolVersion", "resultType"}
)
"""Members of a result or of parameters that only a program reads; anywhere else they may be any text."""
_LINKS = frozenset({"uri", "url", "uriTemplate", "websiteUrl", "src", "href", "$ref", "$id", "$schema"})
_KNOWN = frozenset({
    *_OPAQUE, *_LINKS, "jsonrpc", "mimeType", "taskId", "lastModified", "cacheScope", "name", "title",
    "description", "type", "text", "content", "properties", "required",
    "inputSchema", "outputSchema", "annotations", "_meta", "icons", "items", "default", "enum", "result",
    "tools", "prompts", "resources", "resourceTemplates", "contents", "messages", "role", "arguments",
    "structuredContent", "isError", "additionalProperties", "minimum", "maximum", "anyOf", "oneOf", "allOf",
    "blob", "data", "code", "message", "error", "instructions", "serverInfo", "capabilities", "version",
    "format", "pattern", "examples", "const", "minLength", "maxLength", "minItems", "maxItems", "$defs",
    "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint", "execution", "taskSupport", "size",
    "ttlMs", "listChanged", "subscribe", "logging", "completions", "level", "logger", "progress", "total",
    "audience", "priority", "sizes", "theme", "exclusiveMinimum", "exclusiveMaximum", "prefixItems",
    "completion", "values", "hasMore", "requestedSchema", "mode", "inputRequests", "method", "params",
    "systemPrompt", "maxTokens", "modelPreferences", "hints", "definitions", "propertyNames",
})  # fmt: skip
"""Names that the protocol and JSON Schema themselves give members: they say nothing."""


class Part(NamedTuple):
    """What stands at `place` and is judged as one; members named in `without` are parts of their own."""

    kind: Kind
    place: Place
    value: Any
    without: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """What a person calls it: a tool's name, a resource's URI; empty where it has none."""
        named = self.value if type(self.value) is dict else {}
        name = named.get(_NAMES.get(self.kind, "name"))
        return name if type(name) is str else ""


class Text(NamedTuple):
    """One string of a message."""

    place: Place
    text: str
    sort: Sort


def parts(frame: Frame, asked: Asked | None) -> list[Part]:
    """The parts of a message of the server's; together they hold every text of it."""
    message = frame.message
    if frame.kind != "response":
        params = message.get("params")
        asks = _ASKS if frame.kind == "request" else _TELLS
        other: Kind = "request" if frame.kind == "request" else "notification"
        return [Part(asks.get(str(frame.method), other), ("params",), params)] if params else []
    if "error" in message:
        return [Part("error", ("error",), message["error"])]
    return _of_result(message["result"], asked.method if asked else "")


def parts_to_server(frame: Frame) -> list[Part]:
    """The parts of a message of the client's."""
    message = frame.message
    if frame.kind == "response":
        said = "error" if "error" in message else "result"
        return [Part("answer", (said,), message[said])]
    params = message.get("params")
    return [Part("arguments", ("params",), params)] if params else []


def texts(part: Part) -> list[Text]:
    """Every string in a part, names of members among them, in the order of the message."""
    found: list[Text] = []
    value = part.value
    if part.without and type(value) is dict:
        value = {name: inner for name, inner in value.items() if name not in part.without}
    _gather(value, part.place, found)
    return found


def _of_result(result: dict[str, Any], method: str) -> list[Part]:
    if method in LISTED:
        member, kind = LISTED[method]
        return _split(result, member, [*_items(result, member, kind)])
    if method in _OPENING:
        return _of_opening(result)
    if type(asked := result.get("inputRequests")) is dict:
        found = [
            Part(_asks(request), ("result", "inputRequests", key), request) for key, request in asked.items()
        ]
        # The rest keeps the keys: they are the server's words too.
        return [*found, Part("rest", ("result",), {**result, "inputRequests": dict.fromkeys(asked)})]
    return [Part("result", ("result",), result)] if result else []


def _items(result: dict[str, Any], member: str, kind: Kind) -> list[Part]:
    items = result.get(member)
    if type(items) is not list:
        return []
    return [Part(kind, ("result", member, at), item) for at, item in enumerate(items)]


def _split(result: dict[str, Any], member: str, found: list[Part]) -> list[Part]:
    without = frozenset({member}) if type(result.get(member)) is list else frozenset()
    rest = Part("rest", ("result",), result, without)
    return [*found, rest] if len(result) > len(without) else found


def _of_opening(result: dict[str, Any]) -> list[Part]:
    kinds: tuple[tuple[str, Kind], ...] = (("instructions", "instructions"), ("serverInfo", "server"))
    found = [Part(kind, ("result", name), result[name]) for name, kind in kinds if name in result]
    return [*found, Part("rest", ("result",), result, frozenset({"instructions", "serverInfo"}))]


def _asks(request: object) -> Kind:
    method = request.get("method") if type(request) is dict else None
    return _ASKS.get(method, "request") if type(method) is str else "request"


def _gather(value: Any, place: Place, found: list[Text], sort: Sort = "text") -> None:
    """Recursive: a frame's depth is bounded, and this is twice as fast as a stack of our own."""
    kind = type(value)
    if kind is str:
        found.append(Text(place, value, sort))
    elif kind is dict:
        for name, inner in value.items():
            if name not in _KNOWN:
                found.append(Text((*place, name), name, "key"))
            if type(inner) in _TEXTUAL:
                _gather(inner, (*place, name), found, _sort(name, value, len(place)))
    elif kind is list:
        for at, inner in enumerate(value):
            if type(inner) in _TEXTUAL:
                _gather(inner, (*place, at), found, sort)


_TEXTUAL = frozenset({str, dict, list})


def _sort(name: str, holder: dict[str, Any], depth: int) -> Sort:
    if name in _LINKS:
        return "link"
    if name in _OPAQUE and depth == 1:
        return "opaque"
    if name == "blob" or (name == "data" and holder.get("type") in ("image", "audio")):
        return "blob"
    return "text"
