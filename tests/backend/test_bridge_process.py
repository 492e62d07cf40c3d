"""A bridge that was taken over: what its process can still do, beside the same attempts without the wall."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import linux
from sandbox.backend import bridge_process
from sandbox.backend.native import narrowed, seccomp
from sandbox.bridge.run import Target
from sandbox.plan.spec import Endpoint

WORD = "canary-of-the-callers"
REFUSED = "EPERM"


def outcome(attempt: Callable[[], Any]) -> Any:
    """What it gave, or by which error it failed."""
    try:
        return attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, repr(error))


def attempts(secret: int, port: int, folder: Path) -> dict[str, Any]:
    """Each attack by name, tried in whichever process this is."""

    def connected() -> str:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return "got"

    def listened() -> str:
        with socket.create_server(("127.0.0.1", 0)):
            return "got"

    def forked() -> str:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return "got"

    def written() -> str:
        (folder / "left").write_text("x")
        return "got"

    made = {
        "read a file": lambda: Path("/etc/passwd").read_bytes()[:1] and "got",
        "write a file": written,
        "list a folder": lambda: os.listdir("/etc") and "got",
        "connect": connected,
        "listen": listened,
        "fork": forked,
        "signal another process": lambda: os.kill(os.getppid(), 0) or "got",
        "use what was open": lambda: os.pread(secret, 64, 0).decode() and "got",
        "read the environment": lambda: "got" if WORD in os.environ.get("CANARY", "") else "empty",
        "start a thread": lambda: _thread(),
    }
    return {name: outcome(attempt) for name, attempt in made.items()}


def _thread() -> str:
    made = threading.Thread(target=lambda: None)
    made.start()
    made.join()
    return "got"


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


def taken_over(
    names: tuple[str, ...], deed: Callable[[], dict[str, Any]], monkeypatch: Any
) -> dict[str, Any]:
    """What `deed` says as the bridge of a process of its own."""

    def run(_target: Target, _stdin: int, stdout: int, _notes: int) -> int:
        os.write(stdout, json.dumps(deed()).encode())
        return 0

    monkeypatch.setattr("sandbox.bridge.run.run", run)
    told, tell = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    bpf = narrowed.only(seccomp.load("net", linux.MACHINE), names, linux.MACHINE)
    child = os.fork()
    if child == 0:
        streams = bridge_process.Streams(null, tell, null)
        bridge_process.carry(Target(Endpoint("127.0.0.1", 1, "/")), streams, bpf)
    os.close(tell)
    os.close(null)
    with open(told, "rb") as answer:
        said = answer.read()
    assert os.waitpid(child, 0)[1] == 0, said
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.mark.parametrize(
    ("names", "connects"), [(narrowed.INSIDE, "got"), (narrowed.OUTSIDE, REFUSED)], ids=["inside", "outside"]
)
def test_who_takes_it_over_can_talk_and_nothing_else(
    names: tuple[str, ...], connects: str, there: tuple[int, int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = taken_over(names, lambda: attempts(*there), monkeypatch)
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
