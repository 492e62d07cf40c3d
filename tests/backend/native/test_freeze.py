"""The wrapper's question to a keeper, whether everything stands: any answer but the right one is a no."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from sandbox.backend import report
from sandbox.backend.base import Ended
from sandbox.backend.running import FREEZE, THAW, Running


class Keeper:
    """The other ends of the pipes, and a process that stands for the keeper's."""

    def __init__(self) -> None:
        heard, self.tell = os.pipe()
        self.commands, lifeline = os.pipe()
        self.process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
        self.running = Running((-1, -1, -1), self.process.pid, lifeline, report.Reader(heard))

    def says(self, *lines: str, after: float = 0.0) -> None:
        """What comes in answer, from another thread as from another process."""
        threading.Timer(after, os.write, (self.tell, "".join(f"{line}\n" for line in lines).encode())).start()

    def ends(self) -> None:
        os.close(self.tell)
        self.tell = -1
        assert self.process.stdin is not None
        self.process.stdin.close()


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    made = Keeper()
    yield made
    if made.tell >= 0:
        made.ends()
    made.running.wait(10)
    made.process.returncode = 0  # reaped by `wait`
    os.close(made.commands)


def test_the_right_word_is_a_yes(keeper: Keeper) -> None:
    keeper.says("frozen", after=0.05)
    assert keeper.running.freeze(5.0)
    assert os.read(keeper.commands, 64) == FREEZE
    keeper.says("thawed")
    assert keeper.running.thaw(5.0)
    assert os.read(keeper.commands, 64) == THAW


def test_who_is_stopped_again_is_asked_nothing(keeper: Keeper) -> None:
    keeper.running.stop_again()
    keeper.says("frozen", "thawed")
    assert keeper.running.thaw(5.0)
    assert os.read(keeper.commands, 64) == FREEZE + THAW
    keeper.running.kill()
    keeper.running.stop_again()
    assert os.read(keeper.commands, 64) == b""


@pytest.mark.parametrize("words", [["unable"], ["ended status 3", "unable"]], ids=" ".join)
def test_a_keeper_that_cannot_is_a_no_at_once(words: list[str], keeper: Keeper) -> None:
    began = time.monotonic()
    keeper.says(*words)
    assert not keeper.running.freeze(30.0)
    assert time.monotonic() - began < 10


def test_silence_is_a_no_in_time(keeper: Keeper) -> None:
    began = time.monotonic()
    assert not keeper.running.freeze(0.2)
    assert 0.2 <= time.monotonic() - began < 5


def test_an_answer_to_something_else_is_none(keeper: Keeper) -> None:
    keeper.says("frozen", "oom 2")
    assert not keeper.running.thaw(0.2)
    assert keeper.running.oom_kills == 2, "what else was said meanwhile is heard"


def test_the_end_is_a_no_and_how_it_ended_is_kept(keeper: Keeper) -> None:
    keeper.says("ended status 3")
    threading.Timer(0.1, keeper.ends).start()
    assert not keeper.running.freeze(30.0)
    assert keeper.running.wait(10) == Ended(status=3)


def test_what_was_let_go_is_a_no(keeper: Keeper) -> None:
    keeper.running.kill()
    assert not keeper.running.freeze(30.0)
