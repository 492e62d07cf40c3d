"""The attach stream: every cut gives the same bytes, nonsense ends it, and each direction has its own end."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.backend.docker import pump
from sandbox.backend.docker.pipes import Pipes
from sandbox.backend.docker.pump import STDERR, STDOUT, Frames, Opening

PATIENCE_S = 10
MANY = 8 << 20
"""More than all buffers between the two ends hold."""


def frame(stream: int, content: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(content).to_bytes(4, "big") + content


def joined(pieces: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The same content, with neighbours of one stream in one piece."""
    made: list[tuple[int, bytes]] = []
    for stream, piece in pieces:
        if made and made[-1][0] == stream:
            made[-1] = stream, made[-1][1] + piece
        elif piece:
            made.append((stream, piece))
    return made


CONTENT = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=20)), max_size=6)


# --- frames --------------------------------------------------------------------------------------


@given(content=CONTENT)
def test_a_stream_cut_at_any_byte_gives_the_same(content: list[tuple[int, bytes]]) -> None:
    stream = b"".join(frame(*one) for one in content)
    for cut in range(len(stream) + 1):
        frames = Frames()
        found = [*frames.feed(stream[:cut]), *frames.feed(stream[cut:])]
        assert joined(found) == joined(content)


@given(content=CONTENT)
def test_a_stream_byte_by_byte_gives_the_same(content: list[tuple[int, bytes]]) -> None:
    frames, stream = Frames(), b"".join(frame(*one) for one in content)
    found = [piece for at in range(len(stream)) for piece in frames.feed(stream[at : at + 1])]
    assert joined(found) == joined(content)
    assert all(len(piece) == 1 for _, piece in found)  # nothing waits for the end of its frame


HEADS = [
    pytest.param(b"\x00\0\0\0\0\0\0\1", id="stdin's own number"),
    pytest.param(b"\x03\0\0\0\0\0\0\1", id="the engine's own errors"),
    pytest.param(b"\xff\0\0\0\0\0\0\1", id="no number of a stream"),
    pytest.param(b"\x01\1\0\0\0\0\0\1", id="padding that is none"),
    pytest.param(b"\x01\0\0\1\0\0\0\1", id="its last byte"),
    pytest.param(b"HTTP/1.1 400", id="words of a proxy"),
    pytest.param(b'{"jsonrpc":"2.0"}', id="a terminal's raw stream"),
]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "before", [b"", frame(STDOUT, b"x"), frame(STDERR, b"")], ids=["first", "later", "empty"]
)
def test_what_is_no_frame_is_an_error_at_every_cut(head: bytes, before: bytes) -> None:
    for cut in range(len(before + head)):
        frames, stream = Frames(), before + head
        with pytest.raises(ValueError, match="no frame"):
            [*frames.feed(stream[:cut]), *frames.feed(stream[cut:])]


def test_what_came_before_nonsense_is_not_lost() -> None:
    found = Frames().feed(frame(STDOUT, b"last words") + b"\xff" * 8)
    assert next(found) == (STDOUT, b"last words")
    with pytest.raises(ValueError, match="no frame"):
        next(found)


def test_a_frame_of_the_largest_size_is_passed_on_as_it_comes() -> None:
    frames = Frames()
    assert list(frames.feed(b"\x01\0\0\0\xff\xff\xff\xff" + b"x")) == [(STDOUT, b"x")]


@settings(max_examples=300)
@given(pieces=st.lists(st.binary(max_size=30), max_size=8))
def test_any_bytes_are_content_or_an_error(pieces: list[bytes]) -> None:
    frames, passed = Frames(), 0
    try:
        for piece in pieces:
            for stream, content in frames.feed(piece):
                assert stream in (STDOUT, STDERR)
                assert content
                passed += len(content)
    except ValueError:
        pass
    assert passed <= sum(map(len, pieces))


# --- the first words -----------------------------------------------------------------------------

TINI = b"[FATAL tini (7)] exec /x failed: No such file or directory\n"
CATATONIT = b"ERROR (catatonit:2): failed to exec pid1: Permission denied\n"
DASH = b"mcp-sandbox: 1: exec: "
FAILURES = [
    pytest.param(DASH + b"x: not found\n", (errno.ENOENT, "not found"), id="our shell"),
    pytest.param(
        DASH + b"x: Permission denied\n", (errno.EACCES, "Permission denied"), id="our shell, denied"
    ),
    pytest.param(TINI, (errno.ENOENT, "No such file or directory"), id="tini"),
    pytest.param(CATATONIT, (errno.EACCES, "Permission denied"), id="catatonit"),
    pytest.param(
        b"[FATAL tini (7)] exec a] failed: b failed: Exec format error\n",
        (errno.ENOEXEC, "Exec format error"),
        id="a name like its own words",
    ),
    pytest.param(
        b"[FATAL tini (7)] exec x failed: Text file busy\n", (0, "Text file busy"), id="another error"
    ),
]


@pytest.mark.parametrize(("line", "why"), FAILURES)
def test_an_init_that_could_not_execute_is_understood_at_every_cut(line: bytes, why: tuple[int, str]) -> None:
    for cut in range(1, len(line)):
        opening = Opening()
        passed = opening.feed(STDERR, line[:cut]) + opening.feed(STDERR, line[cut:] + b"more")
        assert opening.not_executed == why
        assert passed + opening.rest() == b"more"


LINES = [
    pytest.param(b"[INFO] ready\n", id="a log in brackets"),
    pytest.param(b"[FATAL] no database\n", id="fatal, and not of tini's"),
    pytest.param(b"[FATAL tini (7)] something else\n", id="tini's, about something else"),
    pytest.param(b"ERROR: no database\n", id="an error of the server's"),
    pytest.param(b"E", id="one letter"),
    pytest.param(b"m", id="another"),
    pytest.param(b"mcp-sandbox: 1: no word of the shell's\n", id="a name like our shell's"),
    pytest.param(b"", id="nothing"),
    pytest.param(b"\n" + TINI, id="tini's words, later"),
    pytest.param(b"[FATAL tini (7)] exec " + b"x" * 5000, id="longer than any path"),
]


@pytest.mark.parametrize("line", LINES)
def test_the_servers_own_first_words_are_passed_on(line: bytes) -> None:
    for cut in range(len(line) + 1):
        opening = Opening()
        passed = opening.feed(STDERR, line[:cut]) + opening.feed(STDERR, line[cut:]) + opening.rest()
        assert passed == line
        assert opening.not_executed is None


WORDS = st.sampled_from([b"[", b"[F", b"ATAL", b"ERR", b"OR", b"\n", b"x", b"", b"[FATAL tini (1)] exec"])


@settings(max_examples=500)
@given(pieces=st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), WORDS), max_size=8))
def test_no_word_of_the_servers_is_lost_or_out_of_order(pieces: list[tuple[int, bytes]]) -> None:
    opening = Opening()
    found = [(stream, opening.feed(stream, piece)) for stream, piece in pieces]
    found.append((STDERR, opening.rest()))
    for stream in (STDOUT, STDERR):
        given_ = b"".join(piece for number, piece in pieces if number == stream)
        assert b"".join(piece for number, piece in found if number == stream) == given_


# --- carrying ------------------------------------------------------------------------------------


class Carried:
    """A pump between three pipes and a stream, whose other end stands for the engine."""

    def __init__(self, stack: ExitStack) -> None:
        ours, self.engine = socket.socketpair()
        for one in (ours, self.engine):
            stack.enter_context(one)
        self.engine.settimeout(PATIENCE_S)
        (stdin, to_server), (from_server, stdout), (errors, stderr) = os.pipe(), os.pipe(), os.pipe()
        self.stdin = stack.enter_context(open(to_server, "wb", buffering=0))
        self.stdout = stack.enter_context(open(from_server, "rb", buffering=0))
        self.stderr = stack.enter_context(open(errors, "rb", buffering=0))
        self.output = pump.start(ours, stdin, stdout, stderr)

    def say(self, *pieces: tuple[int, bytes]) -> None:
        self.engine.sendall(b"".join(frame(*one) for one in pieces))

    def heard(self) -> bytes:
        """All of the server's stdin, to its end."""
        return b"".join(iter(lambda: self.engine.recv(1 << 16), b""))


@pytest.fixture
def carried() -> Iterator[Carried]:
    with ExitStack() as stack:
        made = Carried(stack)
        yield made
        made.stdin.close()
        made.engine.close()
        made.output.join(PATIENCE_S)
        assert not made.output.is_alive()


def everything(file: object) -> bytes:
    return b"".join(iter(lambda: os.read(file.fileno(), 1 << 16), b""))  # type: ignore[attr-defined]


def test_bytes_come_out_where_they_belong(carried: Carried) -> None:
    carried.say((STDOUT, b"out\n"), (STDERR, b"err\n"), (STDOUT, bytes(range(256))))
    carried.engine.shutdown(socket.SHUT_WR)
    assert everything(carried.stdout) == b"out\n" + bytes(range(256))
    assert everything(carried.stderr) == b"err\n"


def test_the_clients_end_is_the_servers_end_and_what_it_says_after_is_heard(carried: Carried) -> None:
    carried.stdin.write(b"request\n")
    carried.stdin.close()
    assert carried.heard() == b"request\n"
    carried.say((STDOUT, b"answer\n"))
    assert carried.stdout.read(7) == b"answer\n"


def test_the_servers_end_of_output_does_not_end_its_input(carried: Carried) -> None:
    carried.engine.shutdown(socket.SHUT_WR)
    assert carried.stdout.read() == b""
    assert carried.stderr.read() == b""
    carried.output.join(PATIENCE_S)
    carried.stdin.write(b"still here\n")
    assert carried.engine.recv(64) == b"still here\n"


def until_broken(say: Callable[[], object]) -> bool:
    """Whether saying comes to an end before more was said than any buffer holds."""
    try:
        for _ in range(MANY >> 16):
            say()
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


def test_a_server_that_is_gone_ends_the_clients_pipe(carried: Carried) -> None:
    carried.engine.close()
    assert until_broken(lambda: carried.stdin.write(b"x" * (1 << 16)))


def test_a_reader_that_waits_loses_nothing(carried: Carried) -> None:
    pieces = [(STDOUT, bytes([number % 251]) * (1 << 16)) for number in range(MANY >> 16)]
    sender = threading.Thread(target=lambda: (carried.say(*pieces), carried.engine.shutdown(socket.SHUT_WR)))
    sender.start()
    # Every buffer is full: the engine cannot say more, and nothing was thrown away to let it.
    sender.join(0.5)
    assert sender.is_alive()
    assert everything(carried.stdout) == b"".join(piece for _, piece in pieces)
    sender.join(PATIENCE_S)


def test_a_server_that_reads_nothing_loses_nothing(carried: Carried) -> None:
    content = b"".join(bytes([number % 251]) * (1 << 16) for number in range(MANY >> 16))

    def write() -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[carried.stdin.write(rest) :]
        carried.stdin.close()

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(0.5)
    assert writer.is_alive()
    assert carried.heard() == content
    writer.join(PATIENCE_S)


def test_a_reader_that_is_gone_ends_the_output(carried: Carried) -> None:
    carried.stdout.close()
    carried.say((STDOUT, b"x"))
    carried.output.join(PATIENCE_S)
    assert not carried.output.is_alive()
    assert carried.stderr.read() == b""


@pytest.mark.timeout(30)
def test_where_stdout_is_a_pipe_the_streams_own_is_nobodys(tmp_path: Path) -> None:
    ours, engine = socket.socketpair()
    (errors, stderr), (from_server, stdout), (stdin, to_server) = os.pipe(), os.pipe(), os.pipe()
    with ours, engine, open(errors, "rb") as told, open(from_server, "rb") as said:
        output = pump.start(ours, stdin, stdout, stderr, Pipes(str(tmp_path)))
        # By /proc/1/fd/1, which a server may open.
        engine.sendall(frame(STDOUT, b"injected") + frame(STDERR, b"log\n") + frame(STDOUT, b"again"))
        engine.shutdown(socket.SHUT_WR)
        assert told.read() == b"log\n"
        with open(tmp_path / "stdout", "wb") as server:
            server.write(b"answer\n")
        assert said.read() == b"answer\n"
        output.join(PATIENCE_S)
        assert not output.is_alive()
        with open(tmp_path / "stdin", "rb"):
            os.close(to_server)


def test_nonsense_ends_the_output_after_what_came_before_it(carried: Carried) -> None:
    carried.engine.sendall(frame(STDOUT, b"before") + b"HTTP/1.1 502 Bad Gateway\r\n")
    assert carried.stdout.read() == b"before"
    carried.output.join(PATIENCE_S)
    assert not carried.output.is_alive()


def test_why_a_server_did_not_start_is_known_once_its_output_ended(carried: Carried) -> None:
    carried.say((STDERR, TINI[:20]), (STDERR, TINI[20:]))
    carried.engine.shutdown(socket.SHUT_WR)
    carried.output.join(PATIENCE_S)
    assert carried.output.not_executed == (errno.ENOENT, "No such file or directory")
    assert carried.stderr.read() == b""


def test_words_that_were_held_back_come_out_at_the_end(carried: Carried) -> None:
    carried.say((STDERR, b"[FATAL"))
    carried.engine.shutdown(socket.SHUT_WR)
    assert everything(carried.stderr) == b"[FATAL"
