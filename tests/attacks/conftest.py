"""The worlds that attacks are made in: one for each kind of caller, furnished once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.attacks.inside import CALLERS, Sides, World
from tests.conftest import ROOT, Require


@pytest.fixture(scope="session", params=CALLERS)
def settled(request: pytest.FixtureRequest) -> Iterator[World]:
    """A world of the caller's; `world` is how tests ask for it."""
    made = World(request.param)
    try:
        probe = [*made.prefix(), sys.executable, "-c", "import sandbox.cli.main"]
        done = subprocess.run(probe, cwd="/", env={"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=30)
        if done.returncode != 0 and made.prefix():
            pytest.skip("this clone is root's alone: proved by the run as an ordinary user")
        yield made
    finally:
        made.remove()


@pytest.fixture
def world(settled: World, require: Require) -> World:
    """A caller with canaries, on a host that can build the sandbox."""
    require("native")
    return settled


@pytest.fixture(scope="session")
def standing(settled: World) -> Iterator[list[Sides]]:
    """The attack program on both sides of this world, at most one pair at a time."""
    made: list[Sides] = []
    try:
        yield made
    finally:
        for one in made:
            one.close()


@pytest.fixture
def sides(world: World, standing: list[Sides]) -> Sides:
    """The attack program, outside and inside; started once, and again after a test that ended it."""
    if not standing or not standing[0].alive():
        for one in standing:
            one.close()
        standing[:] = [Sides(world)]
    return standing[0]
