"""A keeper that is forked early: told later it builds the same sandbox, told nothing it is gone."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.backend.base import Ended
from sandbox.backend.native import launch
from sandbox.backend.running import Running
from sandbox.errors import SandboxNotBuilt
from sandbox.plan.spec import Spec
from sandbox.prepare import prepare
from sandbox.prepared import Wish
from tests.conftest import Require

ROOT = Path(__file__).resolve().parents[3]
WAIT_S = 20.0


def spec_of(*command: str) -> Spec:
    return prepare(Wish(command, dict(os.environ), os.getcwd()), lambda _text: None).spec


@pytest.fixture
def early(require: Require) -> Iterator[launch.Early]:
    require("native")
    made = launch.Early()
    yield made
    made.close()


def begun(early: launch.Early | None, spec: Spec) -> Running:
    told = launch.orders(spec, f"early-{os.getpid()}-{time.monotonic_ns()}", (*spec.env, ("SAID", "so")))
    running = launch.start(spec, told) if early is None else early.start(spec, told, (-1, -1))
    running.release()
    running.ready(spec.argv[0])
    return running


def said(running: Running) -> str:
    pieces = []
    while piece := os.read(running.stdout, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces).decode()


SHOWS = (
    "/bin/sh",
    "-c",
    "echo $SAID $HOME; ls /; cat /proc/self/status | grep -E 'Cap|NoNew|Seccomp'; exit 7",
)


def test_it_builds_the_very_same(early: launch.Early) -> None:
    spec = spec_of(*SHOWS)
    one, other = begun(None, spec), begun(early, spec)
    shown = said(one)
    assert shown.startswith("so /home/")
    assert said(other) == shown
    assert other.wait(WAIT_S) == one.wait(WAIT_S) == Ended(status=7)
    assert other.cleaned
    assert other.expected == one.expected


def test_one_that_is_told_nothing_ends(require: Require) -> None:
    require("native")
    made = launch.Early()
    keeper = made._process
    made.close()
    made.close()
    assert not Path(f"/proc/{keeper}").exists()


def test_one_that_was_killed_before_its_orders_is_a_sandbox_that_is_not_built(require: Require) -> None:
    require("native")
    spec, made = spec_of("/bin/cat"), launch.Early()
    os.kill(made._process, signal.SIGKILL)
    assert until(lambda: not _runs(made._process))
    with pytest.raises(SandboxNotBuilt, match="ended before the server was executed"):
        begun(made, spec)


def test_one_that_cannot_be_forked_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", none)
    with pytest.raises(SandboxNotBuilt, match="Resource temporarily unavailable") as caught:
        launch.Early()
    assert caught.value.hint.startswith("ulimit")


def test_what_it_has_no_use_for_it_does_not_hold(require: Require) -> None:
    """The control: the other end of the second pipe is held."""
    require("native")
    (read, write), (again, held) = os.pipe(), os.pipe()
    made = launch.Early((write,))
    os.close(write)
    os.close(held)
    assert select.select([read], [], [], WAIT_S)[0], "nobody else holds it any more"
    assert not select.select([again], [], [], 0)[0]
    made.close()
    assert select.select([again], [], [], WAIT_S)[0]
    os.close(read)
    os.close(again)


PARENT = """
    import os, sys, time
    from sandbox.backend.native import launch

    made = launch.Early()
    print(made._process, flush=True)
    time.sleep(60)
"""


def parent() -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def until(done: Callable[[], bool]) -> bool:
    end = time.monotonic() + WAIT_S
    while not done() and time.monotonic() < end:
        select.select([], [], [], 0.01)
    return done()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_while_it_waits_it_ends_with_the_wrapper_and_not_before(
    require: Require, number: signal.Signals
) -> None:
    require("native")
    process, keeper = parent()
    with process:
        assert until(lambda: _ignores(keeper, signal.SIGTERM, signal.SIGINT))
        assert os.getsid(keeper) == keeper, "a terminal's signals do not reach it"
        os.kill(keeper, signal.SIGTERM)
        os.kill(keeper, signal.SIGINT)
        assert Path(f"/proc/{keeper}").exists()
        process.send_signal(number)
        process.wait(WAIT_S)
    assert until(lambda: not _runs(keeper))


def _ignores(pid: int, *numbers: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.partition("SigIgn:")[2].split()[0], 16)
    return all(mask >> (number - 1) & 1 for number in numbers)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
