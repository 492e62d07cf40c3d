"""A bridge that was taken over: what its process can still do, beside the same attempts without the wall."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import linux
from sandbox.backend import bridge_process
from sandbox.backend.native import narrowed, seccomp
from sandbox.bridge.run import Target
from sandbox.plan.spec import Endpoint
from tests.backend.taken_over import WORD, attempts

ROOT = Path(__file__).resolve().parents[2]
REFUSED = "EPERM"


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int, Path]]:
    """A file that was left open, somebody who listens, a folder to write to, a secret in the environment."""
    monkeypatch.setenv("CANARY", WORD)
    place = tmp_path / "secret"
    place.write_text(WORD)
    fd = os.open(place, os.O_RDONLY)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield fd, listener.getsockname()[1], tmp_path
    os.close(fd)


def taken_over(names: str, fd: int, port: int, folder: Path) -> dict[str, Any]:
    """What is tried as the bridge of a fresh process says; ours has threads and a heap that no bridge has."""
    argv = [sys.executable, "-m", "tests.backend.taken_over", names, str(fd), str(port), str(folder)]
    done = subprocess.run(
        argv, pass_fds=[fd], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("names", "connects"), [("INSIDE", "got"), ("OUTSIDE", REFUSED)])
def test_who_takes_it_over_can_talk_and_nothing_else(
    names: str, connects: str, there: tuple[int, int, Path]
) -> None:
    found = taken_over(names, *there)
    assert not (there[2] / "left").exists()
    assert found.pop("start a thread") == "got"
    assert found.pop("connect") == connects
    assert found.pop("use what was open") == "EBADF"
    assert found.pop("read the environment") == "empty"
    assert found == dict.fromkeys(found, REFUSED)
    control = attempts(*there)
    assert control == dict.fromkeys(control, "got"), "the control"


def test_it_ends_with_whoever_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """However that ended."""
    monkeypatch.setattr("sandbox.bridge.run.run", lambda *_: _say_and_stay())
    told, tell = os.pipe()
    parent = os.fork()
    if parent == 0:
        _start_and_stay(tell)
    try:
        os.close(tell)
        with open(told, "rb", buffering=0) as answer:
            assert answer.read(16) == b"runs", "the control"
            os.kill(parent, signal.SIGKILL)
            assert answer.read(1) == b"", "its end of the pipe is closed"
    finally:
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)


def _start_and_stay(tell: int) -> None:
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        null = os.open(os.devnull, os.O_RDWR)
        bpf = narrowed.only(seccomp.load("net", linux.MACHINE), narrowed.OUTSIDE, linux.MACHINE)
        if os.fork() == 0:
            target = Target(Endpoint("127.0.0.1", 1, "/"))
            bridge_process.carry(target, bridge_process.Streams(null, tell, null), bpf)
        os.close(tell)
        signal.pause()
    finally:
        os._exit(1)


def _say_and_stay() -> int:
    os.write(1, b"runs")
    threading.Event().wait()
    return 0
