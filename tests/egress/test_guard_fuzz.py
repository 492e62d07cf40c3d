"""Hostile streams by the thousand: no sloppy server takes what passes for another host's request."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from sandbox.egress.decide import Target
from tests.egress.guarding import EVIL, GOOD, Watched, at
from tests.egress.readings import Reading, hosts
from tests.egress.test_guard import DATABASE, GSS_REQUEST, HELLOS, OTHER, SSL_REQUEST, STARTUP, WEB
from tests.egress.test_guard_http import GET, OK, REQUESTS, SMUGGLED, STOLEN, STREAMS, SWITCHED, WS

PLAIN = at(f"{GOOD}:80")
_TARGETS = st.sampled_from([WEB, OTHER, DATABASE, PLAIN, at("10.0.0.5:443"), at("localhost:3000")])


def _streams(*tables: list[Any]) -> list[bytes]:
    return [value for table in tables for case in table for value in case.values if isinstance(value, bytes)]


HTTP = _streams(REQUESTS, STREAMS, SMUGGLED)
TLS = _streams(HELLOS)
TOKENS = [
    *(bytes([byte]) for byte in b" \t\x0b\0\r\n:;,015-+_x\xa0\x85"),
    *(b"\r\n", b"\r\n\r\n", b"0x", b"chunked", b"identity", b"HTTP/1.0", b"HTTP/1.1", b"GET ", b"POST "),
    *(b"Host: good.example\r\n", b"Host: evil.example\r\n", b"Content-Length: 0\r\n"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"Upgrade: h2c\r\n"),
    *(b"Connection: close\r\n", STOLEN, GET),
]

_CHANGE = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 6), st.sampled_from(TOKENS))


@st.composite
def _changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Streams of the tables, joined, with bytes put in, taken out or replaced."""
    stream = b"".join(draw(st.lists(st.sampled_from(seeds), min_size=1, max_size=3)))
    for where, removed, token in draw(st.lists(_CHANGE, max_size=4)):
        place = int(where * len(stream))
        stream = stream[:place] + token + stream[place + removed :]
    return stream


LINES, FOLDS = ("crlf", "lf", "any"), ("joins", "own", "dropped")
_READINGS = st.builds(Reading, st.sampled_from(LINES), st.sampled_from(FOLDS), *[st.booleans()] * 5)


def test_the_sloppy_servers_are_as_sloppy_as_they_should_be() -> None:
    """Most smuggled streams reach another host at some of them; else the test below would prove nothing."""
    flags = itertools.product((False, True), repeat=5)
    every = [Reading(lines, folds, *some) for some in flags for lines in LINES for folds in FOLDS]
    fooled = [any(EVIL.encode() in hosts(stream, one) for one in every) for stream in _streams(SMUGGLED)]
    assert sum(fooled) > len(fooled) / 2


@pytest.mark.threat("D3", proves="of what passes no server, however sloppy, reads another host")
@settings(max_examples=1500, deadline=None)
@given(_changed(HTTP), _READINGS, st.sampled_from([PLAIN, at(f"{GOOD}:8081")]), st.integers(0, 40))
def test_no_server_reads_another_host(stream: bytes, reading: Reading, target: Target, step: int) -> None:
    one = Watched(target)
    one.feed(stream, step or None)
    # Open: a method that nobody knows and a bare LF, at a server that ends lines at CRLF alone.
    assume(one.guard.protocol != "raw" or reading.lines != "crlf")
    for host in hosts(one.passed, reading):
        assert re.fullmatch(rb"good\.example\.?(:80|:8081)?", host), (host, one.passed)


_SAID = st.one_of(
    st.binary(max_size=40),
    _changed(HTTP),
    _changed(TLS),
    st.sampled_from([SSL_REQUEST, GSS_REQUEST, STARTUP, WS, WS + STOLEN, b"SSH-2.0-x\r\n", b""]),
)
_ANSWERED = st.one_of(st.binary(max_size=40), st.sampled_from([SWITCHED, OK, SWITCHED[:30], SWITCHED + OK]))
Steps = list[tuple[bool, bytes, bytes, int]]


@pytest.mark.threat("D3", proves="no bytes make the guard fail; what left is the beginning of what came")
@settings(max_examples=800, deadline=None)
@given(_TARGETS, st.lists(st.tuples(st.booleans(), _SAID, _ANSWERED, st.integers(0, 50)), max_size=5))
@example(PLAIN, [(False, WS + b"x" * 70000, b"", 0), (True, b"", OK, 1)])
def test_any_bytes_pass_or_are_refused(target: Target, steps: Steps) -> None:
    one = Watched(target)
    for answers, said, answered, cut in steps:
        if answers:
            one.answer(answered, cut or None)
        else:
            one.feed(said, cut or None)


@settings(max_examples=400, deadline=None)
@given(_TARGETS, st.one_of(_changed(HTTP), _changed(TLS), st.binary(max_size=60)), st.integers(1, 30))
def test_however_it_is_cut_the_same_is_decided(target: Target, stream: bytes, step: int) -> None:
    whole, pieces = Watched(target), Watched(target)
    whole.feed(stream)
    pieces.feed(stream, step)
    assert (whole.denied is None) is (pieces.denied is None)
    assert pieces.passed.startswith(whole.passed)
    if whole.denied is None:
        assert whole.passed == pieces.passed
