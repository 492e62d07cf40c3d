"""What protocol a client speaks, told by the first bytes that it sends, from as few of them as possible.

What is taken for raw bytes is not looked at again. So `http` is all that the most lenient server would take
for a request, and `tls` all that comes before a ClientHello for one: the strict readers refuse the rest.
"""

from __future__ import annotations

import re
from typing import Literal

Opening = Literal["more", "tls", "http", "http2", "postgres-tls", "raw"]

UNDECIDED_MAX = 1 << 14
"""Bytes after which there is always a decision."""

# PROXY (HAProxy's protocol, versions 1 and 2) announces another connection, then a request, to a server
# that wants it: no client of ours needs it. GSSENCRequest differs from SSLRequest in its last byte, and is
# raw, as is all that has no other name.
_EXACT: tuple[tuple[bytes, Opening], ...] = (
    *((bytes([kind, 3]), "tls") for kind in range(0x14, 0x19)),
    (b"PRI * HTTP/2.0\r\n", "http2"),
    (b"\0\0\0\x08\x04\xd2\x16\x2f", "postgres-tls"),
    (b"PROXY ", "http"),
    (b"\r\n\r\n\0\r\nQUIT\n", "http"),
)

# A ClientHello as SSL 2 framed it, which OpenSSL still takes for TLS: it can name no host.
_SSL2 = re.compile(rb"[\x80-\xff](?:\Z|.(?:\Z|\x01(?:\Z|\x03)))", re.S)
_SSL2_OPENING = 4

# What separates words: RFC 9112 3 lets a server take any of SP, HTAB, VT, FF and bare CR, and Python's
# `str.split`, with which servers take a request line apart, these others too.
_SPACE = rb"[\t-\r\x1c-\x20\x85\xa0]"
_WORD = re.compile(_SPACE + rb"*([!#$%&'*+.^_`|~0-9A-Za-z-]*)")
_SPACES = re.compile(_SPACE)
# Methods of which a server knows that they are some, with or without a version behind the target (HTTP/0.9).
# Some are commands of Redis or NNTP as well, and in small letters of memcached: see `_OLD`.
_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY SEARCH REPORT PROPFIND PROPPATCH MKCOL "
    b"COPY MOVE LOCK UNLOCK ACL BIND UNBIND REBIND LINK UNLINK CHECKOUT CHECKIN MERGE MKACTIVITY "
    b"MKCALENDAR ORDERPATCH UPDATE LABEL PURGE SUBSCRIBE UNSUBSCRIBE NOTIFY".split()
)
# Without a version only a path or a URL makes it a request: `GET key` is Redis's.
_OLD = re.compile(rb"(?:(?!\r\n)" + _SPACE + rb")+(?:/|https?://)", re.I)
# To CONNECT any word is a host, with or without a version; NATS has JSON behind it.
_TUNNEL = re.compile(rb"[\t ]+[^\s{]")
_OLD_LINE = re.compile(rb"[\t ]+[a-z][a-z0-9+.-]*://[^\s]*[\t ]*\r?\n", re.I)
# What decides about the rest of the first line, whichever comes first. A control character is in no
# request, but for the servers that take anything for the target of a method that they know: the first
# bytes of LDAP are a digit and FF, or SP. Nor does a bare LF end the line of such a method: for a server
# that ends lines at CRLF alone it parts words. STOMP begins with CONNECT and LF, and ends a frame with NUL.
_DECIDES = re.compile(rb"HTTP/|\n|[\0-\x08\x0e-\x1b\x7f]", re.I)
_DECIDES_KNOWN = re.compile(rb"HTTP/|\r\n", re.I)
_DECIDES_CONNECT = re.compile(rb"HTTP/|\r\n|\0", re.I)


def classify(data: bytes) -> Opening:
    """The protocol of a stream that begins with `data`; what is not `more` stays what it is."""
    for start, name in _EXACT:
        if data.startswith(start):
            return name
    if any(start.startswith(data) for start, _ in _EXACT):
        return "more"
    if _SSL2.match(data):
        return "tls" if len(data) >= _SSL2_OPENING else "more"
    return _words(data[:UNDECIDED_MAX])


def _words(data: bytes) -> Opening:
    """`http` where the first line that is not blank begins with a word and says `HTTP/` behind another."""
    found = _WORD.match(data)
    word, rest = (found[1], data[found.end() :]) if found else (b"", data)
    if rest and not (word and _SPACES.match(rest)):
        return "raw"
    if word in _METHODS and (_OLD.match(rest) or (word == b"CONNECT" and _TUNNEL.match(rest))):
        return "http"
    end = _decides(word.upper()).search(rest)
    if end is None:
        # Nothing that long and undecided is let through unseen.
        return "more" if len(data) < UNDECIDED_MAX else "http"
    if end[0][-1:] == b"/" or (word in _METHODS and _OLD_LINE.match(rest)):
        return "http"
    return "raw"


def _decides(word: bytes) -> re.Pattern[bytes]:
    if word == b"CONNECT":
        return _DECIDES_CONNECT
    return _DECIDES_KNOWN if word in _METHODS else _DECIDES
