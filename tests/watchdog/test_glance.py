"""A glance sees what grows, who begins and who is gone, in real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from sandbox.records import replace
from sandbox.watchdog import processes
from sandbox.watchdog.glance import MOST, Glance
from sandbox.watchdog.processes import tree

MIB = 1 << 20
LIMIT = 256 * MIB
SERVER = """
import mmap, os, sys
held = []
for line in sys.stdin:
    what, size = line.split()
    if what == "own":
        held.append(bytearray(b"x") * (int(size) << 20))
    elif what == "shared":
        area = mmap.mmap(-1, int(size) << 20)
        area.write(bytes(int(size) << 20))
        held.append(area)
    elif what == "fork" and os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
    print("done", flush=True)
"""


class Server:
    """A process that does what it is told, and a glance at it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.glance = Glance()

    def do(self, what: str, size: int = 0) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what} {size}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def is_calm(self) -> bool:
        return self.glance.calm(LIMIT)


@pytest.fixture
def server() -> Iterator[Server]:
    words = [sys.executable, "-c", SERVER]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        one = Server(process)
        one.do("nothing")
        yield one
        one.glance.close()
        process.kill()


def _calm_once(server: Server) -> bool:
    """Others begin processes on this machine too: calm at some time is what can be asked for."""
    for _ in range(200):
        server.glance.at(tree(server.process.pid))
        if server.is_calm():
            return True
    return False


def test_who_does_nothing_is_calm(server: Server) -> None:
    assert _calm_once(server)


@pytest.mark.parametrize(
    ("what", "size"),
    [
        pytest.param("own", 16, id="memory of its own"),
        pytest.param("shared", 16, id="shared memory"),
        pytest.param("fork", 0, id="a child, which may fill memory itself"),
    ],
)
def test_what_grows_is_seen(server: Server, what: str, size: int) -> None:
    assert _calm_once(server)
    server.do(what, size)
    assert not server.is_calm()


def test_a_little_more_is_calm(server: Server) -> None:
    for _ in range(200):
        server.glance.at(tree(server.process.pid))
        server.do("own", 1)
        if server.is_calm():
            return
    pytest.fail("a MiB of 256 was never calm")


def test_who_is_gone_is_not_calm(server: Server) -> None:
    assert _calm_once(server)
    server.process.kill()
    server.process.wait()
    assert not server.is_calm()


def test_many_processes_are_looked_at_whole(server: Server) -> None:
    one = tree(server.process.pid)[0]
    server.glance.at([replace(one, pid=number) for number in range(MOST + 1)])
    assert not server.is_calm()


def test_nothing_is_calm_before_the_first_whole_look() -> None:
    assert not Glance().calm(LIMIT)


def test_what_cannot_be_read_is_not_calm(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.glance, "_last_begun", lambda: "")
    server.glance.at(tree(server.process.pid))
    assert not server.is_calm()


def test_a_process_is_halted_and_nobody_who_has_its_number_by_now(server: Server) -> None:
    one = tree(server.process.pid)[0]
    processes.halt(replace(one, started=one.started + 1))
    server.do("nothing")  # it still answers
    processes.halt(one)
    deadline = time.monotonic() + 10
    while processes.text(f"/proc/{one.pid}/stat").rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline, "it goes on"
