"""`store`: what it shows of a store, what it removes after a yes, and what it finds changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.inside import RUN
from tests.supply.toolchain import Builder, frozen, store_of, world
from tests.terminal import at_terminal

COMMAND = (sys.executable, "-c", RUN, "store")
ROOT = Path(__file__).resolve().parent.parent.parent
FREEZE = (
    "import os, sys; from pathlib import Path; from tests.supply.toolchain import Builder, frozen\n"
    "made = frozen('npx pkg', os.environ, Builder(Path(sys.argv[1])), refresh=True)\n"
    "print(made.digest)\n"
)


@pytest.fixture
def environ(own_home: Path, tmp_path: Path) -> dict[str, str]:
    made = world(tmp_path)
    return {**made, "PYTHONPATH": str(ROOT)}


def _built(environ: Mapping[str, str], tmp_path: Path) -> str:
    """A tree, built by a process that has ended."""
    argv = [sys.executable, "-c", FREEZE, str(tmp_path / "count")]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout.strip()


def _store(environ: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], env=environ, cwd="/", capture_output=True, text=True, timeout=30
    )


def _json(environ: Mapping[str, str], *words: str, status: int = 0) -> dict[str, Any]:
    done = _store(environ, *words, "--json")
    assert done.returncode == status, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def test_an_empty_store_is_said_to_be_empty(environ: dict[str, str]) -> None:
    assert "empty" in _store(environ, "list").stderr
    assert _json(environ, "list")["trees"] == []
    assert _json(environ, "verify")["trees"] == []
    assert _json(environ, "prune")["removed"] == []


def test_a_tree_is_listed_with_what_it_holds(environ: dict[str, str], tmp_path: Path) -> None:
    digest = _built(environ, tmp_path)
    (one,) = _json(environ, "list")["trees"]
    assert (one["digest"], one["packages"], one["running"]) == (digest, ["pkg@1.2.3"], False)
    assert "pkg@1.2.3" in _store(environ, "list").stdout


def test_a_changed_file_is_named_and_its_tree_removed_on_request(
    environ: dict[str, str], tmp_path: Path
) -> None:
    digest = _built(environ, tmp_path)
    assert _json(environ, "verify")["trees"][0]["whole"]
    path = store_of(environ) / "trees" / digest / "tree/node_modules/pkg/main.js"
    path.chmod(0o755)
    path.write_text("#!/usr/bin/env node\n// evil\n")
    path.chmod(0o555)
    done = _store(environ, "verify")
    assert done.returncode == 1
    assert f"`{path}` has another content" in done.stdout
    assert "store verify --remove" in done.stderr
    assert _json(environ, "verify", "--remove", status=1)["trees"][0]["removed"]
    assert _json(environ, "verify")["trees"] == []
    assert not frozen("npx pkg", environ, Builder(tmp_path / "again")).reused


def test_a_directory_that_cannot_be_read_any_more_is_named_and_removed(
    environ: dict[str, str], tmp_path: Path
) -> None:
    digest = _built(environ, tmp_path)
    path = store_of(environ) / "trees" / digest / "tree/node_modules/pkg"
    path.chmod(0)
    assert _json(environ, "list")["trees"][0]["digest"] == digest
    assert f"`{path}` has the mode 0000" in _store(environ, "verify").stdout
    assert _json(environ, "verify", "--remove", status=1)["trees"][0]["removed"]
    assert not path.exists()


def test_prune_asks_and_keeps_what_a_request_has(environ: dict[str, str], tmp_path: Path) -> None:
    _built(environ, tmp_path)
    assert _json(environ, "prune", "--yes")["removed"] == []
    assert _store(environ, "prune", "--older-than", "30d").stdout.startswith("removed 0 trees")
    (entry,) = (store_of(environ) / "keys").iterdir()
    entry.unlink()
    assert _store(environ, "prune").returncode == 2  # nobody to ask
    status, shown = at_terminal([*COMMAND, "prune"], environ, "no")
    assert (status, "nothing was removed" in shown) == (0, True)
    assert len(_json(environ, "list")["trees"]) == 1
    status, shown = at_terminal([*COMMAND, "prune"], environ, "yes")
    assert (status, "removed 1 trees" in shown) == (0, True)
    assert _json(environ, "list")["trees"] == []


def test_prune_by_age_forgets_the_request_too(environ: dict[str, str], tmp_path: Path) -> None:
    digest = _built(environ, tmp_path)
    used = store_of(environ) / "trees" / digest / "used"
    os.utime(used, (1, 1))
    assert [one["digest"] for one in _json(environ, "prune", "--older-than", "1d", "--yes")["removed"]] == [
        digest
    ]
    assert not list((store_of(environ) / "keys").iterdir())


def test_an_impossible_age_is_refused(environ: dict[str, str]) -> None:
    done = _store(environ, "prune", "--older-than", "soon")
    assert (done.returncode, "bad-option" in done.stderr) == (2, True)


def test_a_store_that_others_can_write_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    _built(environ, tmp_path)
    store_of(environ).chmod(0o777)
    assert _store(environ, "list").returncode == 125
