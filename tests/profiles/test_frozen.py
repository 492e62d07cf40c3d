"""Every server that a profile is shipped for starts from its lock where there is no network at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox.errors import NOT_BUILT
from tests.conftest import Require
from tests.e2e.caller import PROGRAM
from tests.profiles.served import Served, filled
from tests.profiles.test_served import ROWS
from tests.talking import Client

LOCK_S = 600.0
START_S = 90.0
NO_NETWORK = ("unshare", "--net", "--")
"""Not even a loopback interface that is up."""
QUICK = "time"

DATABASE_FIRST = {"redis-reference": "[Redis Fatal]"}
"""They connect to their database before they answer, and end with these words where none can be reached."""

pytestmark = [pytest.mark.root, pytest.mark.long, pytest.mark.timeout(900)]


def frozen() -> list[Served]:
    """A row of each profile: that of its own command, where it has one."""
    rows = sorted((row for row in ROWS if not row.native), key=lambda row: (bool(row.command), row.variant))
    chosen: dict[str, Served] = {}
    for row in rows:
        chosen.setdefault(row.profile, row)
    return sorted(chosen.values(), key=lambda row: row.id)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The directory that the client starts the server in."""
    made = tmp_path / "here"
    made.mkdir()
    return made


def lock(row: Served, here: Path, words: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Locks the server of a row as its profile starts it."""
    named = [f"--profile={row.profile}", "--", *filled(row.command, words).split()]
    what = named if row.command else [row.profile]
    argv = [PROGRAM, "lock", "--yes", *what]
    done = subprocess.run(
        argv, cwd=here, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=LOCK_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def start(
    row: Served, here: Path, words: Mapping[str, str], environ: Mapping[str, str], *more: str
) -> tuple[float, str]:
    """Seconds until the server answered `initialize` without a network, and what was said beside it."""
    argv = [*NO_NETWORK, PROGRAM, "run", *more, *row.words(words)]
    began = time.monotonic()
    client = Client(argv, here, dict(environ), START_S)
    try:
        told = client.lead("legacy", [], read=False)
        took = time.monotonic() - began
        stderr = client.end()
    finally:
        client.kill()
    if row.profile in DATABASE_FIRST:
        assert DATABASE_FIRST[row.profile] in stderr, stderr
    else:
        assert told.opened is not None, stderr
    return took, stderr


def environment(row: Served, words: Mapping[str, str], state: Path) -> dict[str, str]:
    """A state of its own, and what the client's config gives."""
    given = {name: filled(value, words) for name, value in row.env.items()}
    return {**os.environ, "XDG_STATE_HOME": str(state), **given}


@pytest.mark.parametrize("row", frozen(), ids=lambda row: row.id)
def test_a_server_starts_from_its_lock_without_any_network(
    row: Served, here: Path, tmp_path: Path, require: Require
) -> None:
    require("native")
    with row.ground(here) as ground:
        words = {"here": str(here), **ground}
        environ = environment(row, words, tmp_path / "state")
        lock(row, here, words, environ)
        took, _ = start(row, here, words, environ, "--locked")
    sys.stdout.write(f"{row.id}: {took * 1000:.0f} ms\n")


def test_without_its_lock_nothing_starts_where_one_is_asked_for(here: Path, require: Require) -> None:
    require("native")
    done = refused(here, "--locked")
    assert done.returncode == NOT_BUILT
    assert "not-locked" in done.stderr


def test_and_without_its_package_nothing_starts_without_a_network(
    here: Path, require: Require, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the others are measured against: the network namespace holds back all that `npx` needs."""
    require("native")
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    assert refused(here).returncode == NOT_BUILT


def refused(here: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NO_NETWORK, PROGRAM, "run", *more, "--profile", QUICK], cwd=here, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=LOCK_S, check=False,
    )  # fmt: skip
