"""What is read of a body, and what is said of one that is refused, with HTTP's status for it (P)."""

from __future__ import annotations

from typing import Any

from sandbox.serve.words import Headers, Refused
from sandbox.wire import mcp_headers
from sandbox.wire.jsonrpc import INVALID_REQUEST, PARSE_ERROR, Fault, Frame, FrameReader, error_frame
from sandbox.wire.salvage import Id

INVALID_PARAMS, METHOD_NOT_FOUND = -32602, -32601
BUSY = -32000
BODY_CAP = 64 << 20
JSON: Headers = (("Content-Type", "application/json"),)
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_STATUS = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    METHOD_NOT_FOUND: 404,
    mcp_headers.MISMATCH: 400,
    mcp_headers.MISSING_CAPABILITY: 400,
    mcp_headers.UNSUPPORTED_VERSION: 400,
}
"""MCP 2026-07-28, Protocol Version Header and Server Validation; others come with 200."""


def read(body: bytes) -> Frame | Fault:
    """The one message of a body, as strict as a line of stdio; a line break between its values is a blank."""
    reader = FrameReader(BODY_CAP)
    found = reader.feed(body.translate(_BREAKS) + b"\n" if b"\n" in body or b"\r" in body else body + b"\n")
    return found[0] if found else Fault("frame-json", "an empty body", PARSE_ERROR, 0, "")


def refused(
    status: int,
    name: str,
    why: str,
    *,
    code: int = INVALID_REQUEST,
    id: Id = None,
    data: Any = None,
    headers: Headers = (),
) -> Refused:
    """A refusal in the protocol's words: `name` is for the log, `code` for a client that reads the error."""
    return Refused(status, name, why, headers, error_frame(id, code, f"mcp-sandbox: {why}", data))


def busy(why: str, id: Id = None, status: int = 429, seconds: int = 1) -> Refused:
    """A refusal that will not last."""
    return refused(status, "busy", why, code=BUSY, id=id, headers=(("Retry-After", str(seconds)),))


def malformed(fault: Fault) -> Refused:
    """What is said to a body that is no message."""
    id = fault.ids[0] if len(fault.ids) == 1 else None
    return refused(400, fault.rule, fault.reason, code=fault.code, id=id)


def status_of(code: int | None) -> int:
    """The status of an answer in the stateless era with an error of that code, or with none."""
    return 200 if code is None else _STATUS.get(code, 200)


LOST = refused(404, "no-session", "no such session; it has ended, or is another client's")
"""To an id of nobody's and to one of another principal's alike."""
