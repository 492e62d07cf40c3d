"""Named pipes between the keeper's ends and a server that opens them when it is there."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox.backend.docker.pipes import Pipes

SOON_S = 10.0
LARGE = 3 << 20


class Joined:
    """The pipes of a folder, between two pairs of ends as the wrapper has them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        (stdin, to_server), (from_server, stdout) = os.pipe(), os.pipe()
        self.folder = folder
        self.stdin = stack.enter_context(open(to_server, "wb", buffering=0))
        self.stdout = stack.enter_context(open(from_server, "rb", buffering=0))
        self.outward = Pipes(str(folder)).start(stdin, stdout)
        self._stack = stack

    def serve(self, *words: str) -> subprocess.Popen[bytes]:
        """A server as the container's shell begins it."""
        line = f'exec "$@" <{self.folder}/stdin >{self.folder}/stdout'
        server = subprocess.Popen(["/bin/sh", "-c", line, "sh", *words], close_fds=True)
        self._stack.callback(server.wait, SOON_S)
        self._stack.callback(server.kill)
        return server

    def ends(self) -> bool:
        self.outward.join(SOON_S)
        return not self.outward.is_alive()


@pytest.fixture
def joined(tmp_path: Path) -> Iterator[Joined]:
    with ExitStack() as stack:
        yield Joined(tmp_path, stack)


def test_what_was_said_before_the_server_came_is_heard(joined: Joined) -> None:
    joined.stdin.write(b"early\n")
    joined.serve("cat")
    assert joined.stdout.read(6) == b"early\n"
    joined.stdin.write(b"late\n")
    assert joined.stdout.read(5) == b"late\n"


def test_the_clients_end_of_file_is_the_servers_and_its_last_words_are_heard(joined: Joined) -> None:
    server = joined.serve("sh", "-c", "cat >/dev/null; echo last")
    joined.stdin.write(b"x")
    joined.stdin.close()
    assert joined.stdout.read() == b"last\n"
    assert server.wait(SOON_S) == 0
    assert joined.ends()


def test_more_than_any_pipe_holds_passes_both_ways(joined: Joined) -> None:
    joined.serve("cat")
    sent = os.urandom(LARGE)

    def say() -> None:
        left = memoryview(sent)
        while left:
            left = left[joined.stdin.write(left) :]
        joined.stdin.close()

    saying = threading.Thread(target=say)
    saying.start()
    heard = b"".join(iter(lambda: joined.stdout.read(1 << 16), b""))
    saying.join(SOON_S)
    assert heard == sent


def test_a_server_that_says_nothing_is_over_when_it_ends(joined: Joined) -> None:
    joined.serve("true")
    assert joined.stdout.read() == b""
    assert joined.ends()


def test_a_client_that_reads_no_more_ends_the_server(joined: Joined) -> None:
    server = joined.serve("yes")
    assert joined.stdout.read(4) == b"y\ny\n"
    joined.stdout.close()
    assert server.wait(SOON_S) == -13, "SIGPIPE"
    assert joined.ends()


def test_pipes_that_somebody_made_before_are_not_taken(tmp_path: Path) -> None:
    os.symlink("/dev/null", tmp_path / "stdin")
    with pytest.raises(FileExistsError):
        Pipes(str(tmp_path))


def test_the_servers_user_may_open_them_whoever_it_is(tmp_path: Path) -> None:
    Pipes(str(tmp_path))
    for name in ("stdin", "stdout"):
        found = os.lstat(tmp_path / name).st_mode
        assert stat.S_ISFIFO(found)
        assert stat.S_IMODE(found) == 0o666


def test_what_a_client_said_before_it_left_is_heard(joined: Joined) -> None:
    joined.stdin.write(b"all\n")
    joined.stdin.close()
    joined.serve("cat")
    assert joined.stdout.read() == b"all\n"
    assert joined.ends()
