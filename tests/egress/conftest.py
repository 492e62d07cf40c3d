"""The internet of these tests, made once, and a caller's world to start sandboxes from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests import backends
from tests.attacks.inside import World, furnished
from tests.conftest import CI, Ready
from tests.egress.internet import PROGRAMS, SBIN, Internet


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A world of a container engine's where a module is marked for it."""
    backends.parametrise(metafunc, "function")


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


@pytest.fixture(scope="session")
def worlds() -> Iterator[Callable[[str, str, str], World]]:
    """Each world that a test asks for, made once."""
    with ExitStack() as stack:
        yield cache(lambda *asked: stack.enter_context(furnished(*asked)))


@pytest.fixture
def world(caller: str, backend: str, worlds: Callable[[str, str, str], World], ready: Ready) -> World:
    """A caller with canaries, whose commands go behind `internet.prefix()`."""
    return worlds(caller, backend, ready(backend))
