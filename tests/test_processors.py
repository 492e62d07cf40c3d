"""A child begins on another processor than its parent's, and is held to none afterwards."""

from __future__ import annotations

import os

import pytest

from sandbox import processors
from sandbox.prepare import prepare
from sandbox.prepared import Wish
from sandbox.preparing import beside

SEVERAL = len(os.sched_getaffinity(0)) > 1


class Moves:
    """Where the kernel is asked to let a process run, and where that was afterwards."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[set[int]] = []
        self.seen: list[int] = []
        self._real = os.sched_setaffinity
        monkeypatch.setattr(os, "sched_setaffinity", self)

    def __call__(self, pid: int, mask: set[int]) -> None:
        assert pid == 0
        self._real(0, mask)
        self.asked.append(set(mask))
        self.seen.append(processors.current())


@pytest.mark.skipif(not SEVERAL, reason="this machine has one processor")
def test_it_goes_elsewhere_at_once_and_may_go_anywhere_then(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = os.sched_getaffinity(0)
    for left in sorted(allowed):
        moves = Moves(monkeypatch)
        processors.leave(left)
        assert moves.asked == [allowed - {left}, allowed]
        assert moves.seen[0] != left
        assert os.sched_getaffinity(0) == allowed
        monkeypatch.undo()


@pytest.mark.parametrize("allowed", [{3}, {3, 5}], ids=["no other one", "not ours"])
def test_where_there_is_no_other_one_it_stays(monkeypatch: pytest.MonkeyPatch, allowed: set[int]) -> None:
    """The control: one that is ours and is not the only one is left."""
    asked: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(allowed))
    monkeypatch.setattr(os, "sched_setaffinity", lambda _pid, mask: asked.append(set(mask)))
    processors.leave(3 if allowed == {3} else -1)
    assert asked == []
    processors.leave(5)
    assert asked == ([{3}, {3, 5}] if 5 in allowed else [])


@pytest.mark.parametrize("call", ["sched_getaffinity", "sched_setaffinity"])
def test_a_kernel_that_refuses_costs_nothing_but_time(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def refuse(*_args: object) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    monkeypatch.setattr(os, call, refuse)
    processors.leave(0)


@pytest.mark.skipif(not SEVERAL, reason="this machine has one processor")
def test_it_is_one_of_ours() -> None:
    assert processors.current() in os.sched_getaffinity(0)


def test_the_child_that_plans_leaves_its_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[tuple[int, int]] = []
    monkeypatch.setattr(processors, "current", lambda: 7)
    monkeypatch.setattr(processors, "leave", lambda which: left.append((os.getpid(), which)))
    made, child = beside(lambda _tell, _checks: (os.getpid(), left), lambda _text: None)
    child.wait()
    assert made == (child.pid, [(child.pid, 7)])
    assert left == [], "this process stays where it is"


def test_a_plan_is_the_same_wherever_it_was_made() -> None:
    wish = Wish(("/bin/cat",), dict(os.environ), os.getcwd())
    made, child = beside(
        lambda tell, _checks: (prepare(wish, tell), os.sched_getaffinity(0)), lambda _text: None
    )
    child.wait()
    assert made[0].spec == prepare(wish, lambda _text: None).spec
    assert made[1] == os.sched_getaffinity(0), "what it builds may use every processor"
