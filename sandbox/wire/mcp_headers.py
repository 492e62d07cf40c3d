"""The headers in which streamable HTTP says again what a message says (MCP 2026-07-28, Request Metadata).

A server on the way decides by the header and the one behind it by the body: where they differ, somebody is
deceived. So one reading is made for both sides, of what is sent and of what is let in.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.records import dataclass

VERSION, METHOD, NAME, PARAM, SESSION = (
    "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Param-", "Mcp-Session-Id",
)  # fmt: skip
MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION = -32020, -32021, -32022
"""The codes of a header that disagrees (status 400), and of two other answers with status 400."""
FIRST_MODERN = "2026-07-28"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
SESSION_MAX = 1024
PARAMS_MAX = 64
TOKEN_MAX = 128

_KEY = "x-mcp-header"
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
# A tab within is allowed, and turned into a space by some on the way: it is encoded.
_PLAIN = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?")
_FIELD = re.compile(r"[\t\x20-\x7e]*")
_WRAPPED = re.compile(r"=\?base64\?(.*)\?=", re.S)
_SESSION = re.compile(rf"[\x21-\x7e]{{1,{SESSION_MAX}}}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INTEGER = re.compile(r"(-?[0-9]{1,400})(?:\.0{1,400})?")
_KINDS = frozenset({"string", "integer", "boolean"})


class Malformed(ValueError):
    """A tool whose `x-mcp-header` no client may follow, and why."""


@dataclass(frozen=True, slots=True)
class Param:
    """An argument of a tool that is also sent as the header `Mcp-Param-{name}`; `path` leads to it."""

    path: tuple[str, ...]
    name: str
    kind: str


# --- of a message --------------------------------------------------------------------------------------


def version_of(message: Mapping[str, Any]) -> str | None:
    """The revision that a message of the stateless era names in its `_meta`; None in others."""
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    version = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def is_modern(version: str | None) -> bool:
    """Whether a message that names this revision is of the stateless era, which these headers belong to.

    No other names one in each message, so that one which nobody knows is of this era too.
    """
    return bool(version) and not (_DATE.fullmatch(version or "") and str(version) < FIRST_MODERN)


def headers_for(
    message: Mapping[str, Any], tool_params: tuple[Param, ...] = (), version: str | None = None
) -> tuple[tuple[str, str], ...]:
    """The headers for a request or notification; `version` where it names none itself, as notifications may.

    `tool_params` is what `tool_params_of` said of the tool that is called.
    """
    own = version_of(message)
    version = version if own is None else own
    made = [] if version is None else [(VERSION, encoded(version))]
    method = message.get("method")
    if isinstance(method, str):
        made.append((METHOD, encoded(method)))
        name = _name(message)
        made += [(NAME, encoded(name))] if name is not None else []
        made += _param_headers(message, tool_params)
    return tuple(made)


def mismatch(
    headers: Mapping[str, str], message: Mapping[str, Any], tool_params: tuple[Param, ...] | None = None
) -> str | None:
    """Why these headers, by their names in small letters, do not say what the message says; None if they do.

    Without `tool_params` (the tool's schema is not known) `Mcp-Param-*` are not judged by their values.
    """
    wrong = next((name for name, value in headers.items() if _is_ours(name) and decoded(value) is None), None)
    if wrong is not None:
        return f"the header `{wrong[:TOKEN_MAX]}` cannot be decoded"
    return _differs(headers, message) or _params_differ(headers, message, tool_params)


def _differs(headers: Mapping[str, str], message: Mapping[str, Any]) -> str | None:
    """The same of the headers that do not depend on a tool."""
    version, method, name = version_of(message), message.get("method"), _name(message)
    if VERSION.lower() not in headers:
        return f"the header `{VERSION}` is missing"
    if version is not None and decoded(headers[VERSION.lower()]) != version:
        return f"the header `{VERSION}` names another revision than `{VERSION_KEY}`"
    for header, meant, member in (
        (METHOD, method, "method"),
        (NAME, name, f"params.{_NAMED.get(str(method))}"),
    ):
        if isinstance(meant, str) and (why := _one_differs(headers, header, meant, member)):
            return why
    return None


def _one_differs(headers: Mapping[str, str], header: str, meant: str, member: str) -> str | None:
    given = headers.get(header.lower())
    if given is None:
        return f"the header `{header}` is missing"
    return None if decoded(given) == meant else f"the header `{header}` differs from `{member}`"


def _is_ours(name: str) -> bool:
    return name in (VERSION.lower(), METHOD.lower(), NAME.lower()) or name.startswith(PARAM.lower())


def _name(message: Mapping[str, Any]) -> str | None:
    """What `Mcp-Name` says of this message: the tool, prompt or resource that it asks for."""
    params, key = message.get("params"), _NAMED.get(str(message.get("method")))
    name = params.get(key) if isinstance(params, dict) and key is not None else None
    return name if isinstance(name, str) else None


# --- of a tool's arguments -----------------------------------------------------------------------------


def tool_params_of(tool: Mapping[str, Any]) -> tuple[Param, ...]:
    """The arguments that a tool of `tools/list` wants to see in headers; raises where it says so wrongly."""
    found = tuple(_param(schema, path) for path, schema in _places(tool.get("inputSchema")) if _KEY in schema)
    if len(found) > PARAMS_MAX:
        raise Malformed(f"more than {PARAMS_MAX} arguments in headers")
    names = [param.name.lower() for param in found]
    if len(set(names)) < len(names):
        raise Malformed("two arguments in one header")
    return found


def _places(root: Any) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Every place of a schema where a schema stands; with a path where properties alone lead to it.

    A stack of its own: a schema as deep as a hostile server likes ends no session.
    """
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while stack:
        path, schema = stack.pop()
        if isinstance(schema, list):
            stack += [(None, one) for one in schema]
        if not isinstance(schema, dict):
            continue
        yield path, schema
        for keyword, below in schema.items():
            if keyword in _MAPS and isinstance(below, dict):
                is_path = path is not None and keyword == "properties"
                stack += [
                    ((*path, name) if is_path and path is not None else None, one)
                    for name, one in below.items()
                ]
            elif keyword in _PLACES:
                stack.append((None, below))


# The keywords of JSON Schema 2020-12 under which schemas stand. Under others stands data (`default`,
# `const`, `enum`), in which the same word means nothing.
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
_PLACES = frozenset(
    "items prefixItems contains unevaluatedItems additionalProperties unevaluatedProperties propertyNames "
    "not if then else allOf anyOf oneOf contentSchema".split()
)


def _param(schema: dict[str, Any], path: tuple[str, ...] | None) -> Param:
    name, kind = schema[_KEY], schema.get("type")
    if not path:
        raise Malformed("`x-mcp-header` where `properties` alone do not lead")
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise Malformed("`x-mcp-header` that is no name of a header")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise Malformed(f"`x-mcp-header` `{name}` at what is no string, integer or boolean")
    return Param(path, name, kind)


def _param_headers(message: Mapping[str, Any], tool_params: tuple[Param, ...]) -> list[tuple[str, str]]:
    shown = [(param, _shown(_argument(message, param.path), param.kind)) for param in tool_params]
    return [(PARAM + param.name, encoded(text)) for param, text in shown if text is not None]


def _params_differ(
    headers: Mapping[str, str], message: Mapping[str, Any], tool_params: tuple[Param, ...] | None
) -> str | None:
    for param in tool_params or ():
        header = PARAM + param.name
        meant, given = _shown(_argument(message, param.path), param.kind), headers.get(header.lower())
        if (meant is None) != (given is None):
            return (
                f"the header `{header}` is {'missing' if given is None else 'there and its argument is not'}"
            )
        if meant is not None and given is not None and not _same(decoded(given), meant, param.kind):
            return f"the header `{header}` differs from its argument"
    return None


def _argument(message: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    params = message.get("params")
    value = params.get("arguments") if isinstance(params, dict) else None
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _shown(value: Any, kind: str) -> str | None:
    """An argument in words; None where no header is made of it: absent, null, an object or a list."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and kind == "integer" and value.is_integer():
        value = int(value)
    if not isinstance(value, (str, int, float)):
        return None
    try:
        return str(value)
    except ValueError:  # an integer of more digits than Python turns into words
        return None


def _same(given: str | None, meant: str, kind: str) -> bool:
    """Integers are compared as numbers: `42.0` is `42` (MCP 2026-07-28, Server Validation)."""
    if given == meant:
        return True
    numbers = [_INTEGER.fullmatch(text) for text in (given or "", meant)] if kind == "integer" else [None]
    return all(numbers) and len({int(number[1]) for number in numbers if number}) == 1


# --- of a value ----------------------------------------------------------------------------------------


def encoded(text: str) -> str:
    """The text as it may stand in a header: as it is, or in Base64 where it would not arrive so."""
    if _PLAIN.fullmatch(text) and not _WRAPPED.fullmatch(text):
        return text
    return f"=?base64?{b2a_base64(text.encode(errors='replace'), newline=False).decode()}?="


def decoded(value: str) -> str | None:
    """The text that a header's value stands for; None where no client that follows the rules has made it."""
    if not _FIELD.fullmatch(value):
        return None
    wrapped = _WRAPPED.fullmatch(value)
    if wrapped is None:
        return value
    try:
        raw = a2b_base64(wrapped[1].encode(), strict_mode=True)
        return raw.decode() if b2a_base64(raw, newline=False).decode() == wrapped[1] else None
    except (Base64Error, UnicodeDecodeError):
        return None


def is_session_id(text: str) -> bool:
    """Whether this is an `Mcp-Session-Id`: visible ASCII, and of a length that can be borne."""
    return bool(_SESSION.fullmatch(text))
