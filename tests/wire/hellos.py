"""ClientHellos for tests: built field by field, or taken from OpenSSL's client as it talks to its server."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox.wire.pieces import Data
from sandbox.wire.tls import Hello, HelloReader

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION = 20, 21, 22, 23
SERVER_NAME, GROUPS, EARLY_DATA, ECH, ESNI = 0, 10, 42, 0xFE0D, 0xFFCE
GOOD, EVIL = "good.example", "evil.example"

# --- field by field -------------------------------------------------------------------------------------


def vector(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def extension(kind: int, data: bytes = b"") -> bytes:
    return kind.to_bytes(2, "big") + vector(2, data)


def server_name(host: bytes, kind: int = 0) -> bytes:
    return extension(SERVER_NAME, vector(2, bytes([kind]) + vector(2, host)))


VERSIONS = extension(43, b"\2\3\4")
NAMED = server_name(GOOD.encode()) + VERSIONS


def body(
    extensions: bytes | None = NAMED, *, version: bytes = b"\3\3", session: bytes = b"",
    suites: bytes = b"\x13\1", methods: bytes = b"\0",
) -> bytes:  # fmt: skip
    fixed = version + bytes(range(32)) + vector(1, session) + vector(2, suites) + vector(1, methods)
    return fixed if extensions is None else fixed + vector(2, extensions)


def message(data: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + vector(3, data)


def record(data: bytes, kind: int = HANDSHAKE, version: bytes = b"\3\1") -> bytes:
    return bytes([kind]) + version + vector(2, data)


def hello(*extensions: bytes, host: str | None = GOOD) -> bytes:
    name = b"" if host is None else server_name(host.encode())
    return record(message(body(name + VERSIONS + b"".join(extensions))))


CCS = record(b"\1", CHANGE_CIPHER_SPEC, b"\3\3")


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of every record."""
    while data:
        size = int.from_bytes(data[3:5], "big")
        yield data[0], data[5 : 5 + size]
        data = data[5 + size :]


def in_records(data: bytes, *sizes: int) -> bytes:
    """Handshake bytes in records of these sizes, the last of which is repeated."""
    found, at = b"", 0
    while data:
        size = sizes[min(at, len(sizes) - 1)]
        found, data, at = found + record(data[:size]), data[size:], at + 1
    return found


def fragmented(raw: bytes, *sizes: int) -> bytes:
    """The same handshake in records of other sizes."""
    return in_records(b"".join(part for _, part in records(raw)), *sizes)


def read(data: bytes, *cuts: int) -> list[Hello | Data]:
    """What a reader makes of a stream that comes in pieces."""
    reader = HelloReader()
    ends = [*cuts, len(data)]
    found = [
        piece for start, end in zip([0, *cuts], ends, strict=True) for piece in reader.feed(data[start:end])
    ]
    assert b"".join(piece.raw for piece in found) + data[len(data) - reader.held :] == data
    return found


def hellos(pieces: list[Hello | Data]) -> list[Hello]:
    return [piece for piece in pieces if isinstance(piece, Hello)]


# --- from OpenSSL ---------------------------------------------------------------------------------------


def certificate(folder: Path) -> Path:
    """A file with a key and a certificate of its own, for a server that no client of ours verifies."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, GOOD)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem)
    )
    return path


def client_context(most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, alpn: int = 1) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = most
    context.set_alpn_protocols([f"protocol-{number}" for number in range(alpn)])
    return context


def server_context(pem: Path, curve: str | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    if curve is not None:
        context.set_ecdh_curve(curve)
    return context


def client_hello(context: ssl.SSLContext, host: str | None = GOOD) -> bytes:
    """The first thing that OpenSSL's client sends."""
    return Peer(context, host).step(b"")


class Peer:
    """One end of a TLS connection without a network."""

    def __init__(
        self, context: ssl.SSLContext, host: str | None = None, session: ssl.SSLSession | None = None
    ) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.protocol == ssl.PROTOCOL_TLS_SERVER
        self.tls = context.wrap_bio(
            self._in, self._out, server_side=server, server_hostname=host, session=session
        )
        self.error: ssl.SSLError | None = None

    def step(self, data: bytes) -> bytes:
        """Takes what the other side sent, and says what this one sends now."""
        self._in.write(data)
        try:
            self.tls.do_handshake()
            self.tls.read(1 << 16)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as why:
            self.error = why
        return self._out.read()

    def say(self, text: bytes) -> bytes:
        with suppress(ssl.SSLWantReadError):
            self.tls.write(text)
        return self._out.read()


def converse(client: Peer, server: Peer, text: bytes = b"GET / HTTP/1.1\r\n\r\n") -> list[bytes]:
    """All that the client sends in a handshake and in one message after it, flight by flight."""
    sent = [client.step(b"")]
    while answer := server.step(sent[-1]):
        sent.append(client.step(answer))
    assert client.error is None, client.error
    assert server.error is None, server.error
    return [flight for flight in [*sent, client.say(text)] if flight]


def names_heard(server: ssl.SSLContext, send: Callable[[Peer], None]) -> list[str | None]:
    """The names that OpenSSL's server reads in the ClientHellos it is sent."""
    heard: list[str | None] = []
    server.sni_callback = lambda _tls, name, _context: heard.append(name)
    send(Peer(server))
    return heard
