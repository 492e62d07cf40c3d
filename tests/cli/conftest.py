"""Worlds for the commands that look at running sandboxes: one for each kind of caller."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import backends
from tests.attacks.inside import World, furnished
from tests.conftest import Ready


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A world outlives its tests; only what has one is run for several callers."""
    if "world" in metafunc.fixturenames:
        backends.parametrise(metafunc, "module")


@pytest.fixture(scope="module")
def world(caller: str, backend: str, ready: Ready) -> Iterator[World]:
    """A caller with a home of its own, on a host that can build the sandbox."""
    with furnished(caller, backend, ready(backend)) as made:
        yield made
