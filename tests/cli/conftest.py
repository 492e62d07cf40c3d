"""Worlds for the commands that look at running sandboxes: one for each kind of caller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import backends
from tests.attacks.inside import World, furnished
from tests.cli.cursor import CURSOR
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


@pytest.fixture
def home(own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with Cursor's servers; the working directory is no project."""
    monkeypatch.chdir(tmp_path)
    config = own_home / ".cursor" / "mcp.json"
    config.parent.mkdir()
    config.write_text(json.dumps(CURSOR, indent=2))
    return own_home
