"""JSON-RPC frames of MCP's stdio transport: bytes in, frames and faults out (MCP 2025-11-25, Transports).

A line ends at LF and nowhere else. One CR before it is tolerated and not forwarded, because clients on
Windows write CRLF; blank lines carry nothing; a last line without LF counts if it is a whole message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sandbox.digest import sha256
from sandbox.wire.salvage import EDGE, MAX_ID_NUMBER, Id, Kind, Salvage, salvage, salvage_ends, usable
from sandbox.wire.strict import Bytes, Refusal, read_object
from sandbox.wire.structs import msgspec

if TYPE_CHECKING:
    import hashlib

CAP = 10 << 20
LONG = 4096

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
INTERNAL_ERROR = -32603

MAX_METHOD_CHARS = 256
OVERLONG, PRETTY = "frame-size", "frame-pretty"
"""The rules of what is known to be no message before its end comes."""
_NOT_JSON = frozenset({"frame-json", "frame-utf8", "frame-bom", "frame-nan", "frame-surrogate"})
_DIGEST_CHARS = 16


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One valid message; `data` is what arrived, ended by exactly one LF."""

    data: Bytes
    kind: Kind
    id: Id
    method: str | None
    tool: str | None
    message: dict[str, Any]

    @property
    def size(self) -> int:
        """The bytes of the message, its line ending not counted."""
        return len(self.data) - 1

    @property
    def digest(self) -> str:
        """The first 16 hex digits of the message's SHA-256."""
        return _digest(memoryview(self.data)[:-1])


class Fault(msgspec.Struct, frozen=True):
    """One refused line: the rule, why, the error code it deserves, and what of it could be read safely.

    `ids` are the requests it belongs to, `noise` says that nothing about it looks like a message, and
    `head` holds its first bytes for a log; never forward them.
    """

    rule: str
    reason: str
    code: int
    size: int
    digest: str
    ids: tuple[int | str, ...] = ()
    kind: Kind | None = None
    noise: bool = False
    head: bytes = b""


class FrameReader:
    """Cuts a byte stream into frames and faults; never raises, holds at most `cap` bytes."""

    def __init__(self, cap: int = CAP) -> None:
        self._cap = cap
        self._held = bytearray()
        self._excess: _Excess | None = None
        self._pretty: _Pretty | None = None
        self.blank_lines = 0
        self.blank_bytes = 0
        """What was fed and carried nothing, so far."""

    @property
    def wasting(self) -> int:
        """The bytes so far of what is under way and can be no message any more; 0 where it still may be."""
        if self._excess:
            return self._excess.size
        return self._pretty.size if self._pretty else 0

    @property
    def under_way(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._held) or self._excess is not None

    def feed(self, chunk: bytes) -> list[Frame | Fault]:
        """What the bytes so far complete, in order; how they were cut into chunks makes no difference."""
        found: list[Frame | Fault] = []
        if (
            # What it nearly always is: one whole line, while nothing is under way.
            chunk.find(b"\n") == len(chunk) - 1
            and _OPENING < len(chunk) <= self._cap
            and not self._held
            and self._excess is None
            and self._pretty is None
        ):
            self._examine_into(chunk, found)
            return found
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._end_line(chunk[start : end + 1], found)
            start = end + 1
        if start < len(chunk):
            self._hold(chunk[start:])
        return found

    def close(self) -> list[Frame | Fault]:
        """What the end of the stream completes: a message without its LF, or the fault of a cut one."""
        found: list[Frame | Fault] = []
        if self._held or self._excess:
            self._end_line(b"\n", found)
        if self._pretty:
            found.append(self._pretty.fault())
            self._pretty = None
        return found

    def _hold(self, piece: bytes) -> None:
        if self._excess:
            self._excess.add(piece)
            return
        self._held += piece
        # One more than the cap: it may be the CR of a line end.
        if len(self._held) > self._cap + 1:
            self._excess = _Excess(self._held)
            self._held = bytearray()

    def _end_line(self, piece: bytes, found: list[Frame | Fault]) -> None:
        """Complete the line that `piece`, ending in LF, ends."""
        line: Bytes = piece
        if self._excess:
            self._excess.add(piece[:-1])
            found.append(self._excess.fault(self._cap))
            self._excess = None
            return
        if self._held:
            self._held += piece
            line, self._held = self._held, bytearray()
        size = len(line) - 1 - line.endswith(b"\r\n")
        if size > self._cap:
            found.append(_Excess(line[:-1]).fault(self._cap))
        elif not self._part_of_pretty(line, found):
            self._examine_into(line, found)

    def _examine_into(self, line: Bytes, found: list[Frame | Fault]) -> None:
        if line.endswith(b"\r\n"):
            line = line[:-2] + b"\n"
        try:
            found.append(_frame(line, read_object(line)))
        except Refusal as refusal:
            if line.strip():
                found.append(_fault(line[:-1], refusal))
            else:
                self.blank_lines += 1
                self.blank_bytes += len(line)

    def _part_of_pretty(self, line: Bytes, found: list[Frame | Fault]) -> bool:
        """Whether `line` belongs to one object spread over lines; its end adds one fault for all of them."""
        if self._pretty is None:
            if len(line) > _OPENING or line.strip() not in _BRACKETS:
                return False
            self._pretty = _Pretty(line, self._cap)
            return True
        end = self._pretty.add(line)
        if end is not _Pretty.GOES_ON:
            found.append(self._pretty.fault())
            self._pretty = None
        return end is not _Pretty.NOT_MINE


_BRACKETS = (b"{", b"[")
_OPENING = 64  # a longer line is not a bracket alone; saves copying it to strip it


class _Excess:
    """A line beyond the cap: only its size, hash and two ends are kept."""

    def __init__(self, held: Bytes) -> None:
        self.size = 0
        self._hash = sha256()
        self._head = b""
        self._tail = b""
        self.add(held)

    def add(self, piece: Bytes) -> None:
        self.size += len(piece)
        self._hash.update(piece)
        if len(self._head) < EDGE:
            self._head += piece[: EDGE - len(self._head)]
        self._tail = bytes((self._tail + piece[-EDGE:])[-EDGE:])

    def fault(self, cap: int) -> Fault:
        found = salvage_ends(self._head, self._tail)
        digest = self._hash.hexdigest()[:_DIGEST_CHARS]
        reason = f"longer than {cap} bytes"
        return Fault(
            OVERLONG, reason, INVALID_REQUEST, self.size, digest, found.ids, found.kind, head=self._head
        )


class _Pretty:
    """An object spread over lines, from the bracket alone on its line to the bracket that closes it."""

    GOES_ON, ENDS, NOT_MINE = range(3)

    def __init__(self, line: Bytes, cap: int) -> None:
        self._body = bytearray(line)
        self._cap = cap

    @property
    def size(self) -> int:
        return len(self._body)

    def add(self, line: Bytes) -> int:
        if line[:1] not in (b" ", b"\t", b"}", b"]") or len(self._body) + len(line) > self._cap:
            return self.NOT_MINE
        self._body += line
        return self.GOES_ON if line[:1] in (b" ", b"\t") else self.ENDS

    def fault(self) -> Fault:
        refusal = Refusal(PRETTY, "one object over several lines; a message is one line")
        return _fault(self._body[:-1], refusal)


def error_frame(id: Id, code: int, message: str, data: dict[str, Any] | None = None) -> bytes:
    """A JSON-RPC error response as a line; `id` None only where the request's id could not be told."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data:
        error["data"] = data
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id, "error": error}) + b"\n"


def _fault(line: Bytes, refusal: Refusal) -> Fault:
    known = salvage(line)
    return Fault(
        refusal.rule,
        refusal.reason,
        PARSE_ERROR if refusal.rule in _NOT_JSON else INVALID_REQUEST,
        len(line),
        _digest(line),
        known.ids,
        known.kind,
        noise=_is_noise(known),
        head=bytes(line[:EDGE]),
    )


def _is_noise(known: Salvage) -> bool:
    """Whether a line is a program talking to itself: no `jsonrpc`, and not an answer to anything."""
    return not known.marked and not (known.ids and known.kind == "response")


def _digest(data: Bytes | memoryview) -> str:
    return (sha256(data) if len(data) < LONG else _long_sha256(data)).hexdigest()[:_DIGEST_CHARS]


def _long_sha256(data: Bytes | memoryview) -> hashlib._Hash:
    # Imported for the first long frame: OpenSSL takes 4 ms to load and is several times as fast.
    import hashlib

    return hashlib.sha256(data)


_MEMBERS = frozenset(("jsonrpc", "id", "method", "params", "result", "error"))


def _frame(line: Bytes, message: dict[str, Any]) -> Frame:
    if message.get("jsonrpc") != "2.0":
        raise Refusal("frame-envelope", 'no `"jsonrpc": "2.0"`')
    if not message.keys() <= _MEMBERS:
        _check_others(message)
    if "method" in message:
        return _call(line, message)
    return _response(line, message)


def _check_others(message: dict[str, Any]) -> None:
    """Refuse what a reader that minds no case (Go's encoding/json) takes for a member of the protocol's."""
    for name in message.keys() - _MEMBERS:
        if name.casefold() in _MEMBERS:
            raise Refusal("frame-envelope", f"a member is `{name.casefold()}` but for its case")


def _call(line: Bytes, message: dict[str, Any]) -> Frame:
    """A request or a notification."""
    method = message["method"]
    if "result" in message or "error" in message:
        raise Refusal("frame-envelope", "both a call and a response")
    if type(method) is not str or not 0 < len(method) <= MAX_METHOD_CHARS:
        raise Refusal("frame-envelope", f"`method` is not a string of 1 to {MAX_METHOD_CHARS} characters")
    params = message.get("params", _NONE)
    if type(params) is not dict:
        raise Refusal("frame-envelope", "`params` is not an object")
    tool = params.get("name") if method == "tools/call" else None
    if "id" not in message:
        return Frame(line, "notification", None, method, None, message)
    id = message["id"]
    if not ((type(id) is int and 0 <= id <= MAX_ID_NUMBER) or usable(id)):
        raise Refusal("frame-id", "`id` is neither a string of at most 512 characters nor an exact integer")
    return Frame(line, "request", id, method, tool if type(tool) is str else None, message)


_NONE: dict[str, Any] = {}


def _response(line: Bytes, message: dict[str, Any]) -> Frame:
    if ("result" in message) == ("error" in message):
        raise Refusal("frame-envelope", "not exactly one of `method`, `result` and `error`")
    if "error" in message:
        _check_error(message["error"])
    elif type(message["result"]) is not dict:
        raise Refusal("frame-envelope", "`result` is not an object")
    id = message.get("id")
    # An error may answer a request whose id its sender could not read (JSON-RPC 2.0, section 5).
    if not (
        (type(id) is int and 0 <= id <= MAX_ID_NUMBER) or usable(id) or (id is None and "error" in message)
    ):
        raise Refusal("frame-id", "`id` is neither a string of at most 512 characters nor an exact integer")
    return Frame(line, "response", cast(Id, id), None, None, message)


def _check_error(error: object) -> None:
    if type(error) is not dict or type(error.get("code")) is not int or type(error.get("message")) is not str:
        raise Refusal("frame-envelope", "`error` is not an object with an integer `code` and a `message`")
