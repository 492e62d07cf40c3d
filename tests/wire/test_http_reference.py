"""What we read against what others read: h11 in the same process, over valid and mutated streams."""

from __future__ import annotations

import random
import time

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.wire.http import HEAD_MAX, Malformed, RequestReader
from tests.wire.http_requests import (
    CHUNKED,
    GET,
    HOST,
    Seen,
    mutated,
    ours,
    outcome,
    pieces,
    post,
    request,
    requests,
    theirs,
)

METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "M-SEARCH", "X_1"])
TARGETS = st.one_of(
    st.sampled_from(["/", "//x/", "http://good.example:81/?@", "http://[::1]"]),
    st.text("!$&'()*+,-./09:;=?@AZ[\\]^_`az{|}~%\"<>", max_size=20).map("/{}".format),
)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF).filter(
    lambda one: one == "\t" or not 0x7F <= ord(one) <= 0x9F
), max_size=20)  # fmt: skip
NAMES = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=8).map("X-{}".format)
FIELDS = st.lists(st.tuples(NAMES, VALUES).map(": ".join), max_size=3)
CHUNKS = st.lists(st.binary(min_size=1, max_size=30), max_size=3)
ENDS = st.sampled_from(["", ";a", ';a="b c";d', ";\t"])


@st.composite
def one_request(draw: st.DrawFn) -> bytes:
    """A request that is valid, with no body, a counted one, or one in chunks, which means nothing."""
    line = f"{draw(METHODS)} {draw(TARGETS)} HTTP/1.1"
    fields = [HOST, *draw(FIELDS)]
    match draw(st.integers(0, 2)):
        case 0:
            return request(*fields, line=line)
        case 1:
            body = b"\0" + draw(st.binary(max_size=60))
            return request(*fields, f"content-length:{len(body)}", line=line) + body
        case _:
            # The byte in front keeps content from beginning like a request, which some methods refuse.
            chunks = [b"\0" + one for one in draw(CHUNKS)]
            parts = [b"%X%b\r\n%b\r\n" % (len(one), draw(ENDS).encode(), one) for one in chunks]
            trailers = request(*draw(FIELDS), line=f"0{draw(ENDS)}")
            return request(*fields, CHUNKED, line=line) + b"".join(parts) + trailers


def same(data: bytes) -> bool:
    """Whether what we take whole is what h11 takes; raises where it takes something else."""
    found = outcome(data)
    if found is None or any(len(one.hosts) != 1 or one.method == "CONNECT" for one in requests(found)):
        return False  # refused, if not by us then by whoever asks which host is meant
    seen, to_the_end = theirs(data)
    mine = ours(found)
    if to_the_end:
        assert mine == seen
    else:
        # It stops where the connection is to be closed, where we expect another request.
        assert mine[: len(seen)] == seen
    return True


@settings(max_examples=400)
@given(st.lists(one_request(), min_size=1, max_size=4))
def test_what_is_valid_is_read_as_h11_reads_it(parts: list[bytes]) -> None:
    assert same(b"".join(parts))
    assert len(theirs(b"".join(parts))[0]) == len(parts)


SEEDS = [
    GET,
    GET + GET,
    post("Content-Length: 5", body="hello") + GET,
    post(CHUNKED, body="5;x\r\nhello\r\n0\r\nA: b\r\n\r\n") + GET,
    post(CHUNKED, body="a\r\n0\r\n\r\nhello\r\n0\r\n\r\n") + post("Content-Length: 0") + GET,
    request(HOST, "Connection: Upgrade", "Upgrade: websocket") + GET,
    request(HOST, "Content-Length: 2", line="GET http://good.example/x HTTP/1.1", body="{}") + GET,
    request("User-Agent: x/1 (y)", HOST, "Accept: */*", "X: \xe4", line="PUT /a?b HTTP/1.1") + GET,
]


@settings(max_examples=1500)
@given(st.sampled_from(SEEDS), st.randoms(use_true_random=False))
def test_what_is_mutated_is_refused_or_read_as_h11_reads_it(data: bytes, random_: random.Random) -> None:
    same(mutated(random_, data))


def test_fuzz_what_is_accepted_is_what_h11_sees_and_little_is_held() -> None:
    random_ = random.Random(20261125)  # noqa: S311 - a fixed seed is the point
    began, accepted, refused = time.monotonic(), 0, 0
    for _ in range(10_000):
        data = mutated(random_, random_.choice(SEEDS))
        reader, at = RequestReader(), random_.randrange(len(data) + 1)
        try:
            found = [*pieces(reader, data[:at]), *pieces(reader, data[at:])]
        except Malformed:
            refused += 1
            assert outcome(data) is None
        else:
            accepted += same(data)
            assert b"".join(piece.raw for piece in found) + data[len(data) - reader.held :] == data
        assert reader.held <= min(len(data), HEAD_MAX)
    assert min(accepted, refused) > 1000
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("seed", SEEDS)
def test_the_reference_reads_what_it_is_given(seed: bytes) -> None:
    seen, to_the_end = theirs(seed)
    assert to_the_end
    assert len(seen) == seed.count(b"HTTP/1.1\r\n")


def test_the_comparison_notices_a_difference() -> None:
    # A bare LF: h11 takes it for a line's end.
    seen: list[Seen] = theirs(GET.replace(b"\r\n", b"\n"))[0]
    assert [one[2] for one in seen] == ["good.example"]
    assert outcome(GET.replace(b"\r\n", b"\n")) is None
    with pytest.raises(h11.RemoteProtocolError):
        theirs(b"\r\n" + GET)
