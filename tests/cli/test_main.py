"""What the program makes of the surroundings that its client leaves it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.cli.main import settle_runtime_directory


def _made(below: Path) -> Path:
    place = below / str(os.geteuid())
    place.mkdir(mode=0o700)
    return place


def _open_to_others(below: Path) -> None:
    _made(below).chmod(0o755)


def _a_link(below: Path) -> None:
    (below / "elsewhere").mkdir(mode=0o700)
    (below / str(os.geteuid())).symlink_to("elsewhere")


def _somebody_elses(below: Path) -> None:
    if os.geteuid():
        pytest.skip("only root makes a directory somebody else's")
    os.chown(_made(below), 1, 1)


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that passes on what SDKs do: HOME, PATH and four more."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")


def test_the_sessions_runtime_directory_is_found(tmp_path: Path) -> None:
    place = _made(tmp_path)
    settle_runtime_directory(str(tmp_path))
    assert os.environ["XDG_RUNTIME_DIR"] == str(place)


@pytest.mark.parametrize("make", [_open_to_others, _a_link, _somebody_elses, lambda below: None])
def test_one_that_is_not_ours_alone_is_none(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path)
    settle_runtime_directory(str(tmp_path))
    assert os.environ["XDG_RUNTIME_DIR"] == ""


def test_the_clients_own_word_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _made(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/elsewhere")
    settle_runtime_directory(str(tmp_path))
    assert os.environ["XDG_RUNTIME_DIR"] == "/run/elsewhere"
