"""The worlds that attacks are made in: one for each kind of caller and each backend, furnished once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import backends
from tests.attacks.inside import Sides, World, furnished
from tests.conftest import Ready


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Worlds and the programs in them outlive their tests."""
    backends.parametrise(metafunc, "session")


@pytest.fixture(scope="session")
def world(caller: str, backend: str, ready: Ready) -> Iterator[World]:
    """A caller with canaries, on a host that can build the sandbox."""
    with furnished(caller, backend, ready(backend)) as made:
        yield made


@pytest.fixture(scope="session")
def standing(world: World) -> Iterator[list[Sides]]:
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
