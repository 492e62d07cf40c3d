"""What several tests of builds start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.supply import registry


@pytest.fixture
def npm(require: Callable[[str], None]) -> Iterator[registry.Npm]:
    """An npm registry of this test's own, for builds in the native sandbox."""
    require("native")
    require("npm")
    with registry.npm() as served:
        yield served
