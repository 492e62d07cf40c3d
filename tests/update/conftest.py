"""What tests of updates start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.supply import registry
from tests.update.poisoned import BIN, NAME, javascript


@pytest.fixture
def served(require: Callable[[str], None]) -> Iterator[registry.Npm]:
    """A registry with the mail server's honest version."""
    require("native")
    require("npm")
    with registry.npm() as made:
        made.publish(NAME, "1.0.0", javascript("1.0.0", poisoned=False), bin=BIN)
        yield made
