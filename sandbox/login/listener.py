"""Where the browser comes back to: one path on 127.0.0.1, for one answer (RFC 8252 7.3).

Whoever else on this machine, or in the browser, finds the port gets a 4xx and changes nothing: only an answer
with this login's state ends the wait. Browsers open connections and leave them idle, so none is waited for.
"""

from __future__ import annotations

import os
import re
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

HEAD_MAX = 64 << 10
CONNECTIONS = 32
IDLE_S = 10.0
PAGE = (
    "<!doctype html><meta charset=utf-8><title>mcp-sandbox</title>"
    "<p>mcp-sandbox has the answer, and the terminal says the rest. This page can be closed."
)
_LINE = re.compile(rb"GET (/[!-~]*) HTTP/1\.[01]\r\n")
_HOST = re.compile(rb"\r\nhost:[ \t]*([!-~]*)[ \t]*(?=\r\n)", re.IGNORECASE)
_PASTED_MAX = 16 << 10


class Listener:
    """The loopback end of one login; `redirect` is what the issuer is told to send the browser to."""

    def __init__(self, path: str, port: int = 0) -> None:
        self._path = path
        self._socket = socket.create_server(("127.0.0.1", port), backlog=CONNECTIONS)
        self._socket.setblocking(False)
        self._place = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._open: dict[socket.socket, tuple[bytearray, float]] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._asking: socket.socket | None = None
        """Whose question is whole and waits for its answer."""

    @property
    def redirect(self) -> str:
        """The address of this listener."""
        return f"http://{self._place}{self._path}"

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in list(self._open):
            self._drop(one)
        self._selector.close()
        self._socket.close()

    def wait(self, belongs: Callable[[str], bool], seconds: float, terminal: int | None = None) -> str | None:
        """The query of the first answer that `belongs`; None once the time is over.

        `terminal` is a descriptor at which a person may paste the address that their browser ended at.
        """
        deadline = time.monotonic() + seconds
        if terminal is not None:
            self._selector.register(terminal, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(min(left, IDLE_S)):
                query = self._pasted(key.fd) if key.fd == terminal else self._happened(key.fileobj)
                if query is not None and belongs(query):
                    self._answer_well()
                    return query
                self._refuse()
            self._reap()
        return None

    # --- one event ---------------------------------------------------------------------------------------

    def _happened(self, what: object) -> str | None:
        if what is self._socket:
            self._accept()
            return None
        return self._read(what) if isinstance(what, socket.socket) else None

    def _accept(self) -> None:
        with suppress(OSError):
            one, _ = self._socket.accept()
            one.setblocking(False)
            if len(self._open) >= CONNECTIONS:
                self._drop(next(iter(self._open)))  # the oldest
            self._open[one] = (bytearray(), time.monotonic() + IDLE_S)
            self._selector.register(one, selectors.EVENT_READ)

    def _read(self, one: socket.socket) -> str | None:
        if one not in self._open:
            return None  # dropped since, for one that came in the same moment
        held, _ = self._open[one]
        try:
            piece = one.recv(HEAD_MAX)
        except BlockingIOError:
            return None
        except OSError:
            piece = b""
        held += piece
        if not piece or len(held) > HEAD_MAX:
            self._drop(one)
            return None
        if b"\r\n\r\n" not in held:
            return None
        self._asking = one
        return self._query(bytes(held))

    def _query(self, head: bytes) -> str | None:
        """The query of a request for our path at our own address: by another name it is a rebound one."""
        line, named = _LINE.match(head), _HOST.findall(head.partition(b"\r\n\r\n")[0] + b"\r\n")
        if line is None or named != [self._place.encode()]:
            return None
        path, _, query = line[1].decode("ascii").partition("?")
        return query if path == self._path else None

    def _pasted(self, terminal: int) -> str | None:
        piece = os.read(terminal, _PASTED_MAX)
        if not piece:
            self._selector.unregister(terminal)  # its end
        before, _, query = piece.decode("ascii", "replace").strip().partition("?")
        return query if before == self.redirect else None

    # --- what they are told --------------------------------------------------------------------------------

    def _answer_well(self) -> None:
        self._say("200 OK", PAGE)

    def _refuse(self) -> None:
        self._say(
            "400 Bad Request", "<!doctype html><title>mcp-sandbox</title><p>Not an answer to this login."
        )

    def _say(self, status: str, page: str) -> None:
        if self._asking is None:
            return
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(page)}\r\n"
            "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
            "Referrer-Policy: no-referrer\r\n"
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        with suppress(OSError):
            self._asking.send((head + page).encode("ascii"))
            self._asking.shutdown(socket.SHUT_WR)
        self._drop(self._asking)
        self._asking = None

    def _reap(self) -> None:
        now = time.monotonic()
        for one in [one for one, (_, until) in self._open.items() if now > until]:
            self._drop(one)

    def _drop(self, one: socket.socket) -> None:
        del self._open[one]
        self._selector.unregister(one)
        one.close()
