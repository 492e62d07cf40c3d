"""A child prepares while we load: what it says, what it refuses, what it holds, and that it never stays."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from sandbox.errors import CannotEnforce, CommandNotFound, SandboxNotBuilt
from sandbox.prepare import prepare
from sandbox.prepared import Prepared, Wish
from sandbox.preparing import NEEDED, beside, wait_for
from sandbox.records import replace
from sandbox.supply import store
from sandbox.supply.store import hold
from tests.conftest import Require

ROOT = Path(__file__).resolve().parent.parent
WAIT_S = 20.0

Progress = Callable[[str], None]


def wish(*command: str) -> Wish:
    return Wish(command or (sys.executable, "-c", "pass"), dict(os.environ), os.getcwd())


def silent(_text: str) -> None:
    """Nobody listens."""


def prepare_beside(
    asked: Wish, progress: Progress, make: Callable[[Wish, Progress], Prepared] = prepare
) -> Prepared:
    made, child = beside(lambda tell, _checks: make(asked, tell), progress)
    return replace(made, child=child)


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def gone(pid: int) -> bool:
    """Whether it ends within the time; looked at, not slept through."""
    _until(lambda: not running(pid))
    return not running(pid)


def _until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not done() and time.monotonic() < end:
        select.select([], [], [], 0.01)


# --- what it says ----------------------------------------------------------------------------------


def test_it_is_what_would_be_prepared_here(require: Require) -> None:
    require("native")
    asked = wish()
    made = wait_for(prepare_beside(asked, silent))
    assert made == prepare(asked, silent)
    assert made.wish == asked


def test_what_a_person_is_to_hear_is_said_by_us_and_in_order() -> None:
    heard = list[str]()

    def wordy(_wish: Wish, progress: Progress) -> Prepared:
        for number in range(50):
            progress(f"{number} " + "x" * 3000)  # more than a pipe holds
        raise CannotEnforce("cannot-enforce", "no")

    with pytest.raises(CannotEnforce):
        prepare_beside(wish(), heard.append, wordy)
    assert [int(text.split()[0]) for text in heard] == list(range(50))


def test_a_refusal_is_the_one_that_would_be_made_here(require: Require) -> None:
    require("native")
    asked = wish("/nowhere/at-all")
    with pytest.raises(CommandNotFound) as here:
        prepare(asked, silent)
    with pytest.raises(CommandNotFound) as beside:
        prepare_beside(asked, silent)
    assert str(beside.value) == str(here.value)
    assert beside.value.__dict__ == here.value.__dict__


def test_a_fault_of_ours_is_printed_and_nothing_starts(capfd: pytest.CaptureFixture[str]) -> None:
    def faulty(_wish: Wish, _progress: Progress) -> Prepared:
        raise ZeroDivisionError("in the plan")

    with pytest.raises(SandboxNotBuilt) as caught:
        prepare_beside(wish(), silent, faulty)
    assert caught.value.code == "not-prepared"
    assert "ZeroDivisionError: in the plan" in capfd.readouterr().err


def test_a_broken_pipe_in_the_plan_is_a_fault_as_well(capfd: pytest.CaptureFixture[str]) -> None:
    def faulty(_wish: Wish, _progress: Progress) -> Prepared:
        raise BrokenPipeError("the engine went away")

    with pytest.raises(SandboxNotBuilt):
        prepare_beside(wish(), silent, faulty)
    assert "BrokenPipeError: the engine went away" in capfd.readouterr().err


def test_no_process_to_be_had_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", none)
    with pytest.raises(SandboxNotBuilt, match="Resource temporarily unavailable") as caught:
        prepare_beside(wish(), silent)
    assert caught.value.hint.startswith("ulimit")


@pytest.mark.parametrize("words", [0, 2])
def test_one_that_dies_is_no_hang(words: int) -> None:
    def dying(_wish: Wish, progress: Progress) -> Prepared:
        for _ in range(words):
            progress("still here")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with pytest.raises(SandboxNotBuilt):
        prepare_beside(wish(), silent, dying)


def test_a_listener_that_fails_leaves_no_child() -> None:
    children = list[int]()

    def telling(_wish: Wish, progress: Progress) -> Prepared:
        progress(str(os.getpid()))
        raise AssertionError

    def fails(text: str) -> None:
        children.append(int(text))
        raise OSError("stderr is full")

    with pytest.raises(OSError, match="stderr is full"):
        prepare_beside(wish(), fails, telling)
    assert not Path(f"/proc/{children[0]}").exists()


def test_what_is_loaded_meanwhile_exists() -> None:
    for name in NEEDED:
        import_module(name)


# --- what it checks --------------------------------------------------------------------------------


def changed() -> None:
    raise SandboxNotBuilt("tree-changed", "`a` is another file", rule="a rule", hint="a hint")


def test_what_is_left_to_check_is_checked_by_the_child(tmp_path: Path) -> None:
    at = tmp_path / "checked"

    def make(_progress: Progress, checks: list[Callable[[], None]]) -> int:
        checks.append(lambda: _until(lambda: at.with_suffix(".go").exists()))
        checks.append(at.touch)
        return 1

    made, child = beside(make, silent)
    assert made == 1
    assert not at.exists(), "it is made before it is checked"
    at.with_suffix(".go").touch()
    child.confirm()
    assert at.exists()
    child.confirm()
    child.wait()
    assert not Path(f"/proc/{child.pid}").exists()


def test_what_a_check_refuses_is_refused_and_nobody_stays() -> None:
    made, child = beside(lambda _progress, checks: checks.append(changed), silent)
    assert made is None
    with pytest.raises(SandboxNotBuilt) as caught:
        child.confirm()
    assert (caught.value.code, caught.value.rule, caught.value.hint) == ("tree-changed", "a rule", "a hint")
    assert not Path(f"/proc/{child.pid}").exists()
    child.wait()  # once more is no other child's


def test_a_plan_that_fails_over_what_was_changed_says_what_was_changed() -> None:
    def make(_progress: Progress, checks: list[Callable[[], None]]) -> None:
        checks.append(changed)
        raise CommandNotFound("command-not-found", "a program of the tree is gone")

    with pytest.raises(SandboxNotBuilt, match="another file"):
        beside(make, silent)


def test_a_check_that_fails_by_a_fault_of_ours_lets_nothing_run(capfd: pytest.CaptureFixture[str]) -> None:
    _, child = beside(lambda _progress, checks: checks.append(lambda: 1 / 0), silent)  # type: ignore[arg-type]
    with pytest.raises(SandboxNotBuilt) as caught:
        child.wait()
    assert caught.value.code == "not-prepared"
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_child_that_dies_at_a_check_lets_nothing_run() -> None:
    _, child = beside(
        lambda _progress, checks: checks.append(lambda: os.kill(os.getpid(), signal.SIGKILL)), silent
    )
    with pytest.raises(SandboxNotBuilt):
        child.confirm()


# --- what it holds ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 600])
def test_what_the_child_holds_is_held_here_when_it_has_ended(
    require: Require, tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("native")
    own = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(store, "locks", [own])  # what we hold ourselves is not handed to us
    many = [tmp_path / f"{number}.staged" for number in range(count)]

    def holding(asked: Wish, progress: Progress) -> Prepared:
        for one in many:
            hold(str(one))
            one.rename(one.with_suffix(".used"))  # as a tree that was built goes to its place
        return prepare(asked, progress)

    before = descriptors()
    made = prepare_beside(wish(), silent, holding)
    assert made.child is not None
    assert gone(made.child.pid)
    assert wait_for(made).child is None
    taken = descriptors() - before
    assert len(taken) == count
    assert all(map(locked, many))
    for fd in taken:
        os.close(fd)
    assert not any(map(locked, many)), "the control: nobody else held them"
    os.close(own)


def descriptors() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")}


def locked(staged: Path) -> bool:
    with staged.with_suffix(".used").open() as other:
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


# --- how it ends -----------------------------------------------------------------------------------

PARENT = """
    import os, signal, sys, time
    from sandbox.preparing import beside

    def slow(progress, checks):
        try:
            progress(str(os.getpid()))
            time.sleep(60)
        finally:
            open(sys.argv[1], "w").close()

    {first}
    beside(slow, lambda text: print(text, flush=True))
"""


def parent(left: Path, first: str = "") -> tuple[subprocess.Popen[str], int]:
    """A process whose child prepares for a minute, and that child; `left` is made where the child unwinds."""
    script = textwrap.dedent(PARENT).format(first=first)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(left)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.parametrize(
    "first",
    ["", "signal.signal(signal.SIGIO, signal.SIG_IGN)",
     "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})"],
    ids=["usual", "the signal ignored", "the signal blocked"],
)  # fmt: skip
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_it_does_not_outlive_us(tmp_path: Path, number: signal.Signals, first: str) -> None:
    left = tmp_path / "left"
    process, child = parent(left, first)
    with process:
        assert running(child)
        process.send_signal(number)
        assert process.wait(WAIT_S) == -number
    assert gone(child)
    assert not left.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_asks_it_to_end_ends_us(tmp_path: Path, number: signal.Signals) -> None:
    """A build has a lease of its own, by which `stop` finds the child."""
    process, child = parent(tmp_path / "left")
    with process:
        os.kill(child, number)
        assert process.wait(WAIT_S) == -number
    assert not Path(f"/proc/{child}").exists()


def test_a_terminal_does_not_reach_it(tmp_path: Path) -> None:
    """It is in a group of its own: it ends with us, and in no other way."""
    process, child = parent(tmp_path / "left")
    with process:
        assert os.getpgid(child) == child
        process.kill()
    assert gone(child)
