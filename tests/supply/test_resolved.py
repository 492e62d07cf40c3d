"""What a build remembers beside its tree, and what it leaves out of the tree."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.supply import npm, pypi
from sandbox.supply.lock import Package
from sandbox.supply.resolved import FILE, Resolution, Said, Signature, resolution, write_beside
from sandbox.supply.tree import content, drop

PACKAGES = (
    Package(
        "a", "1.0.0", ("sha512-x",), place="node_modules/a", rest=(("bin", {"a": "a.js"}), ("os", ["linux"]))
    ),
    Package("b", "2.0.0", ("sha512-y",), published="2026-01-02T00:00:00Z", provenance=("p",), scripts=True),
)
FULL = Resolution(
    PACKAGES,
    said=(Said("a", "1.0.0", "old", "yes", (Signature("k", "s"),), "https://r.test/a"),),
    ran=("b",),
    unrun=("c",),
    reached=("evil.test:443",),
    unchecked=("a thing",),
    dated=True,
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty tree with a place beside it."""
    (tmp_path / "staging/tree").mkdir(parents=True)
    return tmp_path / "staging/tree"


def test_what_was_resolved_is_read_as_it_was_written(tree: Path) -> None:
    write_beside(str(tree), FULL, str(tree.parent.parent / "gone/tree"))
    assert resolution(str(tree)) == FULL
    assert os.stat(tree.parent / FILE).st_mode & 0o777 == 0o600
    assert os.listdir(tree) == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema": 0}', '{"schema": 1}', '{"schema": 1, "packages": [1], "said": []}'],
)
def test_what_is_older_or_damaged_is_not_known(tree: Path, text: str) -> None:
    (tree.parent / FILE).write_text(text)
    assert resolution(str(tree)) is None


def test_a_field_that_nobody_knows_makes_it_unknown(tree: Path) -> None:
    write_beside(str(tree), FULL, "/gone/tree")
    raw = json.loads((tree.parent / FILE).read_text())
    raw["packages"][0]["more"] = 1
    (tree.parent / FILE).write_text(json.dumps(raw))
    assert resolution(str(tree)) is None


def test_what_is_known_already_is_not_forgotten(tmp_path: Path, tree: Path) -> None:
    kept = tmp_path / "kept/tree"
    kept.mkdir(parents=True)
    write_beside(str(kept), FULL, "/gone/tree")
    write_beside(str(tree), Resolution(PACKAGES), str(kept))
    assert not (tree.parent / FILE).exists(), "the same packages, without the dates"
    write_beside(str(tree), Resolution(PACKAGES[:1]), str(kept))
    assert resolution(str(tree)) == Resolution(PACKAGES[:1])


@pytest.mark.parametrize(
    ("newest", "exempt", "dated", "old"),
    [
        pytest.param(1767312000.0, (), True, True, id="just old enough"),
        pytest.param(1767311999.0, (), True, False, id="a second too young"),
        pytest.param(0.0, ("b",), True, True, id="too young and exempt"),
        pytest.param(0.0, ("a",), True, False, id="too young, and another is exempt"),
        pytest.param(1767312000.0, (), False, False, id="nobody asked"),
    ],
)
def test_an_age_is_held_where_the_dates_are_known(
    newest: float, exempt: tuple[str, ...], dated: bool, old: bool
) -> None:
    assert Resolution(PACKAGES, dated=dated).aged(newest, exempt) is old


def test_what_is_said_is_found_by_its_version() -> None:
    assert FULL.of("a", "1.0.0").deprecated == "old"
    assert not FULL.of("a", "1.0.1").says


def _info(tree: Path, name: str) -> Path:
    info = tree / f"lib/python3.11/site-packages/{name}-1.0.dist-info"
    info.mkdir(parents=True)
    return info


def test_a_venv_keeps_no_word_of_its_installer(tree: Path) -> None:
    info = _info(tree, "a")
    for name in ("METADATA", "REQUESTED", "uv_cache.json", "direct_url.json"):
        (info / name).write_text("{}")
    kept = f'a.py,sha256=x,1\n"a,b.py",,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n'
    notes = f"{info.name}/REQUESTED,sha256=x,0\n{info.name}/uv_cache.json,sha256=x,2\n"
    (info / "RECORD").write_text(kept + notes)
    (tree / "pyvenv.cfg").write_text(
        "home = /usr/bin\nuv = 0.13.9\nversion_info = 3.11.7\nrelocatable = true\n"
    )
    pypi.finish(str(tree))
    assert sorted(os.listdir(info)) == ["METADATA", "RECORD"]
    assert (info / "RECORD").read_text() == kept
    assert (tree / "pyvenv.cfg").read_text() == "home = /usr/bin\nrelocatable = true\n"


def test_what_lies_outside_is_not_rewritten(tmp_path: Path, tree: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("RECORD", "REQUESTED", "pyvenv.cfg"):
        (outside / name).write_text("uv = mine\n")
    site = tree / "lib/python3.11/site-packages"
    site.mkdir(parents=True)
    (site / "a-1.0.dist-info").symlink_to(outside)
    (tree / "pyvenv.cfg").symlink_to(outside / "pyvenv.cfg")
    pypi.finish(str(tree))
    assert [(outside / name).read_text() for name in sorted(os.listdir(outside))] == ["uv = mine\n"] * 3


def test_an_npm_tree_keeps_no_word_of_its_registry(tree: Path) -> None:
    (tree / "node_modules").mkdir()
    for name in ("package-lock.json", "node_modules/.package-lock.json", "package.json"):
        (tree / name).write_text('{"resolved": "https://r.test/a"}')
    npm.finish(str(tree))
    assert [*os.walk(tree)][1:] == [(str(tree / "node_modules"), [], [])]
    assert json.loads((tree / "package.json").read_text()) == {"private": True}


def test_an_npm_tree_whose_package_json_leads_out_gets_one_of_its_own(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/.package-lock.json").write_text("mine")
    (tmp_path / "package.json").write_text("mine")
    (tree / "node_modules").symlink_to(tmp_path / "mine")
    (tree / "package.json").symlink_to(tmp_path / "package.json")
    npm.finish(str(tree))
    assert (tmp_path / "package.json").read_text() == "mine"
    assert (tmp_path / "mine/.package-lock.json").read_text() == "mine"
    assert not (tree / "package.json").is_symlink()


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "large", "gone"])
def test_only_a_plain_file_of_its_size_is_read(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "x"
    (tmp_path / "real").write_text("12345")
    make: dict[str, Callable[[], object]] = {
        "fifo": lambda: os.mkfifo(place),
        "link": lambda: place.symlink_to(tmp_path / "real"),
        "folder": place.mkdir,
        "large": lambda: place.write_text("123456"),
        "gone": lambda: None,
    }
    make[kind]()
    assert content(str(place), 5) is None
    assert content(str(tmp_path / "real"), 5) == b"12345"


def test_a_link_is_dropped_and_not_what_it_leads_to(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tree / "x").symlink_to(tmp_path / "mine")
    (tree / "out").symlink_to(tmp_path)
    for name in ("x", "out/mine", "gone"):
        drop(str(tree), name)
    assert not (tree / "x").is_symlink()
    assert (tmp_path / "mine").exists()
