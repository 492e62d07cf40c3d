"""The internet of these tests, made once, and a caller's world to start sandboxes from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.inside import CALLERS, World
from tests.conftest import CI, ROOT, Require
from tests.egress.internet import PROGRAMS, SBIN, Internet


@pytest.fixture(scope="session")
def internet() -> Iterator[Internet]:
    """The test host and the internet behind it; root makes them, for itself and for an ordinary user."""
    if os.geteuid() != 0:
        pytest.skip("proved by the run as root")
    missing = _missing()
    if missing and CI:
        pytest.fail(f"CI must provide {missing}", pytrace=False)
    if missing:
        pytest.skip(f"needs {missing}")
    with Internet() as made:
        yield made


def _missing() -> str:
    path = f"{os.environ.get('PATH', '')}:{SBIN}"
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    postgres = [] if any(Path("/usr/lib/postgresql").glob("*/bin/postgres")) else ["postgres"]
    return ", ".join(f"`{name}`" for name in [*missing, *postgres])


@pytest.fixture(autouse=True)
def _fresh(request: pytest.FixtureRequest) -> None:
    """A test is told of nothing that was before it."""
    if "internet" in request.fixturenames:
        request.getfixturevalue("internet").begin()


@pytest.fixture(params=CALLERS)
def caller(request: pytest.FixtureRequest) -> str:
    """Each caller that every promise is proved for."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def worlds() -> Iterator[dict[str, World]]:
    """What `world` made so far."""
    made: dict[str, World] = {}
    yield made
    for one in made.values():
        one.remove()


@pytest.fixture
def world(caller: str, worlds: dict[str, World], require: Require) -> World:
    """A caller with canaries, whose commands go behind `internet.prefix()`."""
    require("native")
    one = worlds.get(caller) or worlds.setdefault(caller, World(caller))
    probe = [*one.prefix(), sys.executable, "-c", "import sandbox.cli.main"]
    done = subprocess.run(probe, cwd="/", env={"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=30)
    if done.returncode != 0 and one.prefix():
        pytest.skip("this clone is root's alone: an ordinary user cannot read it")
    return one
