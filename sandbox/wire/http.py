"""The client's side of an HTTP/1 connection, so strict that nobody can read it otherwise (RFC 9110, 9112).

Every head is held until it is whole; whatever two servers might read differently (framing given twice, bare
line feeds, folded fields, spellings of a framing field) is `Malformed`. Bodies pass as they come.
"""

from __future__ import annotations

import re

from sandbox.records import dataclass
from sandbox.wire.http_body import Body, Chunked, Counted
from sandbox.wire.pieces import Data

HEAD_MOST = 1 << 16
FIELDS_MOST = 200
REQUEST_LINE_MOST = 1 << 14
AWAITING_MOST = 1 << 16
"""Bytes that may wait for the answer to an upgrade."""
_INTERIM_MOST = 16

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
_TARGET = re.compile(r"[!-~]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)([/?#].*)?")
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})( [^\r\n]*)?")
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_ADDRESS = re.compile(r"\[[0-9A-Fa-f:.]+\]")
_FRAMING = ("content-length", "transfer-encoding", "host")


class Malformed(ValueError):
    """Why something cannot be read in one way only."""


@dataclass(frozen=True, slots=True)
class Request:
    """One whole head as it was sent; `hosts` are the values of every Host field."""

    raw: bytes
    method: str
    target: str
    version: str
    hosts: tuple[str, ...] = ()
    authority: str | None = None
    """The authority of an absolute target, or the whole target of CONNECT."""
    upgrade: tuple[str, ...] = ()
    """Protocols that the connection may change to, in lower case."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The final status that answers an upgrade, and of 101 the protocols it changes to."""

    status: int
    upgrade: tuple[str, ...] = ()


class RequestReader:
    """Requests with their bodies, one after the other; of no use after `Malformed`."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._body: Body | None = None
        self._upgrade = False
        self._tunnel = False
        self._passing = False

    @property
    def held(self) -> int:
        """Bytes that are held back."""
        return len(self._held)

    @property
    def awaiting(self) -> bool:
        """True once an upgrade was asked for with all of its body: `upgraded` or `declined` has to follow."""
        return self._upgrade and self._body is None

    def feed(self, data: bytes) -> list[Request | Data]:
        """What the bytes so far complete; together with what is held they are what was fed."""
        if self._passing:
            return [Data(data)] if data else []
        if self._body is not None and not self._held and (size := self._body.plain(len(data))):
            return [Data(data)] if size == len(data) else self._parse(data)
        return self._parse(data)

    def upgraded(self) -> list[Request | Data]:
        """The other side agreed: everything passes from now on."""
        self._upgrade, self._passing = False, True
        held, self._held = bytes(self._held), bytearray()
        return [Data(held)] if held else []

    def declined(self) -> list[Request | Data]:
        """The other side went on with HTTP: so does this."""
        self._upgrade = False
        return self._parse(b"")

    def _parse(self, data: bytes) -> list[Request | Data]:
        self._held += data
        found: list[Request | Data] = []
        while self._held and not self.awaiting:
            if self._tunnel:
                raise Malformed("bytes after CONNECT")
            piece = self._next_body() if self._body is not None else self._next_head()
            if piece is None:
                break
            found.append(piece)
        if self.awaiting and len(self._held) > AWAITING_MOST:
            raise Malformed(f"more than {AWAITING_MOST} bytes before the answer to an upgrade")
        return found

    def _next_body(self) -> Data | None:
        body = self._body
        assert body is not None  # noqa: S101 - asked for only then
        try:
            taken = body.take(self._held)
        except ValueError as why:
            raise Malformed(str(why)) from None
        if body.done:
            self._body = None
        if not taken:
            return None
        piece = Data(bytes(self._held[:taken]))
        del self._held[:taken]
        return piece

    def _next_head(self) -> Request | None:
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            _check_partial(self._held)
            return None
        raw = bytes(self._held[: end + 4])
        if len(raw) > HEAD_MOST:
            raise Malformed(f"a head of more than {HEAD_MOST} bytes")
        request, self._body = _request(raw)
        del self._held[: end + 4]
        self._upgrade = bool(request.upgrade)
        self._tunnel = request.method == "CONNECT"
        return request


class AnswerReader:
    """Watches what the host answers to an upgrade that is the first request of its connection."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._interim = 0

    def feed(self, data: bytes) -> Answer | None:
        """The final answer once its head is whole; the bytes pass regardless."""
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._held[:end])
            del self._held[: end + 4]
            lines = head.split(b"\r\n")
            status = _STATUS.fullmatch(lines[0])
            if status is None:
                raise Malformed("not a status line")
            number = int(status[1])
            if number == 101 or number >= 200:
                return Answer(number, _protocols(_pairs(lines[1:])) if number == 101 else ())
            self._interim += 1
            if self._interim > _INTERIM_MOST:
                raise Malformed("too many interim answers")
        first, end, _ = bytes(self._held[:HEAD_MOST]).partition(b"\r\n")
        if not b"HTTP/1.".startswith(first[:7]) or (end and not _STATUS.fullmatch(first)):
            raise Malformed("not a status line")
        if len(self._held) > HEAD_MOST:
            raise Malformed(f"a head of more than {HEAD_MOST} bytes")
        return None


def authority(text: str) -> tuple[str, int | None]:
    """Host and port of a Host field or an absolute target; the host itself is not judged."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        host += bracket
        if rest and not rest.startswith(":"):
            raise Malformed("something after the address")
        port = rest[1:] if rest else ""
        colon = bool(rest)
    else:
        host, sign, port = text.partition(":")
        colon = bool(sign)
    if not (_HOST.fullmatch(host) or _ADDRESS.fullmatch(host)):
        raise Malformed("not a host")
    if colon and (not _PORT.fullmatch(port) or int(port) > 65535):
        raise Malformed("not a port")
    return host.removeprefix("[").removesuffix("]"), int(port) if colon else None


# --- heads ------------------------------------------------------------------------------------------


def _check_partial(held: bytearray) -> None:
    """An unfinished head is refused as soon as it cannot become a good one."""
    if len(held) > HEAD_MOST:
        raise Malformed(f"a head of more than {HEAD_MOST} bytes")
    first, end, _ = bytes(held[: REQUEST_LINE_MOST + 2]).partition(b"\r\n")
    if end:
        _request_line(first)
    elif len(held) > REQUEST_LINE_MOST:
        raise Malformed(f"a request line of more than {REQUEST_LINE_MOST} bytes")
    if held.startswith(b"\r\n") or b"\0" in held:
        raise Malformed("an empty line or a NUL where a request begins")
    _only_whole_line_ends(bytes(held).removesuffix(b"\r"))


def _only_whole_line_ends(text: bytes) -> None:
    if text.count(b"\n") != text.count(b"\r\n") or text.count(b"\r") != text.count(b"\r\n"):
        raise Malformed("a line end that is not CRLF")


def _request(raw: bytes) -> tuple[Request, Body | None]:
    _only_whole_line_ends(raw)
    first, *rest = raw[:-4].split(b"\r\n")
    method, target, version = _request_line(first)
    fields = _fields(rest)
    body = _framing(fields, version)
    made = Request(
        raw, method, target, version,
        hosts=tuple(value for name, value in fields if name == "host"),
        authority=_target(method, target),
        upgrade=_protocols(fields),
    )  # fmt: skip
    return made, body


def _request_line(line: bytes) -> tuple[str, str, str]:
    if len(line) > REQUEST_LINE_MOST:
        raise Malformed(f"a request line of more than {REQUEST_LINE_MOST} bytes")
    parts = line.decode("latin-1").split(" ")
    if len(parts) != 3 or not _METHOD.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise Malformed("not `METHOD target HTTP/1.1`")
    if parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Malformed("neither HTTP/1.1 nor HTTP/1.0")
    return parts[0], parts[1], parts[2][5:]


def _target(method: str, target: str) -> str | None:
    """The authority that the target names, if it does (RFC 9112 3.2)."""
    if method == "CONNECT":
        return target
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return None
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Malformed("a target that is neither a path nor a URL")
    return absolute[1]


def _pairs(lines: list[bytes]) -> list[tuple[str, str]]:
    """Name in lower case and value of every field, without more than that being checked."""
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return [(name.lower(), value.strip(" \t")) for name, _, value in pairs]


def _fields(lines: list[bytes]) -> list[tuple[str, str]]:
    if len(lines) > FIELDS_MOST:
        raise Malformed(f"more than {FIELDS_MOST} fields")
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Malformed("a field that is not `name: value`, or folded over lines")
        lower = name.lower()
        if lower not in _FRAMING and lower.replace("_", "-") in _FRAMING:
            raise Malformed(f"`{name}` is read as `{lower.replace('_', '-')}` by some")
    return _pairs(lines)


def _framing(fields: list[tuple[str, str]], version: str) -> Body | None:
    """How long the body is; said once, in one way (RFC 9112 6)."""
    lengths = [value for name, value in fields if name == "content-length"]
    codings = [value for name, value in fields if name == "transfer-encoding"]
    _refuse_hidden(fields)
    if codings and (lengths or version == "1.0"):
        raise Malformed("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
    if codings:
        if len(codings) > 1 or codings[0].lower() != "chunked":
            raise Malformed("a transfer coding that is not exactly `chunked`")
        return Chunked()
    if not lengths:
        return None
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise Malformed("not exactly one Content-Length that is a number")
    return Counted(int(lengths[0])) if int(lengths[0]) else None


def _refuse_hidden(fields: list[tuple[str, str]]) -> None:
    """A Connection field that names one of these makes a proxy take it away before the next reads it."""
    named = {one for name, value in fields if name == "connection" for one in _listed(value)}
    if named.intersection(_FRAMING):
        raise Malformed("Connection names a field that frames or routes the request")


def _listed(value: str) -> list[str]:
    return [one.strip(" \t").lower() for one in value.split(",")]


def _protocols(fields: list[tuple[str, str]]) -> tuple[str, ...]:
    """With or without `Connection: upgrade`: a lenient server may change protocols either way."""
    return tuple(one for name, value in fields if name == "upgrade" for one in _listed(value) if one)
