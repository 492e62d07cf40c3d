"""An engine that ends or hangs while a session runs: one of the tests' own, never the host's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sandbox import engine
from sandbox.imaging import recipe
from tests import backends
from tests.attacks.inside import RUN, Attacker, World, furnished
from tests.conftest import Ready, Require
from tests.e2e.remains import Remains, adopted_orphans, descendants, processes, text

pytestmark = [pytest.mark.root, pytest.mark.slow]

START_S = 30.0
REACTION_S = 3.0
CODE = """import signal, sys, time
print('{"jsonrpc": "2.0", "method": "up"}', flush=True)
time.sleep(600)
"""


class Engine:
    """A dockerd of our own, which can be ended in every way."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.endpoint = f"unix://{base}/s"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        places = [f"--{one}={self.base / name}" for one, name in _PLACES.items()]
        words = ["dockerd", "--host", self.endpoint, *places, *_ALONE]
        with open(self.base / "log", "ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, (self.base / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "it does not answer"
            time.sleep(0.05)

    def _answers(self) -> bool:
        words = ["docker", "-H", self.endpoint, "version"]
        return subprocess.run(words, capture_output=True, timeout=START_S).returncode == 0

    def load(self, images: dict[str, str]) -> None:
        """The images of the host's engine, under their names."""
        here = ["docker", "-H", self.endpoint]
        with subprocess.Popen(["docker", "save", *images.values()], stdout=subprocess.PIPE) as saved:
            words, quiet = [*here, "load", "--quiet"], subprocess.DEVNULL
            subprocess.run(words, stdin=saved.stdout, stdout=quiet, timeout=120, check=True)
        for name, known in images.items():
            subprocess.run([*here, "tag", known, name], timeout=30, check=True)

    def processes(self) -> set[int]:
        """Its own, not those of containers."""
        assert self._process is not None
        below = descendants(self._process.pid)
        return {self._process.pid, *(pid for pid in below if text(f"/proc/{pid}/comm") == "containerd\n")}

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> None:
        """Returns once it is gone, with its containerd, which ends with its parent and is ours to bury."""
        assert self._process is not None
        containerd = self.processes() - {self._process.pid}
        self.send(number)
        self._process.wait(START_S)
        for pid in containerd:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def close(self) -> None:
        """Ends it, and every process and mount that is left below its folder."""
        if self._process is not None and self._process.poll() is None:
            self.send(signal.SIGCONT)
            self.end()
        for pid, _, _ in processes():
            if str(self.base) in text(f"/proc/{pid}/cmdline"):
                os.kill(pid, signal.SIGKILL)
        for line in reversed(text("/proc/self/mountinfo").splitlines()):
            if str(self.base) in line:
                subprocess.run(["umount", "-l", line.split()[4]], check=False, timeout=10)
        shutil.rmtree(self.base, ignore_errors=True)


_PLACES = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
_ALONE = ["--bridge=none", "--iptables=false", "--ip-forward=false"]


@pytest.fixture(scope="module")
def own_engine(require: Require, ready: Ready) -> Iterator[Engine]:
    """With the images of the one that is there."""
    require("dockerd")
    built = json.loads(ready(backends.DOCKER))["images"]
    made = Engine(Path(tempfile.mkdtemp(prefix="mcp-e-")))
    try:
        made.start()
        made.load({recipe.tag(name): built[name]["id"] for name in ("base", "python")})
        yield made
    finally:
        made.close()


@pytest.fixture
def world(own_engine: Engine, ready: Ready, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with furnished("root", backends.DOCKER, ready(backends.DOCKER)) as made:
        monkeypatch.setenv("DOCKER_HOST", own_engine.endpoint)
        yield made


@pytest.fixture
def remains(world: World, own_engine: Engine) -> Iterator[Remains]:
    with adopted_orphans():
        api = engine.connect({"DOCKER_HOST": own_engine.endpoint})
        yield Remains(world.name, world.home / ".local" / "state", world.scratch, engine=api)
        api.close()


@pytest.fixture
def server(world: World, remains: Remains) -> Iterator[Attacker]:
    words = world.command(server=("python3", "-c", CODE, world.name))
    with Attacker(words, world.environ) as made:
        assert made.message() == {"jsonrpc": "2.0", "method": "up"}, made.finish()
        assert {"processes", "containers", "leases"} <= remains.now().keys(), "the control: it is seen"
        yield made
        made.process.kill()


def ours(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", RUN, *words]
    return subprocess.run(argv, env=world.environ, cwd="/", capture_output=True, text=True, timeout=60)


def running_processes(remains: Remains) -> list[int]:
    return [pid for pid in remains.processes() if remains.mark in text(f"/proc/{pid}/cmdline")]


@pytest.mark.threat("T2", proves="a restart of the engine ends the session with a reason and leaves nothing")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_engine_ends(
    number: signal.Signals, own_engine: Engine, world: World, server: Attacker, remains: Remains
) -> None:
    call = server.ask("tools/list")
    own_engine.end(number)
    ended = time.monotonic()
    answer = server.message()
    assert answer["id"] == call
    assert "engine" in answer["error"]["message"]
    assert server.process.wait(REACTION_S + 2) == 124
    said = server.finish()[1]
    assert "error: engine-failed" in said
    assert "hint: mcp-sandbox ps --prune" in said
    deadline = ended + REACTION_S + 2
    while running_processes(remains) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running_processes(remains) == [], "the server is over, though no engine ended it"
    own_engine.start()
    remains.others |= own_engine.processes()
    done = ours(world, "ps", "--prune")
    assert done.returncode == 0, done
    assert remains.within(REACTION_S) == {}


@pytest.mark.threat(
    "T2", proves="an engine that hangs delays no start by more than its time, and keeps its lease"
)
def test_an_engine_that_hangs_while_somebody_else_starts(
    own_engine: Engine, world: World, server: Attacker, remains: Remains
) -> None:
    keeper = next(pid for pid in remains.processes() if text(f"/proc/{pid}/comm") == "mcp-keeper\n")
    os.kill(keeper, signal.SIGSTOP)
    server.process.kill()
    os.kill(keeper, signal.SIGKILL)
    server.process.wait()
    own_engine.send(signal.SIGSTOP)
    native = ("run", "--quiet", "--backend", "native", "--", "/bin/true")
    try:
        started = time.monotonic()
        assert ours(world, *native).returncode == 0
        took = time.monotonic() - started
        assert ours(world, "ps").stdout.splitlines()[1:], "the lease is kept"
    finally:
        own_engine.send(signal.SIGCONT)
    assert took < 2.0 + REACTION_S
    assert ours(world, *native).returncode == 0
    assert remains.within(REACTION_S) == {}
