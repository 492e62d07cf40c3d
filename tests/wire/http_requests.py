"""Requests for tests: put together, read in pieces, mutated, and read by h11 to compare."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise

import h11

from sandbox.wire.http import Malformed, Request, RequestReader
from sandbox.wire.pieces import Data

GOOD, EVIL = "good.example", "evil.example"
HOST, WRONG = f"Host: {GOOD}", f"Host: {EVIL}"
CHUNKED = "Transfer-Encoding: chunked"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")


def request(*fields: str, line: str = "GET / HTTP/1.1", body: str = "", end: str = "\r\n") -> bytes:
    return end.join((line, *fields, "", body)).encode("latin-1")


def post(*fields: str, body: str = "") -> bytes:
    return request(HOST, *fields, line="POST / HTTP/1.1", body=body)


GET, STOLEN = request(HOST), request(WRONG)
HIDDEN = STOLEN.decode()


def pieces(reader: RequestReader, data: bytes, cuts: Iterable[int] = ()) -> list[Request | Data]:
    """What a reader makes of a stream that comes in pieces; every upgrade is declined."""
    ends = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    found: list[Request | Data] = []
    for start, end in pairwise(ends):
        found += reader.feed(data[start:end])
        while reader.awaiting and reader.held:
            found += reader.declined()
    return found


def joined(found: Iterable[Request | Data]) -> list[Request | Data]:
    """The same with neighbouring data in one piece: how they are cut is nobody's promise."""
    made: list[Request | Data] = []
    for piece in found:
        if isinstance(piece, Data) and made and isinstance(made[-1], Data):
            made[-1] = Data(made[-1].raw + piece.raw)
        else:
            made.append(piece)
    return made


def read(data: bytes, cuts: Iterable[int] = ()) -> list[Request | Data]:
    """What a whole stream is; raises what a reader raises, and checks that nothing is lost or added."""
    reader = RequestReader()
    found = pieces(reader, data, cuts)
    assert b"".join(piece.raw for piece in found) + data[len(data) - reader.held :] == data
    return joined(found)


def outcome(data: bytes, cuts: Iterable[int] = ()) -> list[Request | Data] | None:
    """The same, None where it is refused."""
    try:
        return read(data, cuts)
    except Malformed:
        return None


def requests(found: Iterable[Request | Data]) -> list[Request]:
    return [piece for piece in found if isinstance(piece, Request)]


# --- as another reads them ------------------------------------------------------------------------------

Seen = tuple[str, str, str, bytes]
"""Method, target, host and content of one request."""


def ours(found: Iterable[Request | Data]) -> list[Seen]:
    """What our reader saw; every request has one Host."""
    seen: list[Seen] = []
    chunked = False
    for piece in found:
        if isinstance(piece, Request):
            chunked = b"chunked" in piece.raw.lower().partition(b"transfer-encoding:")[2].split(b"\r\n")[0]
            seen.append((piece.method, piece.target, piece.hosts[0], b""))
        else:
            seen[-1] = (*seen[-1][:3], content(piece.raw) if chunked else piece.raw)
    return seen


def content(raw: bytes) -> bytes:
    """What is in chunks that are well formed, as far as they are there."""
    found = b""
    while b"\r\n" in raw:
        line, _, raw = raw.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            break
        found, raw = found + raw[:size], raw[size + 2 :]
    return found


def theirs(data: bytes) -> tuple[list[Seen], bool]:
    """What h11 sees, and whether it read on to the end; raises what it raises."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 18)
    connection.receive_data(data)
    seen: list[Seen] = []
    while (event := connection.next_event()) is not h11.NEED_DATA:
        if isinstance(event, h11.Request):
            host = dict(event.headers).get(b"host", b"")
            texts = (one.decode("latin-1") for one in (event.method, event.target, host))
            seen.append((*texts, b""))  # type: ignore[arg-type]
        elif isinstance(event, h11.Data):
            seen[-1] = (*seen[-1][:3], seen[-1][3] + bytes(event.data))
        else:
            assert isinstance(event, h11.EndOfMessage)
            connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                return seen, False
            connection.start_next_cycle()
    return seen, True


# --- changed at random ----------------------------------------------------------------------------------

TRICKS = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b"\t", b" ", b"\x0b", b"\x0c", b"\x85", b"\xa0", b"\xff", b",",
    b";", b":", b"0", b"0x", b"+", b"-", b"_", b"0\r\n\r\n", b"http://", b"@", b"#", b"\\", b"*", b"HTTP/1.0",
    b"HTTP/1.1", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
    b"chunked", b"identity", b"Host: evil.example\r\n", b"Connection: close\r\n", b"Connection: Host\r\n",
    b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"GET / HTTP/1.1\r\n", STOLEN,
    b"OPTIONS * HTTP/1.1\r\n", b"CONNECT a:1 HTTP/1.1\r\n",
]  # fmt: skip


def mutated(random_: random.Random, raw: bytes) -> bytes:
    """A stream with up to three changes, most of them such as attackers make."""
    data = bytearray(raw)
    for _ in range(random_.choice((1, 1, 2, 3))):
        at = random_.randrange(len(data) + 1)
        match random_.randrange(6):
            case 0:
                data[at : at + 1] = bytes([random_.randrange(256)])
            case 1:
                del data[at : at + random_.randint(1, 8)]
            case 2:
                start = random_.randrange(len(data) + 1)
                data[at:at] = data[start : start + random_.randint(1, 40)]
            case 3:
                _insert_line(data, at, random_)
            case _:
                data[at:at] = random_.choice(TRICKS)
    return bytes(data)


def _insert_line(data: bytearray, at: int, random_: random.Random) -> None:
    """Puts something at the beginning of a line, where it is read as one."""
    end = data.find(b"\r\n", at)
    if end >= 0:
        data[end + 2 : end + 2] = random_.choice(TRICKS)
