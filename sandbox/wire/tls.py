"""The ClientHellos in what a TLS client sends: bytes in, hellos and data out (RFC 8446 4.1.2, 5.1; RFC 5246).

A client may say hello twice, because a server may ask it to try again (HelloRetryRequest, RFC 8446 4.1.4),
and the second one may name another host. So records are walked for as long as a server could still read
one in plaintext; which hosts are fine is not decided here.
"""

from __future__ import annotations

from sandbox.records import dataclass
from sandbox.wire.pieces import Data

MOST_HELLO = 1 << 16
"""Bytes of one ClientHello; those with post-quantum keys have about 2,000."""
MOST_HELD = 1 << 17
"""Bytes that are held at most: a hello and the headers of the records it is cut into."""
MOST_SKIPPED = 1 << 18
"""Bytes of application data after which no known server reads a hello that nobody announced."""

_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE, _APPLICATION = 20, 21, 22, 23
_HEADER = 5
_MOST_PLAIN = 1 << 14
_MOST_CIPHERED = _MOST_PLAIN + 2048
_CLIENT_HELLO = 1
# What a client sends after its hello up to TLS 1.2, in plaintext: Certificate, ClientKeyExchange,
# CertificateURL (RFC 6066) or SupplementalData (RFC 4680).
_KEY_EXCHANGE = frozenset({11, 16, 21, 23})
_LEAST_HELLO = 2 + 32 + 1 + 2 + 2 + 1 + 1  # one cipher suite, one compression method, no session
_OPENING = 6  # a message's type, its length and, in a hello, its version
_HELLOS = 2

_SERVER_NAME, _EARLY_DATA = 0, 42
# ECH (RFC 9849), its drafts from the eighth on, and ESNI before them.
_ENCRYPTED = frozenset({0xFFCE, *range(0xFE08, 0xFE0E)})
_MOST_NAME = 255


class Malformed(ValueError):
    """Not a TLS client's stream that can be read in one way only, and why."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A whole ClientHello: its records, the host it names, whether another may be encrypted in it (ECH)."""

    raw: bytes
    sni: str | None
    ech: bool
    early: bool


class HelloReader:
    """Cuts a client's stream at its ClientHellos; of no more use after it raised `Malformed`.

    `watching` turns False where no server reads another hello in plaintext: all that follows passes.
    """

    def __init__(self) -> None:
        self.watching = True
        self._held = bytearray()
        self._passing = 0  # bytes to come of a record that passes
        self._message: bytearray | None = None  # the hello under way, without the headers of its records
        self._gathered = 0  # bytes of `_held` that are in `_message`
        self._hellos = 0
        self._early = False
        self._changed = False  # what follows may be encrypted
        self._dubious = False  # what has passed may have been the beginning of a hello
        self._skipped = 0

    @property
    def held(self) -> int:
        """The bytes that are held: never more than `MOST_HELD`."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Hello | Data]:
        """What of the bytes so far may be decided or pass now, in order; nothing is lost or added."""
        if not self.watching:
            return [Data(data)] if data else []
        self._held += data
        found: list[Hello | Data] = []
        while self._held and (piece := self._next()) is not None:
            found.append(piece)
        if len(self._held) > MOST_HELD:
            raise Malformed(f"{len(self._held)} bytes of records without a whole ClientHello")
        return found

    def _next(self) -> Hello | Data | None:
        if not self.watching:
            return Data(self._take(len(self._held)))
        if self._passing:
            return self._pass()
        if self._message is not None:
            return self._gather(self._message)
        header = self._header(0)
        if header is None:
            return None
        kind, size = header
        return self._handshake(size) if kind == _HANDSHAKE else self._other(kind, size)

    def _pass(self, size: int = 0) -> Data:
        """What is there of a record that passes; `size` more of it begin here."""
        self._passing += size
        piece = Data(self._take(min(self._passing, len(self._held))))
        self._passing -= len(piece.raw)
        return piece

    def _take(self, size: int) -> bytes:
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def _header(self, at: int) -> tuple[int, int] | None:
        """Type and length of the record whose header begins there, once the header is whole."""
        if len(self._held) < at + _HEADER:
            return None
        kind, major, _minor, high, low = self._held[at : at + _HEADER]
        size = high << 8 | low
        if major != 3:
            raise Malformed(f"a record of version {major}, not 3")
        if size > (_MOST_PLAIN if kind == _HANDSHAKE else _MOST_CIPHERED):
            raise Malformed(f"a record of {size} bytes")
        if not size and kind != _APPLICATION:
            raise Malformed(f"an empty record of type {kind}")
        return kind, size

    # --- records that are no hello ------------------------------------------------------------------

    def _other(self, kind: int, size: int) -> Data:
        if not self._hellos:
            raise Malformed(f"a record of type {kind} before the ClientHello")
        if kind == _APPLICATION:
            self._skip(_HEADER + size)
        elif kind == _CHANGE_CIPHER_SPEC:
            self._changed = True
        elif kind != _ALERT:
            raise Malformed(f"a record of type {kind}")
        return self._pass(_HEADER + size)

    def _skip(self, size: int) -> None:
        """Counts application data, which a server that asked for another hello throws away (4.2.10).

        Only where early data was offered, says the RFC; BoringSSL does it without, for up to 16 KiB, and
        nobody else for more than 64. What was offered may be as long as the server once allowed.
        """
        self._skipped += size
        self.watching = self._early or self._skipped <= MOST_SKIPPED

    # --- handshake records --------------------------------------------------------------------------

    def _handshake(self, size: int) -> Hello | Data | None:
        opening = bytes(self._held[_HEADER : _HEADER + min(size, _OPENING)])
        if len(opening) < min(size, _OPENING):
            return None
        if self._dubious:
            raise Malformed("a handshake record after what may have been the beginning of a ClientHello")
        if opening[0] != _CLIENT_HELLO:
            return self._no_hello(opening[0])
        if self._changed and not _begins(opening, size):
            self._dubious = True
            return self._pass(_HEADER + size)
        if self._hellos == _HELLOS:
            raise Malformed("a third ClientHello")
        self._message = bytearray()
        return self._gather(self._message)

    def _no_hello(self, kind: int) -> Data:
        """A handshake message after which the hellos are over: up to TLS 1.2 a server has agreed by now."""
        if not self._hellos:
            raise Malformed(f"handshake message {kind}, not a ClientHello")
        # After ChangeCipherSpec it is the first byte of something encrypted, and may be any.
        if not self._changed and kind not in _KEY_EXCHANGE:
            raise Malformed(f"handshake message {kind} after the ClientHello")
        self.watching = False
        return Data(self._take(len(self._held)))

    def _gather(self, message: bytearray) -> Hello | None:
        """Adds whole records to the hello under way; nothing may stand between them (RFC 8446 5.1)."""
        while (header := self._header(self._gathered)) is not None:
            kind, size = header
            if kind != _HANDSHAKE:
                raise Malformed(f"a record of type {kind} inside a ClientHello")
            end = self._gathered + _HEADER + size
            if len(self._held) < end:
                return None
            message += self._held[end - size : end]
            self._gathered = end
            if _is_whole(message):
                return self._hello(bytes(message[4:]))
        return None

    def _hello(self, body: bytes) -> Hello:
        extensions = _extensions(body)
        name = extensions.get(_SERVER_NAME)
        sni = None if name is None else _host(name)
        raw = self._take(self._gathered)
        self._message, self._gathered = None, 0
        self._hellos += 1
        self._early = _EARLY_DATA in extensions
        return Hello(raw, sni, not _ENCRYPTED.isdisjoint(extensions), self._early)


def _begins(opening: bytes, size: int) -> bool:
    """Whether a handshake record after ChangeCipherSpec is a ClientHello, or the beginning of one.

    It may as well be the Finished of a resumed TLS 1.2 session, encrypted, with a first byte that is 1 by
    chance. A hello is taken for one if it can be complete in its record, whatever its version says (servers
    ignore it), or if it is regular. The rest passes, for a server cannot act on the beginning of a hello;
    but then no handshake record may follow. A Finished of an AEAD cipher has at most 40 bytes, in which no
    hello is complete, and looks regular once in 2**32 times; one of a CBC cipher is refused once in 2**26.
    """
    if size < _OPENING:
        return True  # nothing encrypted is that short
    length = int.from_bytes(opening[1:4], "big")
    if 4 + length <= size:
        return length >= _LEAST_HELLO
    return length <= MOST_HELLO and opening[4:6] == b"\3\3"


def _is_whole(message: bytearray) -> bool:
    """Whether the hello is complete; it ends where its last record does."""
    if len(message) < 4:
        return False
    length = int.from_bytes(message[1:4], "big")
    if length > MOST_HELLO:
        raise Malformed(f"a ClientHello of {length} bytes")
    if len(message) > 4 + length:
        raise Malformed("more in the record after the ClientHello")
    return len(message) == 4 + length


# --- the fields of a hello ------------------------------------------------------------------------------


class _Fields:
    """Cuts bytes into fields that are exactly as long as they say."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise Malformed(f"{self._name} is cut short")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        """A field behind its length, which is a number of `width` bytes."""
        return self.take(self.number(width))

    def more(self) -> bool:
        return self._at < len(self._data)

    def end(self) -> None:
        if self.more():
            raise Malformed(f"{self._name} is longer than what is in it")


def _extensions(body: bytes) -> dict[int, bytes]:
    """The extensions of a ClientHello by their type; none where there is no block of them (RFC 5246)."""
    fields = _Fields(body, "the ClientHello")
    if fields.number(1) != 3:
        raise Malformed("a ClientHello of another version than 3")
    fields.take(1 + 32)  # the minor version and the random
    if len(fields.vector(1)) > 32:
        raise Malformed("a session of more than 32 bytes")
    suites = fields.vector(2)
    if not suites or len(suites) % 2:
        raise Malformed(f"cipher suites of {len(suites)} bytes")
    if not fields.vector(1):
        raise Malformed("no compression method")
    if not fields.more():
        return {}
    block = fields.vector(2)
    fields.end()
    return _by_type(_Fields(block, "an extension"))


def _by_type(block: _Fields) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while block.more():
        kind = block.number(2)
        if kind in found:
            raise Malformed(f"extension {kind} twice")
        found[kind] = block.vector(2)
    return found


def _host(extension: bytes) -> str:
    """The one host that a server_name extension names (RFC 6066 section 3)."""
    outer = _Fields(extension, "server_name")
    names = _Fields(outer.vector(2), "the list of server_name")
    outer.end()
    if (kind := names.number(1)) != 0:
        raise Malformed(f"a server name of type {kind}, not a host")
    host = names.vector(2)
    if names.more():
        raise Malformed("more than one server name")
    if not 0 < len(host) <= _MOST_NAME or not all(0x21 <= byte <= 0x7E for byte in host):
        raise Malformed("a server name that is no printable ASCII of 1 to 255 bytes")
    return host.decode("ascii")
