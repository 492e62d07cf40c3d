"""A sealed tree: read-only, named by its content, never followed out of itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.errors import SandboxNotBuilt
from sandbox.supply.store import remove
from sandbox.supply.tree import DEEPEST, names, seal, within


def _tree(root: Path) -> Path:
    (root / "lib").mkdir(parents=True)
    (root / "lib/a.js").write_text("a")
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o4770)
    (root / "link").symlink_to("lib/a.js")
    return root


def test_equal_trees_have_one_digest_and_it_covers_every_kind(tmp_path: Path) -> None:
    first, second = seal(str(_tree(tmp_path / "1"))), seal(str(_tree(tmp_path / "2")))
    assert first == second
    kinds = {record.split(b" ")[0] for record in first[1].split(b"\0") if record}
    assert kinds == {b"d", b"f", b"x", b"l"}


def _content(root: Path) -> None:
    (root / "lib/a.js").write_text("b")


def _name(root: Path) -> None:
    (root / "lib/a.js").rename(root / "lib/b.js")


def _target(root: Path) -> None:
    (root / "link").unlink()
    (root / "link").symlink_to("run")


def _mode(root: Path) -> None:
    (root / "lib/a.js").chmod(0o755)


def _directory(root: Path) -> None:
    (root / "empty").mkdir()


@pytest.mark.parametrize("change", [_content, _name, _target, _mode, _directory])
def test_any_change_is_another_digest(tmp_path: Path, change: Callable[[Path], None]) -> None:
    before = seal(str(_tree(tmp_path / "1")))[0]
    other = _tree(tmp_path / "2")
    change(other)
    assert seal(str(other))[0] != before


def test_modes_lose_write_setuid_and_others_secrets(tmp_path: Path) -> None:
    root = _tree(tmp_path / "1")
    (root / "lib/a.js").chmod(0o200)
    (root / "lib").chmod(0o700)
    seal(str(root))
    assert oct((root / "run").stat().st_mode & 0o7777) == "0o555"
    assert oct((root / "lib/a.js").stat().st_mode & 0o7777) == "0o444"
    assert oct((root / "lib").stat().st_mode & 0o7777) == "0o755"


def test_what_a_link_points_at_is_not_touched(tmp_path: Path) -> None:
    root, outside = _tree(tmp_path / "1"), tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "secret").write_text("s")
    (outside / "secret").chmod(0o600)
    (root / "out").symlink_to(outside)
    (root / "lib/out").symlink_to(outside / "secret")
    _, manifest = seal(str(root))
    assert b"secret out" not in manifest
    assert oct((outside / "secret").stat().st_mode & 0o777) == "0o600"
    assert oct(outside.stat().st_mode & 0o777) == "0o700"
    assert names(str(root), "out") == []
    assert within(str(root), str(root / "lib/out")) is None
    assert within(str(root), str(root / "link")) == "lib/a.js"


def test_a_pipe_in_a_tree_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(_tree(tmp_path / "1") / "lib/pipe")
    with pytest.raises(SandboxNotBuilt, match="lib/pipe"):
        seal(str(tmp_path / "1"))


def _deep(root: Path, levels: int) -> str:
    root.mkdir()
    at = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    return str(root)


@pytest.mark.threat("K4", proves="a package's depth breaks no other package's start")
def test_a_tree_too_deep_to_walk_is_refused_and_can_be_removed(tmp_path: Path) -> None:
    """Remains that cannot be removed would fail every later start of every package."""
    seal(_deep(tmp_path / "control", DEEPEST))
    root = _deep(tmp_path / "deep", 3000)
    with pytest.raises(SandboxNotBuilt, match="levels deep"):
        seal(root)
    remove(root)
    assert not os.path.lexists(root)
