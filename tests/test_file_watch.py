"""What is observed goes on, what is refused stays refused, and neither keeps the loop from its work."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import file_watch
from sandbox.backend.native import notify
from sandbox.backend.native.notify import Caller, Notice
from sandbox.event import Event
from sandbox.file_watch import TURN, FileWatch
from sandbox.plan.spec import Identity, Limits, Spec, Tmpfs

CWD, SETUID = 2**64 - 100, 0o4755
O_WRONLY, O_CREAT = 0o1, 0o100
SPEC = Spec("s", ("/bin/true",), "/", (), Identity(1000, 1000), (Tmpfs("/home/mcp", 1 << 20),), Limits())


class Kernel:
    """Stands for a listener: a pipe with one byte for each call that waits; the path is a call's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.listener, self._write = os.pipe()
        self.waiting: list[Notice] = []
        self.paths: dict[int, str | None] = {}
        self.answers: list[tuple[str, str]] = []
        monkeypatch.setattr(notify, "receive", self._receive)
        monkeypatch.setattr(
            notify, "refuse", lambda _fd, one, error: self.answers.append((one.name, "refused"))
        )
        monkeypatch.setattr(notify, "go_on", lambda _fd, one: self.answers.append((one.name, "made")))
        monkeypatch.setattr(notify, "caller", lambda _fd, _one: Caller(7, "python3"))
        monkeypatch.setattr(notify, "path", lambda _fd, one, _at, _directory: self.paths[one.id])

    def called(self, name: str, *args: int, path: str | None = "/x", machine: str = "x86_64") -> None:
        given = (*args, 0, 0, 0, 0, 0, 0)[:6]
        self.paths[len(self.paths)] = path
        self.waiting.append(Notice(len(self.paths) - 1, 1000, machine, 0, name, given))
        os.write(self._write, b"x")

    def _receive(self, listener: int) -> Notice | None:
        os.read(listener, 1)
        return self.waiting.pop(0)

    def close(self) -> None:
        os.close(self.listener)
        os.close(self._write)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    made = Kernel(monkeypatch)
    yield made
    made.close()


class Watched:
    def __init__(self, kernel: Kernel) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.watch = FileWatch(kernel.listener, SPEC, "warn", self._emit)

    def _emit(self, event: Event) -> None:
        self.told.append((event.kind, dict(event.detail)))

    def look(self, now: float = 0.0) -> None:
        self.watch.look(now, frozenset(self.watch.watched()))

    def used(self) -> list[dict[str, Any]]:
        self.watch.finish()
        return [detail for kind, detail in self.told if kind == "file.used"]


def test_what_is_looked_at_goes_on_and_is_told_at_the_end(kernel: Kernel) -> None:
    made = Watched(kernel)
    kernel.called("openat", CWD, 1, 0, path="/data/a")
    kernel.called("openat", CWD, 1, O_WRONLY | O_CREAT, 0o644, path="/data/b")
    made.look()
    assert kernel.answers == [("openat", "made")] * 2
    assert made.told == []
    assert [(one["path"], one["intent"]) for one in made.used()] == [
        ("/data/a", "read"),
        ("/data/b", "write"),
    ]


@pytest.mark.parametrize(
    ("name", "args", "machine"),
    [
        pytest.param("openat", (CWD, 1, O_CREAT, SETUID), "x86_64", id="a setuid file would be made"),
        pytest.param("open", (1, 0), "i386", id="by the numbers of another architecture"),
        pytest.param("open", (1, 0), "x32", id="by the numbers of x32"),
        pytest.param("ptrace", (16, 1), "x86_64", id="no call that names a file"),
        pytest.param("mount", (1, 1, 1), "x86_64", id="a mount"),
    ],
)
def test_what_the_tier_does_not_make_never_goes_on(
    name: str, args: tuple[int, ...], machine: str, kernel: Kernel
) -> None:
    made = Watched(kernel)
    kernel.called(name, *args, machine=machine)
    made.look()
    assert kernel.answers == [(name, "refused")]
    assert [kind for kind, _ in made.told] == ["syscall.deny"]
    assert made.used() == []


def test_a_path_that_cannot_be_read_is_not_told_and_its_call_goes_on(kernel: Kernel) -> None:
    made = Watched(kernel)
    kernel.called("stat", 0, path=None)
    made.look()
    assert (kernel.answers, made.used()) == ([("stat", "made")], [])


def test_a_flood_of_looks_lets_the_loop_do_its_other_work(kernel: Kernel) -> None:
    made = Watched(kernel)
    for _ in range(2 * TURN + 3):
        kernel.called("stat", 1)
    counts = []
    for _ in range(3):
        made.look()
        counts.append(len(kernel.answers))
    assert counts == [TURN, 2 * TURN, 2 * TURN + 3]


def test_what_is_merely_looked_at_counts_against_no_rate(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_watch, "TURN", 10_000)
    made = Watched(kernel)
    for _ in range(500):
        kernel.called("stat", 1)
    kernel.called("setxattr")
    made.look()
    assert kernel.answers[-1] == ("setxattr", "refused")
    assert len(kernel.answers) == 501


@pytest.mark.timeout(10)
def test_a_caller_that_ends_while_it_is_read_has_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory then reads as empty, for ever: whoever read on until the end of the text never came back."""
    child = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)
    read, told = os.pread, list[bytes]()

    def ends_first(fd: int, count: int, at: int) -> bytes:
        if not told:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        told.append(read(fd, count, at))
        return told[-1]

    monkeypatch.setattr(notify.os, "pread", ends_first)
    assert notify.path(-1, Notice(1, child, "x86_64", 2, "open", (4096,)), 4096, 0) is None
    assert told == [b""]
