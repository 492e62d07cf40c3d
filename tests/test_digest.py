"""Two implementations, one function."""

from __future__ import annotations

import hashlib

import pytest

from sandbox.digest import sha256


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 1000])
def test_it_is_sha256(size: int) -> None:
    data = bytes(range(256)) * 4
    assert sha256(data[:size]).hexdigest() == hashlib.sha256(data[:size]).hexdigest()
    assert sha256(data[:size]).digest() == hashlib.sha256(data[:size]).digest()
