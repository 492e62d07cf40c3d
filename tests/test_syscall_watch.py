"""Calls that were not made, one after the other: which end the sandbox, what is told, what is bounded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import syscall_watch
from sandbox.backend.native import notify
from sandbox.backend.native.notify import Caller, Notice
from sandbox.event import Event
from sandbox.policy.model import Ending
from sandbox.syscall_watch import BATCH, MOST_NAMES, WINDOW_S, SyscallWatch

AF_ALG, RAW = (38, 5, 0, 0, 0, 0), (2, 3, 1, 0, 0, 0)
EPERM = 1


class Kernel:
    """Stands for a listener: a pipe with one byte for each call that waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.listener, self._write = os.pipe()
        self.waiting: list[Notice] = []
        self.answers: list[tuple[str, int]] = []
        monkeypatch.setattr(notify, "receive", self._receive)
        monkeypatch.setattr(notify, "refuse", lambda _fd, one, error: self.answers.append((one.name, error)))
        monkeypatch.setattr(notify, "caller", lambda _fd, _one: Caller(7, "python3"))

    def called(self, name: str, args: tuple[int, ...] = (0,) * 6, machine: str = "x86_64") -> None:
        self.waiting.append(Notice(len(self.waiting), 1000, machine, 0, name, args))
        os.write(self._write, b"x")

    def hang_up(self) -> None:
        os.close(self._write)
        self._write = -1

    def _receive(self, listener: int) -> Notice | None:
        os.read(listener, 1)
        return self.waiting.pop(0)

    def close(self) -> None:
        for fd in (self.listener, self._write):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    made = Kernel(monkeypatch)
    yield made
    made.close()


class Watched:
    """A watch with its log."""

    def __init__(self, kernel: Kernel, action: Ending = "kill") -> None:
        self.told: list[dict[str, Any]] = []
        self.watch = SyscallWatch(kernel.listener, "net", action, self._emit)

    def _emit(self, event: Event) -> None:
        self.told.append(dict(event.detail))

    def look(self, now: float = 0.0) -> tuple[list[str], float | None]:
        found, until = self.watch.look(now, frozenset(self.watch.watched()))
        return [excess.why for excess in found], until


def test_a_dangerous_call_is_never_answered_and_nothing_after_it(kernel: Kernel) -> None:
    made = Watched(kernel)
    for name in ("setxattr", "ptrace", "setxattr"):
        kernel.called(name)
    assert made.look() == (["`ptrace` was called by `python3` (pid 7): controls another process"], None)
    assert made.look() == ([], None)
    assert kernel.answers == [("setxattr", EPERM)]
    assert [row["verdict"] for row in made.told] == ["EPERM", "killed"]


@pytest.mark.parametrize("action", ["warn", "freeze"])
def test_with_another_ending_it_fails_and_is_told_once(action: Ending, kernel: Kernel) -> None:
    made = Watched(kernel, action)
    for _ in range(3):
        kernel.called("ptrace")
    found, _ = made.look()
    assert len(found) == 1
    assert kernel.answers == [("ptrace", EPERM)] * 3
    made.watch.finish()
    assert [row.get("count") for row in made.told] == [None, 3]


def test_a_name_that_was_refused_before_is_no_cover_for_a_dangerous_call(kernel: Kernel) -> None:
    made = Watched(kernel)
    kernel.called("socket", RAW)
    kernel.called("socket", AF_ALG)
    (why,), _ = made.look()
    assert "AF_ALG" in why
    assert kernel.answers == [("socket", EPERM)]


def test_nor_are_more_names_than_are_remembered(kernel: Kernel) -> None:
    made = Watched(kernel)
    for number in range(MOST_NAMES + 50):
        kernel.called(f"number {number}")
    kernel.called("ptrace")
    found, now = [], 0.0
    while kernel.waiting:
        more, until = made.look(now)
        found += more
        now = until or now
    assert len(found) == 1
    made.watch.finish()
    assert len(made.told) <= 2 * (MOST_NAMES + 2)
    assert {"call": "others", "machine": "", "class": "refused", "count": 50} in made.told


def test_foreign_calls_are_dangerous_whatever_their_name(kernel: Kernel) -> None:
    made = Watched(kernel)
    kernel.called("getpid", machine="i386")
    (why,), _ = made.look()
    assert why.startswith("`getpid` of i386 was called by")


def test_the_rate_is_bounded_and_the_loop_sleeps_between(kernel: Kernel) -> None:
    made = Watched(kernel)
    for _ in range(2 * BATCH + 1):
        kernel.called("setxattr")
    assert made.look(10.0) == ([], 10.0 + WINDOW_S)
    assert len(kernel.answers) == BATCH
    assert made.look(10.0 + WINDOW_S / 2) == ([], 10.0 + WINDOW_S), "woken by something else, it still waits"
    assert len(kernel.answers) == BATCH
    made.look(10.0 + WINDOW_S)
    made.look(10.0 + 2 * WINDOW_S)
    assert len(kernel.answers) == 2 * BATCH + 1
    assert made.watch.denied == 2 * BATCH + 1


def test_callers_that_come_one_by_one_have_the_same_rate(kernel: Kernel) -> None:
    made = Watched(kernel)
    for _ in range(2 * BATCH):
        kernel.called("setxattr")
        made.look(10.0 + WINDOW_S / 2)
    assert len(kernel.answers) == BATCH
    made.look(10.0 + 2 * WINDOW_S)
    assert len(kernel.answers) == 2 * BATCH


def test_a_listener_without_processes_wakes_nobody(kernel: Kernel) -> None:
    made = Watched(kernel)
    kernel.hang_up()
    assert made.look() == ([], None)
    assert made.watch._gate.poll(0) == []


def test_calls_that_were_taken_back_before_they_were_read(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Watched(kernel)
    kernel.called("ptrace")
    monkeypatch.setattr(syscall_watch.notify, "receive", lambda fd: os.read(fd, 1) and None)
    assert made.look() == ([], None)
    assert made.told == []
