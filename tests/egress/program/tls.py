"""Attacks over TLS: a ClientHello that says another name, none, or none that can be read at once."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable

import streams

ECH = 0xFE0D
_RECORD, _HANDSHAKE = 5, 4


def client(sni: str | None, long: bool) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A client that trusts everybody, and what it reads from and writes to; `long`: a hello beyond 1 KiB."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    filler = [f"filler-{number:02}-{'x' * 200}" for number in range(8)] if long else []
    context.set_alpn_protocols([*filler, "http/1.1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    return context.wrap_bio(incoming, outgoing, server_hostname=sni), incoming, outgoing


def with_ech(record: bytes, word: str) -> bytes:
    """The ClientHello with an encrypted one in it (RFC 9849), which nobody but the host could read."""
    body = record[_RECORD + _HANDSHAKE :]
    at = 34 + 1 + body[34]
    at += 2 + struct.unpack_from(">H", body, at)[0]
    at += 1 + body[at]
    inner = b"\0" + struct.pack(">2HB", 1, 1, 7) + struct.pack(">H", 32) + b"k" * 32
    inner += struct.pack(">H", len(word)) + word.encode()
    extensions = body[at + 2 :] + struct.pack(">2H", ECH, len(inner)) + inner
    body = body[:at] + struct.pack(">H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


def in_records(record: bytes, size: int) -> bytes:
    """The same handshake message in records of `size` bytes each (RFC 8446, 5.1)."""
    head, message = record[:3], record[_RECORD:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(head + struct.pack(">H", len(piece)) + piece for piece in pieces)


def tell(
    host: str, port: int, sni: str | None, word: str, http_host: str = "", long: bool = False,
    records: int = 0, by_byte: bool = False, ech: bool = False, patch: tuple[str, str] | None = None,
) -> str:  # fmt: skip
    """A request with `word` in it to what `host` leads to, whose ClientHello names `sni`."""

    def shape(first: bytes) -> bytes:
        first = with_ech(first, word) if ech else first
        if patch is not None:
            old, new = (text.encode("latin-1") for text in patch)
            assert len(old) == len(new)
            assert old in first
            first = first.replace(old, new)
        return in_records(first, records) if records else first

    tls, incoming, outgoing = client(sni, long)
    with streams.connected(host, port) as out:
        out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _handshake(out, tls, incoming, outgoing, shape, by_byte)
        request = f"GET /{word} HTTP/1.1\r\nHost: {http_host or sni or host}\r\nConnection: close\r\n\r\n"
        tls.write(request.encode("latin-1"))
        out.sendall(outgoing.read())
        return _answer(out, tls, incoming)


def _handshake(
    out: socket.socket, tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO,
    shape: Callable[[bytes], bytes], by_byte: bool,
) -> None:  # fmt: skip
    first = True
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            said = outgoing.read()
            _send(out, shape(said) if first else said, by_byte and first)
            first = False
            incoming.write(_more(out))
            continue
        out.sendall(outgoing.read())
        return


def _send(out: socket.socket, data: bytes, by_byte: bool) -> None:
    for at in range(0, len(data), 1 if by_byte else len(data) or 1):
        out.sendall(data[at : at + 1] if by_byte else data)


def _more(out: socket.socket) -> bytes:
    data = out.recv(1 << 16)
    if not data:
        raise ConnectionResetError(104, "closed")
    return data


def _answer(out: socket.socket, tls: ssl.SSLObject, incoming: ssl.MemoryBIO) -> str:
    while True:
        try:
            return tls.read(1 << 16).decode("latin-1")
        except ssl.SSLWantReadError:
            incoming.write(_more(out))


def post(host: str, port: int, size: int, word: str) -> int:
    """Uploads `size` bytes by HTTPS; how many were taken from us."""
    tls, incoming, outgoing = client(host, False)
    piece = (word + "." * 4096)[:4096].encode()
    sent = 0
    with streams.connected(host, port) as out:
        _handshake(out, tls, incoming, outgoing, lambda first: first, False)
        tls.write(f"POST /{word} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n".encode())
        while sent < size:
            sent += tls.write(piece[: size - sent])
            out.sendall(outgoing.read())
        _answer(out, tls, incoming)
    return sent
