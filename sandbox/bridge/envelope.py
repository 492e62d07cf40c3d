"""Messages as the bridge sees them: whose they are, and bytes that it does not change but for line ends.

What a message says is judged by the relay outside; here a line is one JSON object, or it is not written.
"""

from __future__ import annotations

from typing import Any

from sandbox.records import dataclass
from sandbox.wire.mcp_headers import VERSION_KEY
from sandbox.wire.strict import MAX_VALUES, Refusal, read_object
from sandbox.wire.structs import msgspec

Id = int | str
BATCH_MAX = 1000
SPARE = 1 << 16
"""Bytes that a line may be longer than a message: what ends it, and what counts differently."""


class Malformed(ValueError):
    """No JSON object, nor a list of them, and why."""


@dataclass(frozen=True, slots=True)
class Message:
    """One JSON object as a line; `id` is of a request or of what it answers, None where there is none."""

    line: bytes
    id: Id | None
    method: str | None

    @property
    def is_request(self) -> bool:
        """Somebody waits for an answer to it."""
        return self.method is not None and self.id is not None

    @property
    def is_response(self) -> bool:
        """It answers a request of the other side."""
        return self.method is None


class _Envelope(msgspec.Struct, gc=False):
    id: Id | None = None
    method: str | None = None


class _Error(msgspec.Struct, gc=False):
    class Error(msgspec.Struct, gc=False):
        code: int
        message: str

    error: Error


class _RawError(msgspec.Struct, gc=False):
    error: msgspec.Raw


class _Cancelled(msgspec.Struct, gc=False):
    class Params(msgspec.Struct, gc=False):
        requestId: Id

    params: Params


class _Initialized(msgspec.Struct, gc=False):
    class Result(msgspec.Struct, gc=False):
        protocolVersion: str

    result: Result


class _Modern(msgspec.Struct, gc=False):
    class Params(msgspec.Struct, gc=False):
        class Meta(msgspec.Struct, gc=False):
            version: str = msgspec.field(name=VERSION_KEY)

        meta: Meta = msgspec.field(name="_meta")

    params: Params


_envelope = msgspec.json.Decoder(_Envelope).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_error = msgspec.json.Decoder(_Error).decode
_raw_error = msgspec.json.Decoder(_RawError).decode
_cancelled = msgspec.json.Decoder(_Cancelled).decode
_modern = msgspec.json.Decoder(_Modern).decode
_initialized = msgspec.json.Decoder(_Initialized).decode
_Unread = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_JSON_SPACE = b" \t\r\n"


def read(data: bytes) -> list[Message]:
    """The message that a body or an event carries, or all of a batch (MCP 2025-03-26) in order."""
    _check_text(data)
    if data[:1] == b"{" or not data.lstrip(_JSON_SPACE).startswith(b"["):
        return [_message(data)]
    if data.count(b",") > MAX_VALUES:  # ten megabytes of `[1,1,…` would take hundreds as a list
        raise Malformed("a batch of too many values")
    try:
        parts = _list(data)
    except _Unread:
        raise Malformed("no JSON") from None
    if len(parts) > BATCH_MAX:
        raise Malformed(f"a batch of more than {BATCH_MAX} messages")
    return [_message(bytes(part)) for part in parts]


def _check_text(data: bytes) -> None:
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None


def _message(data: bytes) -> Message:
    try:
        envelope = _envelope(data)
        return Message(_line(data), envelope.id, envelope.method)
    except msgspec.ValidationError:
        pass
    except _Unread:
        raise Malformed("no JSON") from None
    try:
        _object(data)
    except _Unread:
        raise Malformed("no JSON object") from None
    # An id or a method of a kind that no message has: the relay says so, and to whom.
    return Message(_line(data), None, None)


def _line(data: bytes) -> bytes:
    """In JSON a line can end between two tokens only, where a space means the same."""
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r", b" ").replace(b"\n", b" ").strip(b" ")
    return data + b"\n"


def error_line(id: Id | None, code: int, why: str) -> bytes:
    """An error of ours in place of the answer."""
    return _encode({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": why}})


def error_of(message: Message, id: Id | None) -> bytes | None:
    """The error that `message` carries, as the answer to `id`; None where it carries none."""
    try:
        _error(message.line)
        return _encode({"jsonrpc": "2.0", "id": id, "error": _raw_error(message.line).error})
    except _Unread:
        return None


def _encode(members: dict[str, Any]) -> bytes:
    return msgspec.json.encode(members).replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"


def cancelled_id(line: bytes) -> Id | None:
    """The request that a `notifications/cancelled` is about."""
    try:
        return _cancelled(line).params.requestId
    except _Unread:
        return None


def version_in(line: bytes) -> str | None:
    """The revision that an answer to `initialize` names."""
    try:
        return _initialized(line).result.protocolVersion
    except _Unread:
        return None


def modern_version(line: bytes) -> str | None:
    """The revision that a message of the stateless era names in its `_meta`."""
    try:
        return _modern(line).params.meta.version
    except _Unread:
        return None


def whole(line: bytes) -> dict[str, Any]:
    """All of a message, for those few that have to be read; empty where it is none or takes too much."""
    try:
        return read_object(line)
    except Refusal:
        return {}
