"""The requests in what an HTTP/1 client sends: bytes in, request heads and data out (RFC 9110, RFC 9112).

A head comes out whole or not at all, so that its host can be judged before a byte of it passes. It comes
out only if no server could see another request, or another host, in the same bytes: request smuggling
lives on servers that read a stream otherwise than what watches it. So nothing here is lenient.
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox.records import dataclass
from sandbox.wire.http_answer import Answer as Answer
from sandbox.wire.http_answer import AnswerReader as AnswerReader
from sandbox.wire.http_body import Body
from sandbox.wire.http_head import FIELDS_MAX as FIELDS_MAX
from sandbox.wire.http_head import HEAD_MAX as HEAD_MAX
from sandbox.wire.http_head import LINE_MAX as LINE_MAX
from sandbox.wire.http_head import Head, Lines, refuse_begun
from sandbox.wire.http_head import Malformed as Malformed
from sandbox.wire.http_head import authority as authority
from sandbox.wire.pieces import Data


@dataclass(frozen=True, slots=True)
class Request:
    """A whole head as it came, and what it says of the host; `authority` is what its target names, if any."""

    raw: bytes
    method: str
    target: str
    authority: str | None
    hosts: tuple[str, ...]
    version: str
    upgrade: tuple[str, ...]


class RequestReader:
    """Cuts a client's stream at its requests' heads; once it raised `Malformed` it only repeats that.

    `awaiting` is True from the end of a request that asks for an upgrade until `upgraded` or `declined`.
    """

    def __init__(self) -> None:
        self.awaiting = False
        self._lines = Lines()
        self._head: Head | None = None
        self._body: Body | None = None
        self._step: Callable[[list[Request | Data]], bool] = self._read_head
        self._asks = False  # the request under way asks for an upgrade
        self._refused = ""

    @property
    def held(self) -> int:
        """The bytes that are held: never more than `HEAD_MAX`, unless it raised."""
        return len(self._lines.data)

    def feed(self, data: bytes) -> list[Request | Data]:
        """What of the bytes so far may be decided or pass now, in order; nothing is lost or added."""
        if self._refused:
            raise Malformed(self._refused)
        if not data:
            return []
        try:
            return self._feed(data)
        except Malformed as why:
            self._refused = str(why)
            raise

    def upgraded(self) -> list[Request | Data]:
        """What was held: from now on all is another protocol's, and passes."""
        self._settle()
        self._step = self._pass
        return self.feed(self._unheld())

    def declined(self) -> list[Request | Data]:
        """What was held, read as requests, for the connection stays HTTP."""
        self._settle()
        self._step = self._read_head
        return self.feed(self._unheld())

    def _settle(self) -> None:
        if not self.awaiting:
            raise RuntimeError("no upgrade awaits an answer")
        self.awaiting = False

    def _unheld(self) -> bytes:
        self._lines.at = len(self._lines.data)
        return self._lines.take()

    def _feed(self, data: bytes) -> list[Request | Data]:
        if not self._lines.data and self._body is not None and self._body.passes(data):
            return [Data(data)]
        self._lines.data += data
        found: list[Request | Data] = []
        while self._lines.data and self._step(found):
            pass
        return found

    # --- what the next bytes may be: each step says whether it got on ---------------------------------

    def _read_head(self, found: list[Request | Data]) -> bool:
        lines = self._lines
        if self._head is None:
            line = lines.head_line("a request line", LINE_MAX)
            if line is None:
                refuse_begun(lines.data[:64])
                return False
            self._head = Head(line)
            return True
        line = lines.head_line("a field")
        if line:
            self._head.fields.add(line)
        elif line is not None:
            found.append(self._end_head(self._head))
        return line is not None

    def _end_head(self, head: Head) -> Request:
        self._head, self._body = None, Body(head.method, head.body())
        upgrade = head.fields.listed("upgrade")
        self._asks = bool(upgrade)
        if head.method == "CONNECT":
            self._body, self._step = None, self._refuse
        elif self._body.ended:
            self._end_request()
        else:
            self._step = self._read_body
        hosts = head.fields.values("host")
        raw = self._lines.take()
        return Request(raw, head.method, head.target, head.authority, hosts, head.version, upgrade)

    def _read_body(self, found: list[Request | Data]) -> bool:
        assert self._body is not None  # noqa: S101 - for the type checker
        ended = self._body.advance(self._lines)
        if self._lines.at:
            found.append(Data(self._lines.take()))
        if ended:
            self._end_request()
        return ended

    def _end_request(self) -> None:
        self._body = None
        self.awaiting = self._asks
        self._step = self._wait if self._asks else self._read_head

    def _wait(self, _: list[Request | Data]) -> bool:
        if self.held > HEAD_MAX:
            raise Malformed(f"more than {HEAD_MAX} bytes before the answer to an upgrade")
        return False

    def _refuse(self, _: list[Request | Data]) -> bool:
        raise Malformed("more after a CONNECT, of which nobody knows what it is")

    def _pass(self, found: list[Request | Data]) -> bool:
        found.append(Data(self._unheld()))
        return True
