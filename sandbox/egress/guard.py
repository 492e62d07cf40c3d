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
LOOKS_MOST = 1024
"""Pieces in which an opening may come: each is a look at all of them."""
# What a PostgreSQL client may ask for before its first message, in 8 bytes each: TLS, encryption by GSSAPI.
# Whatever is answered, the connection goes on with another opening (its protocol, 55.2.11 and 55.2.12).
_SSL_REQUEST, _GSS_REQUEST = (b"\0\0\0\x08" + code.to_bytes(4, "big") for code in (80877103, 80877104))
_ASKED = 8
_HANDSHAKE = b"\x16"


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
        self._spoken_to = False
        self._hellos = tls.HelloReader()
        self._count = self._looks = 0
        self._denied: Denied | None = None
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
        return self._answers is not None or not (self.protocol or self._spoken_to)

    def feed(self, data: bytes) -> bytes:
        """The bytes that may leave now; raises `Refused`, after which nothing may."""
        self._allow(self._denied)
        return self._feed(data) if self.watching else data

    def answer(self, data: bytes) -> bytes:
        """Looks at what the host says first, or to an upgrade; the held bytes that may now leave."""
        self._allow(self._denied)
        if data and self.observing and not self.protocol:
            return self._greeted(data)
        if self._answers is None:
            return b""
        try:
            found = self._answers.feed(data)
        except http.Malformed as why:
            raise self._refused(f"the answer to an upgrade cannot be read: {why}") from None
        if found is None:
            return b""
        self._answers, self._answer = None, found
        return self._reading(self._settled)

    def finish(self) -> None:
        """The server says no more: raises `Refused` where it said too little for what it said to leave."""
        if self.undecided and not self.awaiting:
            raise self._refused("it ended before it said which host is meant")

    # --- the opening --------------------------------------------------------------------------------

    def _opening(self, data: bytes) -> bytes:
        self._held += data
        if self._held.startswith(_GSS_REQUEST):
            return self._begin("postgres-tls", self._postgres)
        found = classify(self._held)
        if found == "more":
            self._looks += 1
            if len(self._held) > OPENING_MOST or self._looks > LOOKS_MOST:
                raise self._refused("the opening says too little")
            return b""
        ways = {"tls": self._tls, "http": self._http, "postgres-tls": self._postgres}
        if found in ways:
            return self._begin(found, ways[found])
        self.protocol = found
        return self._unwatched(found)

    def _greeted(self, data: bytes) -> bytes:
        """Lets go of what was held, once the host has spoken first in text: HTTP and TLS never do.

        A client may answer a greeting with one word and no newline, which alone says too little. Not text are
        TLS's alert and HTTP/2's settings, and `H` begins a web server's word for a client that is too slow.
        """
        self._spoken_to = True
        text = b"!" <= data[:1] <= b"~" and data[:1] != b"H"
        if not text or decide.bare(self.target, "raw") is not None:
            return b""
        self.protocol = "raw"
        return self._unwatched("raw")

    def _begin(self, protocol: str, way: Callable[[bytes], bytes]) -> bytes:
        self.protocol, self._feed = protocol, way
        held, self._held = self._held, b""
        return way(held)

    def _unwatched(self, what: str) -> bytes:
        self._allow(decide.bare(self.target, what))
        held, self._held = self._held, b""
        self.watching = False
        return held

    def _postgres(self, data: bytes) -> bytes:
        """Requests for encryption, then TLS or, where the host declined, the plain protocol."""
        self._allow(decide.bare(self.target, self.protocol))
        self._held += data
        passed = b""
        while self._held[:_ASKED] in (_SSL_REQUEST, _GSS_REQUEST):
            passed, self._held = passed + self._held[:_ASKED], self._held[_ASKED:]
        if self._held.startswith(_HANDSHAKE):
            return passed + self._begin(self.protocol, self._tls)
        if len(self._held) < _ASKED:
            return passed
        if not self._held.startswith(b"\0\0"):
            # Not even the length of a first message. A host that reads TLS by now may overlook an alert, and
            # take what follows for a ClientHello that nobody has looked at.
            raise self._refused("neither TLS nor PostgreSQL's own protocol after a request for TLS")
        return passed + self._unwatched("raw")

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
        return self._reading(lambda: self._passed(self._requests.feed(data)))

    def _reading(self, work: Callable[[], bytes]) -> bytes:
        try:
            return work()
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
            raise self._ended(denied)

    def _refused(self, reason: str) -> Refused:
        return self._ended(Denied(self.target.named, self.target.port, reason, decide.PINNED))

    def _ended(self, denied: Denied) -> Refused:
        self._denied, self._held = denied, b""
        return Refused(denied)


def _joined(pieces: Sequence[tls.Hello | http.Request | Data]) -> bytes:
    if len(pieces) == 1:
        return pieces[0].raw
    return b"".join(piece.raw for piece in pieces)
