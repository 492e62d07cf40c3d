"""First starts at once, and builders that are killed: one build, and a store that stays whole."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.supply.tree import seal
from tests.supply.toolchain import Builder, frozen, store_of, world

PROGRAM = Path(__file__).with_name("toolchain.py")
ROOT = PROGRAM.parent.parent.parent
TOKEN = {"NPM_TOKEN": "t0ken"}


@contextmanager
def _starts(
    root: Path, number: int, seconds: float, status: int = 0
) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that have imported everything and wait for a line to freeze `pkg`."""
    environ = {**world(root), "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, str(PROGRAM), str(root), "npx pkg", str(seconds), str(status)]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(argv, env=environ, stdin=pipe, stdout=pipe, text=True) for _ in range(number)]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_eight_first_starts_at_once_share_one_build(tmp_path: Path) -> None:
    with _starts(tmp_path, 8, 0.5) as started:
        for process in started:
            _go(process)
        outcomes = [json.loads(process.communicate(timeout=60)[0]) for process in started]
    assert len((tmp_path / "count").read_text().splitlines()) == 1
    assert len({json.dumps(outcome[:3]) for outcome in outcomes}) == 1
    assert sorted(outcome[3] for outcome in outcomes) == [False] + [True] * 7


def test_first_starts_that_wait_for_a_failing_build_fail_with_it(tmp_path: Path) -> None:
    with _starts(tmp_path, 4, 1.0, status=1) as started:
        for process in started:
            _go(process)
        outcomes = [json.loads(process.communicate(timeout=60)[0]) for process in started]
    assert len((tmp_path / "count").read_text().splitlines()) == 1
    assert {outcome[0] for outcome in outcomes} == {"package-not-built"}
    # Whoever comes later tries for itself.
    assert not frozen("npx pkg", world(tmp_path), Builder(tmp_path / "later")).reused


def test_a_builder_killed_at_any_moment_harms_nobody(tmp_path: Path) -> None:
    chance = random.Random(20)  # noqa: S311 - moments, not secrets
    environ, builds = world(tmp_path), 0
    with _starts(tmp_path, 1, 0.05) as (process,):
        began = time.monotonic()
        _go(process)
        process.communicate(timeout=60)
    whole = time.monotonic() - began
    _forget(environ)
    for number in range(24):
        with _starts(tmp_path, 1, 0.05) as (process,):
            _go(process)
            # From before the build to after the entry is written.
            time.sleep(chance.uniform(0.0, 1.3 * whole))
            process.send_signal(signal.SIGKILL)
            process.wait()
        _valid(environ)
        builder = Builder(tmp_path / f"after-{number}")
        outcome = frozen("npx pkg", environ, builder)
        builds += builder.calls
        assert Path(outcome.tree, "node_modules/pkg/main.js").is_file()
        assert not list((store_of(environ) / "staging").iterdir())
        _forget(environ)
    assert 0 < builds < 24, "the moments must fall on both sides of the end of the build"


def _forget(environ: dict[str, str]) -> None:
    for entry in (store_of(environ) / "keys").iterdir():
        entry.unlink()


def _valid(environ: dict[str, str]) -> None:
    """Every tree is whole, by its manifest, and every entry leads to one."""
    store = store_of(environ)
    for place in (store / "trees").glob("*"):
        digest, manifest = seal(str(place / "tree"))
        assert (place / "manifest").read_bytes() == manifest
        assert digest == place.name == hashlib.sha256(manifest).hexdigest()
    for entry in (store / "keys").glob("*"):
        assert (store / "trees" / json.loads(entry.read_text())["digest"] / "tree").is_dir()


def test_the_remains_of_a_killed_builder_are_swept_by_any_next_start(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    frozen("npx pkg", environ, builder)
    remains = store_of(environ) / "staging" / ("0" * 40 + ".dead")
    (remains / "tree").mkdir(parents=True)
    assert frozen("npx pkg", environ, builder).reused
    assert not remains.exists()
