"""A home for the closure's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.host.layouts import write


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with things in it that no closure may show."""
    place = tmp_path / "home"
    for secret in (".ssh/id_ed25519", ".aws/credentials", "letters/private.txt"):
        write(place / secret, "secret\n")
    return place
