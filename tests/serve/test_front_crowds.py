"""Ten thousand connections that say nothing: bounded, in the log, and no matter to whoever is known."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

import pytest

from sandbox.serve import http
from sandbox.serve.limits import Limits
from tests.serve.bare import bare
from tests.serve.serving import FORM, TOKEN, answer

MANY = 10_000
ROOT = Path(__file__).resolve().parent.parent.parent
POST = (
    f"POST /mcp HTTP/1.1\r\nHost: localhost:%d\r\nAuthorization: Bearer {TOKEN}\r\n"
    f"{FORM}Content-Length: 2\r\n\r\n{{}}"
)


@contextmanager
def alone(folder: Path) -> Iterator[tuple[int, int]]:
    """Pid and port of a front in a process of its own, so that its memory is its own too."""
    argv = [sys.executable, "-m", "tests.serve.alone", str(folder)]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.communicate(timeout=20)


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def crowd(port: int, many: int, stack: ExitStack) -> list[socket.socket]:
    """So many connections that say nothing."""
    http.raise_descriptors(2 * many)
    return [
        stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in range(many)
    ]


def open_ones(connections: list[socket.socket]) -> int:
    """How many of them nobody has ended."""
    poll = select.poll()
    for one in connections:
        poll.register(one, select.POLLIN)
    return len(connections) - len(poll.poll(0))


def calls(port: int, many: int) -> list[float]:
    """How long a known client waits for each answer, on one connection."""
    took = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(many):
            began = time.perf_counter()
            one.sendall((POST % port).encode())
            assert answer(one).status == 200
            took.append(time.perf_counter() - began)
    return took


@contextmanager
def beside(flood: Callable[[], None]) -> Iterator[None]:
    """While another process does this over and over."""
    child = os.fork()
    if child == 0:
        while True:
            with suppress(OSError):
                flood()
    try:
        yield
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


@pytest.mark.parametrize("many", [600, pytest.param(MANY, marks=pytest.mark.long)])
def test_a_crowd_that_says_nothing_is_bounded(tmp_path: Path, many: int) -> None:
    with alone(tmp_path) as (pid, port), ExitStack() as stack:
        calls(port, 20)
        before, quiet = resident(pid), median(calls(port, 200))
        idle = crowd(port, many, stack)
        # Whoever comes last is answered: by then all the others were taken in, and most let go.
        assert median(calls(port, 200)) < 3 * quiet + 0.002
        assert open_ones(idle) <= Limits().unknown_max
        assert resident(pid) - before < 8 << 20
        counted = (tmp_path / "front.jsonl").read_text()
        assert "another client needed the room" in counted


def test_without_a_front_they_are_all_kept() -> None:
    with bare() as port, ExitStack() as stack:
        idle = crowd(port, 600, stack)
        assert open_ones(idle) == 600


@pytest.mark.parametrize("what", ["bad tokens", "large bodies", "connections", "garbage"])
def test_a_flood_is_no_matter_to_a_known_client(tmp_path: Path, what: str) -> None:
    with alone(tmp_path) as (pid, port):
        said = {
            "bad tokens": (POST % port).replace(TOKEN, "x" * 40).encode(),
            "large bodies": (POST % port).replace(TOKEN, "x" * 40).encode() + b"x" * (1 << 18),
            "connections": b"",
            "garbage": b"\x16\x03\x01" * 50,
        }[what]

        def flood() -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
                if said:
                    with suppress(OSError):
                        one.sendall(said)
                    one.recv(100)

        calls(port, 50)
        quiet, before = median(calls(port, 300)), resident(pid)
        with beside(flood):
            during = calls(port, 300)
        assert median(during) < 5 * quiet + 0.005
        assert resident(pid) - before < 8 << 20
        assert (tmp_path / "front.jsonl").stat().st_size < 1 << 18, "the log is not flooded either"
