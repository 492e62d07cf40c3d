"""The world every relay test lives in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.relay.world import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()
