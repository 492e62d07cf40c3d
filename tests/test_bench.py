"""`scripts/bench` measures what it says: ratios come from the samples of the same run."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ready, Require

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "scripts" / "bench"


def bench(*words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, BENCH, *map(str, words)], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def container_numbers() -> Any:
    """The marks of the Docker backend, which are no package of ours either."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from benchmark import container_numbers as found
    finally:
        sys.path.pop(0)
    return found


def modules() -> tuple[Any, Any, Any]:
    """`numbers`, `egress_numbers` and `page`, which are no package of ours."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from benchmark import egress_numbers, numbers, page
    finally:
        sys.path.pop(0)
    return numbers, egress_numbers, page


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
    for kind in ("start", "call", "medium", "large"):
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
    assert set(memory["parts"]) == {"wrapper", "keeper", "init", "gateway"}
    assert memory["kib"] == sum(part["kib"] for part in memory["parts"].values()) > 1000
    assert "own memory, MiB" in shown


def test_a_run_is_shown_again_from_its_file(tmp_path: Path) -> None:
    variants = {"bare": [1.0, 2.0, 3.0], "wrapped": [40.0, 92.0, 95.0], "byte-copy": [2.0, 3.0, 4.0]}
    part = {"kib": 40 * 1024, "read_as": "pss"}
    server = {
        "samples_ms": {"start": variants, "call": variants},
        "memory": {"wrapped": {"kib": 40 * 1024, "parts": {"wrapper": part}}},
    }
    machine = {"cpus": 2, "model": "any", "kernel": "6.1", "python": "3.11", "load": 0.0}
    numbers, _, page = modules()
    marks = numbers.marks("echo", server)
    measured = {one["mark"]: (one["measured"], one["met"]) for one in marks}
    assert measured == {
        "start over bare, ms": (90.0, False),
        "call added, times the byte copy's": (90.0, False),
        "own memory, MiB": (40.0, False),
    }
    part["read_as"] = "rss"  # too much, of which some may be others' pages
    assert numbers.marks("echo", server)[-1]["met"] is None
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


def test_a_quick_run_of_the_way_out_holds_every_row(require: Require, tmp_path: Path) -> None:
    require("native")
    program = Path(sys.executable).parent / "mcp-sandbox"
    options = ("--program", program, "--program-before", program)
    shown = bench("--egress", "--quick", *options, "--json", tmp_path / "run.json")
    found = json.loads((tmp_path / "run.json").read_text())
    assert found["kind"] == "egress"
    tls = [] if found["skipped"] else ["connect-tls", "download-tls", "upload-tls"]
    assert bool(tls) is (shutil.which("openssl") is not None)
    assert set(found["way"]) == {"connect", "download", "upload", "lookup", *tls}
    for kind, ways in found["way"].items():
        assert set(ways) == ({"sandboxed"} if kind == "lookup" else {"direct", "relayed", "sandboxed"})
        # Interleaved rounds: both ways have as many samples.
        assert len({len(one) for one in ways.values()}) == 1
        assert all(value > 0 for one in ways.values() for value in one)
    assert {name: len(one) for name, one in found["start_ms"].items()} == {
        "nothing allowed": 3, "a host": 3, "before": 3,
    }  # fmt: skip
    assert set(found["parts_ms"]) == {"load", "set", "take", "fork"}
    assert list(found["memory"]) == [
        "nothing allowed", "a host, not used yet", "a host, used", "500 connections",
    ]  # fmt: skip
    for held in found["memory"].values():
        assert set(held["parts"]) == {"wrapper", "keeper", "init", "gateway"}
    unused, _, used, many = (held["parts"]["gateway"]["kib"] for held in found["memory"].values())
    # Nothing is loaded before it is used, and connections cost something.
    assert unused < used < many
    _, egress_numbers, _ = modules()
    assert found["marks"] == egress_numbers.marks(found)
    assert all(one["met"] is not None for one in found["marks"] if "memory" not in one["mark"])
    assert all(title in shown for title in ("new connection, times direct", "a start with a host allowed"))


def test_a_run_of_the_way_out_is_judged_and_written_beside_the_other() -> None:
    _, egress_numbers, page = modules()
    part = {"kib": 9 * 1024, "read_as": "pss"}
    run: dict[str, Any] = {
        "kind": "egress", "date": "2026-01-01", "caller": "root", "quick": True,
        "machine": {"cpus": 2, "model": "any", "kernel": "6.1", "python": "3.11", "load": 0.0},
        "way": {
            "connect": {"direct": [100.0, 110.0, 90.0], "relayed": [150.0], "sandboxed": [200.0, 900.0, 240]},
            "download": {"direct": [1000.0], "relayed": [900.0], "sandboxed": [790.0]},
            "upload": {"direct": [1000.0], "relayed": [900.0], "sandboxed": [800.0]},
            "lookup": {"sandboxed": [130.0]},
        },
        "start_ms": {"nothing allowed": [95.0], "a host": [101.0], "before": [90.0]},
        "parts_ms": {"load": [1.5], "set": [1.0], "take": [0.25], "fork": [0.5]},
        "memory": {"nothing allowed": {"kib": 36 * 1024, "parts": {"gateway": part}}},
        "skipped": ["TLS: no reason"],
    }  # fmt: skip
    run["marks"] = egress_numbers.marks(run)
    assert {one["mark"]: (one["measured"], one["met"]) for one in run["marks"]} == {
        "new connection, times direct": (2.4, True),
        "download, times direct": (0.79, False),
        "upload, times direct": (0.8, True),
        "parts of the trap in a start, ms": (3.25, True),
        "start with nothing allowed, over a program without the trap, ms": (5.0, True),
        "start with a host, over a program without the trap, ms": (11.0, False),
        "own memory with nothing allowed, MiB": (36.0, False),
    }
    before = f"head\n\n{page.EGRESS_MARK}\n\nold\n\n## Next\n\n{page.MARK}\n\nkept\n"
    after = page.written(before, run)
    assert after.startswith("head\n")
    assert "old" not in after
    assert after.endswith(f"\n## Next\n\n{page.MARK}\n\nkept\n")
    assert "| egress | download, times direct | at least 0.8 | 0.79 | **not met** |" in after
    assert "not measured: TLS: no reason" in after
    assert page.written(after, run) == after
    without = {**run, "start_ms": {"nothing allowed": [95.0], "a host": [101.0]}}
    starts = [one for one in egress_numbers.marks(without) if one["mark"].startswith("start ")]
    assert [one["met"] for one in starts] == [None, None]


# --- inspection ------------------------------------------------------------------------------------


def test_a_run_of_inspection_is_judged_and_written_beside_the_others() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from benchmark import inspection_numbers, page
    finally:
        sys.path.pop(0)
    calls = {"bare": [0.1], "byte-copy": [0.2], "wrapped": [0.26], "not inspected": [0.24]}
    large = {"bare": [6.0], "byte-copy": [6.1], "wrapped": [14.1], "not inspected": [12.0]}
    share = {
        "frames": {"to-server": [5.0], "to-client": [5.0]},
        "poison": {"to-server": [2.0], "to-client": [9.0]},
    }
    run: dict[str, Any] = {
        "kind": "inspection", "date": "2026-01-01", "caller": "root", "quick": True,
        "machine": {"cpus": 2, "model": "any", "kernel": "6.1", "python": "3.11", "load": 0.0},
        "servers": {"echo": {"samples_ms": {"call": calls, "medium": calls, "large": large}}},
        "share_us": dict.fromkeys(("200 B", "4 KiB", "1 MiB"), share),
    }  # fmt: skip
    run["marks"] = inspection_numbers.marks(run)
    assert {one["mark"]: (one["measured"], one["met"]) for one in run["marks"]} == {
        "call added, times the byte copy's": (1.6, False),
        "4 KiB call added, times the byte copy's": (1.6, False),
        "1 MiB added, ms": (8.1, False),
        # What reading a frame costs is no inspector's.
        "all inspectors at 200 B, us": (11.0, False),
        "all inspectors at 4 KiB, us": (11.0, True),
        "all inspectors at 1 MiB, us": (11.0, True),
    }
    before = f"head\n\n{page.INSPECTION_MARK}\n\nearlier\n\n## Next\n\n{page.MARK}\n\nkept\n"
    after = page.written(before, run)
    assert "earlier" not in after
    assert after.endswith(f"\n## Next\n\n{page.MARK}\n\nkept\n")
    assert "| echo | 200 B | not inspected | 0.240 | +0.140 | 1.40 | 1 |" in after
    assert "| poison | 2.0 | 9.0 | 2.0 | 9.0 | 2.0 | 9.0 |" in after


@pytest.mark.slow
def test_a_quick_run_of_inspection_measures_every_inspector(require: Require, tmp_path: Path) -> None:
    require("native")
    program = Path(sys.executable).parent / "mcp-sandbox"
    shown = bench("--inspectors", "--quick", "--program", program, "--json", tmp_path / "run.json")
    found = json.loads((tmp_path / "run.json").read_text())
    samples = found["servers"]["echo-python"]["samples_ms"]
    variants = {"bare", "byte-copy", "wrapped", "not inspected"}
    assert {kind: set(one) for kind, one in samples.items()} == {
        "call": variants, "medium": variants, "large": variants,
    }  # fmt: skip
    assert set(found["share_us"]) == {"200 B", "4 KiB", "1 MiB"}
    assert {"frames", "client"} <= set(found["share_us"]["200 B"])
    assert "share of each inspector" in shown


# --- in a container --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.long
def test_a_quick_run_in_a_container_computes_its_marks_from_its_samples(ready: Ready, tmp_path: Path) -> None:
    ready("docker")
    program = Path(sys.executable).parent / "mcp-sandbox"
    options = ("--backend", "docker", "--quick", "--server", "echo-python", "--program", program)
    shown = bench(*options, "--json", tmp_path / "run.json")
    found = json.loads((tmp_path / "run.json").read_text())
    assert (found["kind"], list(found["servers"])) == ("docker", ["echo-python"])
    assert found["engine"].keys() == {"cli", "engine"}
    server = found["servers"]["echo-python"]
    samples = server["samples_ms"]
    assert {kind: set(one) for kind, one in samples.items()} == {
        "start": {"bare", "wrapped", "wrapped-cold"},
        "call": {"bare", "wrapped"},
        "medium": {"bare", "wrapped"},
        "large": {"bare", "wrapped"},
    }
    for kind in samples.values():
        # Interleaved rounds: every variant has as many samples as every other.
        assert len({len(one) for one in kind.values()}) == 1
        assert all(value > 0 for one in kind.values() for value in one)
    marks = {one["mark"]: one for one in found["marks"]}
    start = statistics.median(samples["start"]["wrapped"]) - statistics.median(samples["start"]["bare"])
    assert marks["start over `docker run`, ms"]["measured"] == pytest.approx(start, abs=0.01)
    assert set(server["memory"]["wrapped"]["parts"]) == {"wrapper", "keeper", "gateway", "holder"}
    assert "wrapped-cold" in shown


def test_a_run_in_a_container_is_judged_and_written_beside_the_others() -> None:
    _, _, page = modules()
    part = {"kib": 36 * 1024, "read_as": "pss"}
    server = {
        "samples_ms": {
            "start": {"bare": [200.0], "wrapped": [350.0], "wrapped-cold": [700.0]},
            "call": {"bare": [0.2], "wrapped": [0.2]},
            "large": {"bare": [9.0], "wrapped": [8.0]},
        },
        "memory": {"wrapped": {"kib": 36 * 1024, "parts": {"holder": part}}},
    }
    marks = container_numbers().marks("echo", server)
    assert {one["mark"]: (one["measured"], one["met"]) for one in marks} == {
        "start over `docker run`, ms": (150.0, True),
        "call over `docker run`, ms": (0.0, False),
        "1 MiB over `docker run`, ms": (-1.0, True),
        "own memory, MiB": (36.0, False),
    }
    run = {
        "kind": "docker", "date": "2026-01-01", "caller": "root", "quick": True,
        "machine": {"cpus": 2, "model": "any", "kernel": "6.1", "python": "3.11", "load": 0.0},
        "engine": {"cli": "28.0", "engine": "20.10"}, "servers": {"echo": server}, "marks": marks,
    }  # fmt: skip
    before = f"head\n\n{page.DOCKER_MARK}\n\nearlier\n\n## Next\n\n{page.MARK}\n\nkept\n"
    after = page.written(before, run)
    assert after.startswith("head\n")
    assert "earlier" not in after
    assert after.endswith(f"\n## Next\n\n{page.MARK}\n\nkept\n")
    assert "| echo | call over `docker run`, ms | below 0 | 0.00 | **not met** |" in after
    assert "engine 20.10, docker command line 28.0, " in after
    assert page.written(after, run) == after


def http_numbers() -> Any:
    """The marks over HTTP."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from benchmark import http_numbers as found
    finally:
        sys.path.pop(0)
    return found


def test_a_run_over_http_is_judged_and_written_beside_the_others() -> None:
    page = modules()[2]
    ways = {"direct": [1.0], "mcp-sandbox": [1.2], "supergateway": [1.4], "mcp-proxy": [1.1]}
    rates = {"direct": [9000.0], "mcp-sandbox": [3000.0], "supergateway": [1500.0], "mcp-proxy": [4000.0]}
    large = {**ways, "supergateway": []}
    side = {"call": ways, "medium": ways, "large": large, "rate": rates}
    run: dict[str, Any] = {
        "kind": "http", "date": "2026-11-26", "caller": "root",
        "others": {"supergateway": "4", "mcp-proxy": "1"},
        "machine": {"cpus": 2, "model": "m", "kernel": "6", "python": "3.11", "load": 0.1},
        "http": {"inside": side, "serve": side},
    }  # fmt: skip
    run["marks"] = http_numbers().marks(run)
    met = {(one["server"], one["mark"]): (one["measured"], one["met"]) for one in run["marks"]}
    assert met["inside", "a call of 200 bytes: added, times what supergateway adds"] == (0.5, True)
    assert met["inside", "a call of 200 bytes: added, times what mcp-proxy adds"] == (2.0, False)
    assert met["serve", "calls a second, times supergateway's"] == (2.0, True)
    assert met["serve", "calls a second, times mcp-proxy's"] == (0.75, False)
    before = f"head\n\n{page.HTTP_MARK}\n\nearlier\n\n## Next\n\n{page.MARK}\n\nkept\n"
    after = page.written(before, run)
    assert "earlier" not in after
    assert "| a call of 1 MiB, ms | supergateway | refused | - | - | 0 |" in after
    assert after.endswith(f"\n## Next\n\n{page.MARK}\n\nkept\n")
    assert page.written(after, run) == after


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_quick_run_over_http_has_every_way(require: Require, tmp_path: Path) -> None:
    require("native")
    require("npm")
    program = Path(sys.executable).parent / "mcp-sandbox"
    bench("--http", "--quick", "--program", program, "--json", tmp_path / "run.json")
    found = json.loads((tmp_path / "run.json").read_text())["http"]
    for side in ("inside", "serve"):
        for kind in ("call", "medium", "rate"):
            ways = found[side][kind]
            assert {"direct", "mcp-sandbox", "supergateway", "mcp-proxy"} <= set(ways)
            assert len({len(one) for one in ways.values()}) == 1
            assert all(value > 0 for one in ways.values() for value in one)


def test_a_run_from_locks_is_marked_against_every_other_way(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from benchmark import freeze_numbers, page
    finally:
        sys.path.pop(0)
    start = {"bare": [300.0], "locked": [370.0], "unlocked": [372.0], "runner": [900.0], "docker": [360.0]}
    machine = {"cpus": 2, "model": "any", "kernel": "6.1", "python": "3.11", "load": 0.0}
    run: dict[str, Any] = {
        "kind": "freeze", "date": "2026-01-01", "caller": "root", "quick": True, "machine": machine,
        "servers": {"everything": {"samples_ms": {"start": start}}},
    }  # fmt: skip
    run["marks"] = freeze_numbers.marks(run)
    assert {one["mark"]: (one["measured"], one["met"]) for one in run["marks"]} == {
        "start from the lock over bare, ms": (70.0, True),
        "start from the lock over the bare runner, ms": (-530.0, True),
        "start from the lock over `docker run`, ms": (10.0, False),
    }
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert "| everything | locked | 370.0 |" in page.written(f"{page.FREEZE_MARK}\n", run)
    assert "unlocked" in bench("--from", tmp_path / "run.json")
