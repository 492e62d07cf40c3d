"""A keeper that is forked early: told later it builds the same sandbox, told nothing it is gone."""

from __future__ import annotations

import errno
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox import gateway
from sandbox.backend import pipes
from sandbox.backend.base import Ended
from sandbox.backend.native import launch
from sandbox.backend.native.early import Early
from sandbox.backend.running import Running
from sandbox.egress.charge import Charge
from sandbox.errors import SandboxNotBuilt
from sandbox.gateway import run_once_told
from sandbox.plan.spec import Spec
from sandbox.policy.model import HostRule, Network
from sandbox.prepare import prepare
from sandbox.prepared import Wish
from tests.conftest import Require

ROOT = Path(__file__).resolve().parents[3]
WAIT_S = 20.0


def spec_of(*command: str) -> Spec:
    return prepare(Wish(command, dict(os.environ), os.getcwd()), lambda _text: None).spec


@pytest.fixture
def early(require: Require) -> Iterator[Early]:
    require("native")
    made = Early()
    yield made
    made.close()


def begun(early: Early | None, spec: Spec) -> Running:
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


def test_it_builds_the_very_same(early: Early) -> None:
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
    made = Early()
    keeper = made._process
    made.close()
    made.close()
    assert not Path(f"/proc/{keeper}").exists()


def test_one_that_was_killed_before_its_orders_is_a_sandbox_that_is_not_built(require: Require) -> None:
    require("native")
    spec, made = spec_of("/bin/cat"), Early()
    os.kill(made._process, signal.SIGKILL)
    assert until(lambda: not _runs(made._process))
    with pytest.raises(SandboxNotBuilt, match="ended before the server was executed"):
        begun(made, spec)


def test_one_that_cannot_be_forked_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", none)
    with pytest.raises(SandboxNotBuilt, match="Resource temporarily unavailable") as caught:
        Early()
    assert caught.value.hint.startswith("ulimit")


def test_what_it_has_no_use_for_it_does_not_hold(require: Require) -> None:
    """The control: the other end of the second pipe is held."""
    require("native")
    (read, write), (again, held) = os.pipe(), os.pipe()
    made = Early((write,))
    os.close(write)
    os.close(held)
    assert select.select([read], [], [], WAIT_S)[0], "nobody else holds it any more"
    assert not select.select([again], [], [], 0)[0]
    made.close()
    assert select.select([again], [], [], WAIT_S)[0]
    os.close(read)
    os.close(again)


PARENT = """
    import time
    from sandbox.backend.native.early import Early

    made = Early()
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


# --- the gateway that comes with it -----------------------------------------------------------------


def waits(channel: int) -> None:
    """A gateway's life, of which nobody ever says what it is for."""
    os.read(channel, 1)
    os._exit(0)


def descriptors(pid: int) -> list[str]:
    """What each of its descriptors is; nothing of those that it closes meanwhile."""
    found, folder = [], Path(f"/proc/{pid}/fd")
    for one in sorted(os.listdir(folder), key=int):
        with suppress(FileNotFoundError):
            found.append(os.readlink(folder / one))
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def gateway_of(made: Early) -> int:
    made._hear()
    return made._gateway[0]


def test_its_gateway_is_a_child_of_ours_and_ends_with_it(require: Require) -> None:
    require("native")
    made = Early(gateway=waits)
    keeper, ours = made._process, gateway_of(made)
    assert parent_of(ours) == parent_of(keeper) == os.getpid()
    made.close()
    made.close()
    assert not Path(f"/proc/{keeper}").exists()
    assert not Path(f"/proc/{ours}").exists(), "no zombie is left either"


def test_once_it_is_taken_it_is_not_ended(require: Require) -> None:
    require("native")
    made = Early(gateway=waits)
    gateway_of(made)
    taken = made.take_gateway()
    assert taken is not None
    assert made.take_gateway() is None
    made.close()
    process, channel = taken
    assert _runs(process)
    os.close(channel)
    assert os.waitpid(process, 0) == (process, 0)


def test_of_a_keeper_that_was_killed_there_is_none(require: Require) -> None:
    require("native")
    (read, write) = os.pipe()
    made = Early((), gateway=waits)
    os.kill(made._process, signal.SIGKILL)
    gateway = gateway_of(made)  # it may have been forked before
    made.close()
    assert made.take_gateway() is None
    assert not gateway or not Path(f"/proc/{gateway}").exists()
    os.close(read)
    os.close(write)


def test_before_it_is_told_anything_it_holds_its_channel_alone(require: Require) -> None:
    require("native")
    made = Early(gateway=run_once_told)
    gateway = gateway_of(made)
    assert until(lambda: len(descriptors(gateway)) == 4), descriptors(gateway)
    *standard, channel = descriptors(gateway)
    assert standard == ["/dev/null"] * 3
    assert channel.startswith("socket:")
    assert os.getsid(gateway) == made._process, "a terminal's signals do not reach it"
    made.close()


def test_it_ends_with_the_wrapper(require: Require) -> None:
    require("native")
    program = """
        import time
        from sandbox.backend.native.early import Early
        from sandbox.gateway import run_once_told

        made = Early(gateway=run_once_told)
        made._hear()
        print(made._process, made._gateway[0], flush=True)
        time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        pids = [int(word) for word in process.stdout.readline().split()]
        assert all(map(_runs, pids))
        process.kill()
    assert until(lambda: not any(map(_runs, pids)))


@pytest.mark.parametrize("hosts", [0, 20000], ids=["a few", "more than a socket holds"])
def test_what_it_is_told_arrives_whole(hosts: int) -> None:
    rules = tuple(HostRule(f"host-{number}.test", 443) for number in range(hosts))
    charge = Charge(Network(allow=rules), (("NAME", "value"),), {"https_proxy": "http://127.0.0.1:1"})
    (ours, theirs), (trap, other) = pipes.pair(), pipes.pair()
    told: list[Any] = []
    hears = threading.Thread(target=lambda: told.append(gateway._told(theirs)))
    hears.start()
    with closing(socket.socket(fileno=ours)) as one:
        gateway._tell(one, trap, pickle.dumps((charge, b"filter")))
    hears.join(WAIT_S)
    ((end, found, bpf),) = told
    assert (found, bpf) == (charge, b"filter")
    assert os.fstat(end).st_ino == os.fstat(trap).st_ino
    for fd in (end, trap, other, theirs):
        os.close(fd)
