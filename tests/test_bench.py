"""`scripts/bench` measures what it says: ratios come from the samples of the same run."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Require

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "scripts" / "bench"


def bench(*words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, BENCH, *map(str, words)], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def run(require: Require, tmp_path: Path) -> tuple[dict[str, Any], str]:
    require("native")
    program = Path(sys.executable).parent / "mcp-sandbox"
    shown = bench("--quick", "--server", "echo-python", "--program", program, "--json", tmp_path / "run.json")
    return json.loads((tmp_path / "run.json").read_text()), shown


def test_a_quick_run_holds_every_sample_and_computes_its_marks_from_them(
    run: tuple[dict[str, Any], str],
) -> None:
    found, shown = run
    assert found["schema"] == 1
    assert list(found["servers"]) == ["echo-python"]
    samples = found["servers"]["echo-python"]["samples_ms"]
    for kind in ("start", "call", "large"):
        assert {"bare", "wrapped", "byte-copy"} <= set(samples[kind])
        # Interleaved rounds: every variant has as many samples as every other.
        assert len({len(one) for one in samples[kind].values()}) == 1
        assert all(value > 0 for one in samples[kind].values() for value in one)
    assert len(samples["call"]["bare"]) == 100
    marks = {one["mark"]: one for one in found["marks"]}

    def added(kind: str, variant: str) -> float:
        return statistics.median(samples[kind][variant]) - statistics.median(samples[kind]["bare"])

    start = marks["start over bare, ms"]
    assert start["measured"] == pytest.approx(added("start", "wrapped"), abs=0.01)
    assert start["met"] is (start["measured"] <= start["goal"])
    call = marks["call added, times the byte copy's"]
    if call["measured"] is not None:
        least = added("call", "byte-copy")
        assert call["measured"] == pytest.approx(added("call", "wrapped") / least, rel=0.05)
    memory = found["servers"]["echo-python"]["memory"]["wrapped"]
    assert set(memory["parts"]) == {"wrapper", "keeper", "init"}
    assert memory["kib"] == sum(part["kib"] for part in memory["parts"].values()) > 1000
    assert "own memory, MiB" in shown


def test_a_run_is_shown_again_from_its_file(tmp_path: Path) -> None:
    variants = {"bare": [1.0, 2.0, 3.0], "wrapped": [40.0, 92.0, 95.0], "byte-copy": [2.0, 3.0, 4.0]}
    part = {"kib": 40 * 1024, "read_as": "rss"}
    server = {
        "samples_ms": {"start": variants, "call": variants},
        "memory": {"wrapped": {"kib": 40 * 1024, "parts": {"wrapper": part}}},
    }
    machine = {"cpus": 2, "model": "any", "kernel": "6.1", "python": "3.11", "load": 0.0}
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from benchmark import numbers, page
    finally:
        sys.path.pop(0)
    marks = numbers.marks("echo", server)
    measured = {one["mark"]: (one["measured"], one["met"]) for one in marks}
    assert measured == {
        "start over bare, ms": (90.0, False),
        "call added, times the byte copy's": (90.0, False),
        "own memory, MiB": (40.0, False),
    }
    run = {
        "date": "2026-01-01", "caller": "root", "quick": True, "machine": machine,
        "servers": {"echo": server}, "marks": marks,
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert "**not met**" in bench("--from", tmp_path / "run.json")
    before = f"head\n\n{page.MARK}\n\nold"
    after = page.written(before, run)
    assert after.startswith("head\n")
    assert "old" not in after
    assert "| echo | start over bare, ms | at most 80 | 90.00 | **not met** |" in after
    assert page.written(after, run) == after
