"""What the server sends on one connection, looked at before it leaves: bytes in, bytes that may pass out (P).

A guard holds back what is not decided yet and lets nothing after a denial pass. Once a stream can show no
other host any more, `watching` is False and the caller may leave the guard out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sandbox.egress import decide
from sandbox.egress.decide import Denied, Target
from sandbox.wire import http, tls
from sandbox.wire.opening import classify
from sandbox.wire.pieces import Data

OPENING_MOST = 1 << 14
_SSL_REQUEST = 8


class Refused(Exception):
    """The connection must end; `denied` says why."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.reason)
        self.denied = denied


class Guard:
    """Both directions of one connection; `protocol` is what the opening looked like, empty until known."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.shown: str | None = None
        """The host that the connection showed, as far as one was seen."""
        self._held = b""
        self._feed: Callable[[bytes], bytes] = self._opening
        self._requests = http.RequestReader()
        self._answers: http.AnswerReader | None = None
        self._answer: http.Answer | None = None
        self._hellos = tls.HelloReader()
        self._count = 0
        self.watching = not target.rule.opaque
        self.protocol = "opaque" if target.rule.opaque else ""

    @property
    def undecided(self) -> bool:
        """True while bytes of the server's are held back."""
        return bool(self._held) or self._hellos.held > 0 or self._requests.held > 0

    @property
    def awaiting(self) -> bool:
        """True while an upgrade was asked for and not answered: nothing more may be read from the server."""
        return self._requests.awaiting

    @property
    def observing(self) -> bool:
        """True while what the host says has to be given to `answer`."""
        return self._answers is not None

    def feed(self, data: bytes) -> bytes:
        """The bytes that may leave now; raises `Refused`, after which nothing may."""
        return self._feed(data) if self.watching else data

    def answer(self, data: bytes) -> bytes:
        """Looks at what the host answers to an upgrade; the held bytes of the server's that may now leave."""
        if self._answers is None:
            return b""
        try:
            found = self._answers.feed(data)
        except http.Malformed as why:
            raise self._refused(f"the answer to an upgrade cannot be read: {why}") from None
        if found is None:
            return b""
        self._answers, self._answer = None, found
        return self._settled()

    # --- the opening --------------------------------------------------------------------------------

    def _opening(self, data: bytes) -> bytes:
        self._held += data
        found = classify(self._held)
        if found == "more":
            if len(self._held) > OPENING_MOST:
                raise self._refused("the opening says too little")
            return b""
        held, self._held = self._held, b""
        self.protocol = found
        if found == "tls":
            self._feed = self._tls
        elif found == "http":
            self._feed = self._http
        elif found == "postgres-tls":
            return self._postgres(held)
        else:
            self._allow(decide.bare(self.target, found))
            self.watching = False
            return held
        return self._feed(held)

    def _postgres(self, held: bytes) -> bytes:
        """PostgreSQL asks for TLS in 8 bytes (its protocol, 55.2.12); what follows is an opening again."""
        request, rest = held[:_SSL_REQUEST], held[_SSL_REQUEST:]
        self._feed = self._after_postgres
        return request + (self._after_postgres(rest) if rest else b"")

    def _after_postgres(self, data: bytes) -> bytes:
        self._held += data
        if not self._held.startswith(b"\x16"):
            # The host declined; what follows is the plain protocol, which names no host.
            held, self._held = self._held, b""
            self._allow(decide.bare(self.target, "raw"))
            self.watching = False
            return held
        held, self._held = self._held, b""
        self._feed = self._tls
        return self._tls(held)

    # --- TLS ----------------------------------------------------------------------------------------

    def _tls(self, data: bytes) -> bytes:
        try:
            pieces = self._hellos.feed(data)
        except tls.Malformed as why:
            raise self._refused(f"not a ClientHello: {why}") from None
        for piece in pieces:
            if isinstance(piece, tls.Hello):
                self._hello(piece)
        self.watching = self._hellos.watching
        return _joined(pieces)

    def _hello(self, hello: tls.Hello) -> None:
        self.shown = hello.sni
        nameless = self.protocol == "postgres-tls" and hello.sni is None and not hello.ech
        if not nameless:
            self._allow(decide.tls(self.target, hello.sni, ech=hello.ech))

    # --- HTTP ---------------------------------------------------------------------------------------

    def _http(self, data: bytes) -> bytes:
        try:
            return self._passed(self._requests.feed(data))
        except http.Malformed as why:
            raise self._refused(f"not a request that can be read in one way only: {why}") from None

    def _passed(self, pieces: Sequence[http.Request | Data]) -> bytes:
        for piece in pieces:
            if isinstance(piece, http.Request):
                self._request(piece)
        return _joined(pieces) + self._settled()

    def _request(self, request: http.Request) -> None:
        self._count += 1
        host = self._authority(request.hosts[0]) if len(request.hosts) == 1 else None
        authority = None if request.authority is None else self._authority(request.authority)
        self.shown = host[0] if host else None
        self._allow(decide.http(self.target, request.method, host, authority))
        if request.upgrade and self._count > 1:
            # Which answer belongs to it could not be told for sure.
            raise self._refused("an upgrade has to be the first request of its connection")
        if request.upgrade:
            # From now on: a host may answer before it has read the request's body.
            self._answers = http.AnswerReader()

    def _authority(self, text: str) -> tuple[str, int | None]:
        try:
            return http.authority(text)
        except http.Malformed as why:
            shown = text.encode("unicode_escape").decode()[:253]
            raise self._refused(f"`{shown}` is no host: {why}") from None

    def _settled(self) -> bytes:
        """What may leave once both are there: the end of the request and the answer to its upgrade."""
        answer = self._answer
        if answer is None or not self._requests.awaiting:
            return b""
        self._answer = None
        if answer.status != 101:
            return self._passed(self._requests.declined())
        if answer.upgrade != ("websocket",):
            protocol = " ".join(answer.upgrade) or "nothing"
            why = f"the connection would change to `{protocol[:64]}`, which hides which host is meant"
            raise self._refused(why)
        self.watching = False
        return _joined(self._requests.upgraded())

    # --- all ----------------------------------------------------------------------------------------

    def _allow(self, denied: Denied | None) -> None:
        if denied is not None:
            raise Refused(denied)

    def _refused(self, reason: str) -> Refused:
        return Refused(Denied(self.target.host, self.target.port, reason, decide.PINNED))


def _joined(pieces: Sequence[tls.Hello | http.Request | Data]) -> bytes:
    if len(pieces) == 1:
        return pieces[0].raw
    return b"".join(piece.raw for piece in pieces)
