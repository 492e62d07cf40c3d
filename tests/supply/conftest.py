"""What several tests of builds start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.supply import registry
from tests.supply.sourced import caller, index_at


@pytest.fixture
def npm(require: Callable[[str], None]) -> Iterator[registry.Npm]:
    """An npm registry of this test's own, for builds in the native sandbox."""
    require("native")
    require("npm")
    with registry.npm() as served:
        yield served


@pytest.fixture
def environ(tmp_path: Path, require: Callable[[str], None]) -> dict[str, str]:
    """A caller of its own, for the index below."""
    require("native")
    return caller(tmp_path)


@pytest.fixture
def index(environ: dict[str, str], tmp_path: Path) -> Path:
    """A PyPI index of this test's own, with what builds there."""
    return index_at(tmp_path, environ)
