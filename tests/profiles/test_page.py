"""docs/servers.md says of every profile what it grants today."""

from __future__ import annotations

import json
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from tests.profiles.test_served import BASES, shipped

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/profiles as a module."""
    loader = SourceFileLoader("profiles_script", str(ROOT / "scripts" / "profiles"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def cells(page: str) -> dict[str, list[str]]:
    """The rows of the table by profile."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| [`")]
    return {row[0].partition("`")[2].partition("`")[0]: row for row in rows}


def test_every_server_s_profile_has_a_row_that_says_what_it_grants_now(script: ModuleType) -> None:
    found = cells((ROOT / "docs" / "servers.md").read_text())
    assert sorted(found) == sorted(set(shipped()) - set(BASES))
    # Between what may be connected to and what is seen stands what the server asked for in vain.
    said = {name: (row[3], *row[5:8]) for name, row in found.items()}
    assert said == {name: script.granted(name) for name in found}


def proof(place: Path, digest: str) -> Path:
    """What a run of `memory` leaves, of a profile with this digest."""
    shown = {
        "kind": "served",
        "profile": "memory",
        "backend": "native",
        "grants": digest,
        "resolved": ["@modelcontextprotocol/server-memory@2026.8.31"],
        "called": ["read_graph"],
        "answered": 1,
        "listed": 9,
    }
    path = place / "memory-native.json"
    path.write_text(json.dumps(shown))
    return path


def test_a_proof_stands_only_while_its_profile_is_the_one_that_was_run(
    script: ModuleType, tmp_path: Path
) -> None:
    now = script.grants("memory")
    proof(tmp_path, now)
    ((name, server, called, *_, native, docker),) = script.rows(script.proofs(tmp_path))
    assert name == "[`memory`](../profiles/memory.toml)"
    assert server == "`@modelcontextprotocol/server-memory` 2026.8.31"
    assert (called, native, docker) == ("`read_graph` of 9", "works", "-")
    proof(tmp_path, "0" * 64)
    assert script.rows(script.proofs(tmp_path)) == []


def test_only_the_table_of_the_page_is_written(script: ModuleType) -> None:
    page = "before\n<!-- run -->\n\nold\n\n<!-- /run -->\nafter\n"
    assert script.written(page, "new") == "before\n<!-- run -->\n\nnew\n\n<!-- /run -->\nafter\n"
