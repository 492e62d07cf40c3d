"""The server's stderr: whatever it writes, our terminal stays ours and the server is never blocked."""

from __future__ import annotations

import os
import select
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.relay.stderr import OURS, TAIL, LineGuard, StderrRelay, neutralise

PATIENCE = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        pytest.param(b"plain text", "plain text", id="plain text"),
        pytest.param(b"a\tb", "a\tb", id="a tab stays"),
        pytest.param(
            "grüße 日本\u3000語 😀".encode(), "grüße 日本\u3000語 😀", id="scripts keep their spaces"
        ),
        pytest.param(b"\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07", id="ANSI and titles"),
        pytest.param("\x9b2J\x85".encode(), "\\x9b2J\\x85", id="C1 controls"),
        pytest.param(b"\x9b2J\xff", "\\x9b2J\\xff", id="bytes that are not UTF-8"),
        pytest.param(b"safe\rEVIL", "safe\\rEVIL", id="a carriage return overwrites nothing"),
        pytest.param(b"\x00\x08\x7f", "\\x00\\x08\\x7f", id="NUL, backspace, delete"),
        pytest.param("a\u202eb\u2066\u200b".encode(), "a\\u202eb\\u2066\\u200b", id="reordered and hidden"),
        pytest.param("\u2028\u2029".encode(), "\\u2028\\u2029", id="line separators"),
        pytest.param("\U000e0041".encode(), "\\U000e0041", id="tag characters"),
    ],
)
def test_what_could_drive_a_terminal_is_shown_instead(line: bytes, shown: str) -> None:
    assert neutralise(line) == shown


@given(st.binary(max_size=200))
def test_no_byte_becomes_a_control(data: bytes) -> None:
    text = neutralise(data)
    assert all(character == "\t" or ord(character) >= 32 for character in text)
    assert not any(0x7F <= ord(character) <= 0x9F for character in text)
    assert not set(text) & {"\u202e", "\u200b", "\u2028", "\ud800"}


@given(st.binary(max_size=120), st.integers(0, 120), st.integers(1, 30))
def test_however_it_is_cut_the_lines_are_the_same(data: bytes, at: int, line: int) -> None:
    clock = Clock()
    whole, halves = LineGuard(line=line, clock=clock), LineGuard(line=line, clock=clock)
    expected = [*whole.feed(data), *whole.close()]
    assert [*halves.feed(data[:at]), *halves.feed(data[at:]), *halves.close()] == expected


def test_a_long_line_is_cut_and_says_so() -> None:
    guard = LineGuard(line=10, clock=Clock())
    assert guard.feed(b"0123456789abc\nnext\r\n") == ["0123456789 … 3 bytes dropped", "next"]


def test_a_line_without_end_is_held_only_up_to_its_cap() -> None:
    guard = LineGuard(line=10, clock=Clock())
    for _ in range(1000):
        assert guard.feed(b"x" * 1000) == []
    assert guard.close() == ["xxxxxxxxxx … 999990 bytes dropped"]


def test_more_than_the_rate_is_dropped_and_owned_up_to_once() -> None:
    clock = Clock()
    guard = LineGuard(rate=100, clock=clock)
    assert guard.feed(b"x" * 59 + b"\n") == ["x" * 59]
    assert guard.feed(b"y" * 59 + b"\n" + b"y" * 59 + b"\n") == []
    clock.now += 1
    assert guard.feed(b"again\n") == ["… 120 bytes dropped", "again"]
    assert guard.close() == []


def test_escapes_count_at_what_they_cost_to_print() -> None:
    guard = LineGuard(rate=100, clock=Clock())
    assert guard.feed(b"\x00" * 30 + b"\n") == []
    assert guard.close() == ["… 31 bytes dropped"]


class Streams:
    """A relay between two pipes of the test's."""

    def __init__(self, **bounds: int) -> None:
        source, self.server = os.pipe()
        self.terminal, sink = os.pipe()
        self._ends = {source, self.server, self.terminal, sink}
        self.sink = sink
        self.relay = StderrRelay(source, sink, **bounds)
        self.relay.start()

    def close(self, end: int) -> None:
        if end in self._ends:
            self._ends.discard(end)
            os.close(end)

    def finish(self) -> bytes:
        self.close(self.server)
        assert self.relay.flush(PATIENCE)
        self.close(self.sink)
        seen = b""
        while chunk := os.read(self.terminal, 1 << 16):
            seen += chunk
        for end in list(self._ends):
            self.close(end)
        return seen


def test_lines_come_through_safe_and_the_last_needs_no_end() -> None:
    streams = Streams()
    os.write(streams.server, b"one\n\x1b[31mtwo\nlast")
    assert streams.finish() == b"one\n\\x1b[31mtwo\nlast\n"
    assert streams.relay.tail().endswith("last\n")


def test_noise_of_stdout_goes_among_the_lines() -> None:
    streams = Streams(line=20)
    streams.relay.log(b"banner \x07" + b"x" * 30)
    assert streams.finish() == "banner \\x07xxxxxxxxxxxx … 18 bytes dropped\n".encode()


def test_the_tail_keeps_the_end_and_little_more() -> None:
    streams = Streams()
    for n in range(2000):
        os.write(streams.server, b"line %d of some length\n" % n)
    reader = threading.Thread(target=streams.finish)
    reader.start()
    reader.join(PATIENCE)
    assert len(streams.relay.tail()) <= TAIL
    assert streams.relay.tail().endswith("line 1999 of some length\n")


@pytest.mark.threat("S3", proves="a server is never blocked by a stderr that nobody reads")
def test_a_stderr_that_nobody_reads_never_blocks_the_server() -> None:
    streams = Streams(queue=1 << 14, rate=1 << 30)
    os.set_blocking(streams.server, False)
    sent = 0
    while sent < 4 << 20:
        # Writable again within the patience, though the terminal's pipe is full: it is being drained.
        assert select.select([], [streams.server], [], PATIENCE)[1]
        sent += os.write(streams.server, b"y" * 1023 + b"\n")
    streams.close(streams.server)
    seen = b""
    while not streams.relay.ended.is_set() or select.select([streams.terminal], [], [], 0)[0]:
        if select.select([streams.terminal], [], [], 0.05)[0]:
            seen += os.read(streams.terminal, 1 << 16)
    assert "bytes dropped\n" in seen.decode()
    assert len(seen) < 1 << 18
    streams.finish()


def test_a_closed_stderr_never_blocks_the_server() -> None:
    streams = Streams()
    streams.close(streams.terminal)
    for _ in range(200):
        os.write(streams.server, b"z" * 4095 + b"\n")
    streams.close(streams.server)
    assert streams.relay.flush(PATIENCE)
    assert "zzz\n" in streams.relay.tail()


# --- our own lines -------------------------------------------------------------------------------


def everything(streams: Streams) -> str:
    """All that reaches the terminal until the relay has written what it kept."""
    seen = b""
    while not streams.relay.ended.is_set() or select.select([streams.terminal], [], [], 0)[0]:
        if select.select([streams.terminal], [], [], 0.05)[0]:
            seen += os.read(streams.terminal, 1 << 16)
    return seen.decode()


def flood(streams: Streams, size: int) -> None:
    for _ in range(size >> 10):
        os.write(streams.server, b"y" * 1023 + b"\n")


def until_stuck(relay: StderrRelay) -> None:
    """Returns when the thread that writes waits for a reader: that the pipe is full does not say so.

    It may be full just then between two writes, and what we say would be the next of them.
    """
    deadline = time.monotonic() + PATIENCE
    while not relay._sink.since:
        assert time.monotonic() < deadline, "it never waited"
        time.sleep(0.002)


def test_what_we_say_is_cleaned_and_keeps_its_own_line_ends() -> None:
    streams = Streams()
    streams.relay.say("error: quota-breach\n  \x1b[2Jwhy\u202e\udcff")
    assert streams.relay.close(PATIENCE)
    shown = os.read(streams.terminal, 1 << 16)
    assert shown == b"error: quota-breach\n  \\x1b[2Jwhy\\u202e\\udcff\n"
    streams.finish()


def test_what_we_say_after_the_server_has_ended_is_written_too() -> None:
    streams = Streams()
    streams.close(streams.server)
    assert streams.relay.flush(PATIENCE)
    streams.relay.say("last")
    assert streams.relay.close(PATIENCE)
    assert os.read(streams.terminal, 1 << 16) == b"last\n"
    streams.finish()


@pytest.mark.threat("S3", proves="no flood of a server's on stderr keeps out what we have to say")
def test_a_flood_of_the_servers_does_not_keep_out_what_we_say() -> None:
    streams = Streams(queue=1 << 18, rate=1 << 30)
    flood(streams, 1 << 20)
    streams.relay.say("ours")
    flood(streams, 1 << 20)
    streams.close(streams.server)
    seen = everything(streams)
    assert "bytes dropped\n" in seen, "the control: the queue was full"
    # What a pipe holds, and the one batch that was being written already.
    assert seen.index("ours\n") <= 3 << 16
    streams.finish()


def test_a_stderr_that_nobody_reads_costs_bounded_time_and_room_and_keeps_our_newest() -> None:
    streams = Streams()
    flood(streams, 1 << 18)
    for number in range(OURS // 16):
        streams.relay.say(f"message {number:08} of many")
    started = time.monotonic()
    assert not streams.relay.flush(0.05)
    streams.close(streams.server)
    seen = everything(streams)
    assert time.monotonic() - started < PATIENCE
    last = OURS // 16 - 1
    assert f"message {last:08} of many\n" in seen
    assert seen.count("message ") * len("message 00000000 of many\n") <= OURS
    assert "message 00000000" not in seen
    streams.finish()


def test_closing_gives_a_stuck_stderr_up() -> None:
    streams = Streams()
    flood(streams, 1 << 18)
    until_stuck(streams.relay)
    streams.relay.say("never seen")
    started = time.monotonic()
    assert not streams.relay.close(0.05)
    assert time.monotonic() - started < PATIENCE / 4
    assert "never seen" not in everything(streams), "nothing follows the end"
    streams.finish()
