"""Secrets of the keyring, where a client passes none of the session's variables on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sandbox import secret_sources


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which bus a keyring was asked on; ours is not installed with the tests."""
    seen: list[str] = []
    module = ModuleType("keyring")

    def get_password(service: str, name: str) -> str:
        seen.append(os.environ.get("DBUS_SESSION_BUS_ADDRESS", ""))
        return f"{service}:{name}"

    module.get_password = get_password  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", module)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    return seen


@pytest.mark.parametrize(
    ("set_", "there", "expected"),
    [
        pytest.param("", True, "unix:path={}/bus", id="not passed on"),
        pytest.param("unix:path=/run/other", True, "unix:path=/run/other", id="passed on"),
        pytest.param("", False, "", id="no bus"),
    ],
)
def test_the_keyrings_bus(
    set_: str, there: bool, expected: str, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    if there:
        (tmp_path / "bus").touch()
    if set_:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", set_)
    assert secret_sources.read((("TOKEN", "keyring"),), {}) == (("TOKEN", "mcp-sandbox:TOKEN"),)
    assert asked == [expected.format(tmp_path)]
