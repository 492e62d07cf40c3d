"""Starts, builds and pruning at once, and killed at any moment: a store that verifies and serves."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sandbox.supply.prune import prune, trees, unused
from sandbox.supply.store import Store
from sandbox.supply.verify import verify
from tests.attacks.inside import RUN
from tests.supply import registry
from tests.supply.toolchain import Builder, frozen, store_of, world

PROGRAM = Path(__file__).with_name("toolchain.py")
ROOT = PROGRAM.parent.parent.parent
SERVER = """#!/usr/bin/env node
const lines = require('readline').createInterface({input: process.stdin});
lines.on('line', (line) => {
  const {id, method, params} = JSON.parse(line);
  if (method !== 'initialize') return;
  const result = {protocolVersion: params.protocolVersion, capabilities: {},
                  serverInfo: {name: 'ours', version: '1.0.0'}};
  process.stdout.write(JSON.stringify({jsonrpc: '2.0', id, result}) + '\\n');
});
"""
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "0"},
    },
}
AT_ONCE = 20


@contextmanager
def _start(root: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has imported everything and begins to freeze `pkg` now."""
    environ = {**world(root), "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, str(PROGRAM), str(root), "npx pkg", "0.05", "0"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, env=environ, stdin=pipe, stdout=pipe, text=True)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("\n")
        process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.communicate()


def _whole(store: Store) -> None:
    """Every tree verifies byte by byte, and every blob has the mode of its name."""
    for one in trees(store, {}):
        verify(store, one.digest, deep=True)
    for blob in Path(store.root, "blobs").glob("*/*"):
        with suppress(FileNotFoundError):
            assert blob.stat().st_mode & 0o777 == (0o555 if blob.suffix == ".x" else 0o444)


def _killed(tmp_path: Path, moments: int) -> None:
    """Builders killed at so many moments while others prune: each time the store is whole and serves."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - shown where it fails
    chance = random.Random(seed)  # noqa: S311 - moments
    environ = world(tmp_path)
    with _start(tmp_path) as process:
        began = time.monotonic()
        process.communicate(timeout=60)
        whole = time.monotonic() - began
    store, built = Store(str(store_of(environ))), 0
    with _pruning(store) as pause:
        for number in range(moments):
            with _start(tmp_path) as process:
                time.sleep(chance.uniform(0.0, 1.3 * whole))
                process.send_signal(signal.SIGKILL)
                process.wait()
            with pause:
                _whole(store)
            builder = Builder(tmp_path / f"after-{number}", package=_package(number))
            outcome = frozen("npx pkg", environ, builder, refresh=bool(chance.randrange(2)))
            built += builder.calls
            assert Path(outcome.tree, "node_modules/pkg/main.js").is_file()
            verify(store, outcome.digest)
            if chance.randrange(2):
                for entry in Path(store.root, "keys").iterdir():
                    entry.unlink()
    assert built


def _package(number: int) -> dict[str, object]:
    return {"name": "pkg", "version": f"1.2.{number}", "bin": {"pkg": "main.js", "other": "other.js"}}


@contextmanager
def _pruning(store: Store) -> Iterator[threading.Lock]:
    """Somebody removes what nobody uses, all the time that the lock is free."""
    ended, pause = threading.Event(), threading.Lock()

    def loop() -> None:
        while not ended.wait(0.01):
            with pause:
                prune(store, unused(trees(store, {}), now=time.time(), older=0))

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield pause
    finally:
        ended.set()
        thread.join()


def test_a_builder_killed_while_others_prune_harms_nobody(tmp_path: Path) -> None:
    _killed(tmp_path, 6)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_fifty_builders_killed_while_others_prune_harm_nobody(tmp_path: Path) -> None:
    _killed(tmp_path, 50)


# --- the real thing: our own registry, the real npm, the real sandbox -----------------------------------


@pytest.fixture
def environ(tmp_path: Path, require: Callable[[str], None]) -> Iterator[dict[str, str]]:
    """A caller with a cache of its own, whose npm asks a registry that has one server."""
    require("native")
    require("npm")
    with registry.npm() as served:
        served.publish("ours", "1.0.0", {"server.js": SERVER}, bin="server.js")
        yield {
            **os.environ,
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "npm_config_registry": served.url,
            "no_proxy": "127.0.0.1",
        }


def _run(environ: Mapping[str, str]) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", RUN, "run", "--", "npx", "-y", "ours"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, env=environ, cwd="/", stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(INITIALIZE) + "\n")
    process.stdin.flush()
    return process


def _answered(process: subprocess.Popen[str]) -> None:
    """The server has answered `initialize`, and ends with its client."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    assert json.loads(line)["result"]["serverInfo"]["name"] == "ours"


@pytest.mark.long
@pytest.mark.timeout(300)
def test_twenty_first_starts_at_once_are_one_build_and_twenty_servers(environ: dict[str, str]) -> None:
    started = [_run(environ) for _ in range(AT_ONCE)]
    try:
        for process in started:
            _answered(process)
        store = Store(str(store_of(environ)))
        assert prune(store, trees(store, {})) == []  # all run from it
        said = [process.communicate(timeout=60)[1] for process in started]
        assert sum("building ours" in text for text in said) == 1
    finally:
        for process in started:
            process.kill()
            process.communicate()
    (one,) = trees(store, {})
    assert one.packages == ("ours@1.0.0",)
    assert prune(store, [one]) == [one]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_fifty_real_starts_killed_at_random_moments_leave_a_store_that_serves(
    environ: dict[str, str],
) -> None:
    began = time.monotonic()
    process = _run(environ)
    _answered(process)
    process.communicate(timeout=60)
    whole = time.monotonic() - began
    store = Store(str(store_of(environ)))
    chance = random.Random(50)  # noqa: S311 - moments
    for _ in range(50):
        _forgotten(store, trees_too=bool(chance.randrange(2)))
        victim = _run(environ)
        time.sleep(chance.uniform(0.0, whole))
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        _whole(store)
        process = _run(environ)
        _answered(process)
        process.communicate(timeout=60)
        _whole(store)
    assert not [name for name in os.listdir(os.path.join(store.root, "staging")) if "." in name]


def _forgotten(store: Store, *, trees_too: bool) -> None:
    for entry in Path(store.root, "keys").iterdir():
        entry.unlink()
    if trees_too:
        shutil.rmtree(os.path.join(store.root, "trees"))
        os.mkdir(os.path.join(store.root, "trees"), 0o700)
