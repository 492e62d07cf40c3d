"""Sockets are found where they are near, and a tree too large to search is said to be."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sandbox.host.sockets import MOST, sockets


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a socket two levels down, a pipe, a file and a link to a directory."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")  # relative: a socket's path is at most 108 bytes long
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    return tmp_path


def test_a_socket_is_found_and_links_are_not_followed(tree: Path) -> None:
    assert sockets([str(tree), str(tree)]) == ((f"{tree}/a/b/sock",), ())


def test_a_tree_that_is_too_large_is_named(tree: Path) -> None:
    """Nearest first: what lies deep costs nothing what lies near."""
    (tree / "a" / "many").mkdir()
    for n in range(MOST):
        (tree / "a" / "many" / str(n)).touch()
    found, unsearched = sockets([str(tree)])
    assert unsearched == (str(tree),)
    assert found == (f"{tree}/a/b/sock",)


def test_what_cannot_be_listed_is_left_out(tmp_path: Path) -> None:
    assert sockets([str(tmp_path / "missing")]) == ((), ())
