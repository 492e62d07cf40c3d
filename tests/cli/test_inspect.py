"""`mcp-sandbox inspect` as a user runs it, over a server that misbehaves as it is told to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SERVER = Path(__file__).resolve().parent.parent / "fixtures" / "poisoned.py"
PYTHON = sys._base_executable  # type: ignore[attr-defined]  # every user can execute it

pytestmark = pytest.mark.usefixtures("native")


@pytest.fixture
def native(require: Callable[[str], None]) -> None:
    require("native")


def run(*words: str, cwd: Path, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    code = "import sys; from sandbox.cli.main import main; sys.exit(main(sys.argv[1:]))"
    argv = [sys.executable, "-c", code, "inspect", *words]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=seconds)


def server(mode: str, place: Path) -> list[str]:
    """The words that start the server where every caller can read it."""
    copy = place / "server.py"
    copy.write_text(SERVER.read_text())
    return ["--allow-read", str(copy), "--", PYTHON, str(copy), mode]


def test_an_honest_server(tmp_path: Path) -> None:
    done = run(*server("honest", tmp_path), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "adder 1 (2025-11-25, 2026-07-28): 1 tool, 0 prompts, 0 resources, 0 templates",
        "no findings",
    ]


@pytest.mark.parametrize(
    ("mode", "kind", "item", "field"),
    [
        pytest.param("hidden", "tool", "add", "/description", id="hidden characters"),
        pytest.param("hidden", "tool", "other", "/description", id="an order to the model"),
        pytest.param("second-page", "tool", "add", "/description", id="on the second page alone"),
        pytest.param("modern-only", "tool", "add", "/description", id="in the modern era alone"),
        pytest.param("instructions", "instructions", "", "", id="the instructions"),
    ],
)
def test_what_a_server_hides_is_found_with_its_place(
    mode: str, kind: str, item: str, field: str, tmp_path: Path
) -> None:
    done = run("--json", *server(mode, tmp_path), cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)["findings"]
    places = {(one["kind"], one["item"], one["field"]) for one in found}
    assert (kind, item, field) in places
    assert {one["inspector"] for one in found} == {"poison"}


def test_hidden_text_is_made_visible_and_cannot_drive_the_terminal(tmp_path: Path) -> None:
    done = run(*server("hidden", tmp_path), cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "tool `add`" in done.stdout
    assert all(c.isprintable() or c == "\n" for c in done.stdout)
    assert "\u200b" not in done.stdout


@pytest.mark.parametrize("shape", [[], ["--json"], ["--sarif"]], ids=["lines", "json", "sarif"])
def test_a_granted_secret_is_in_nothing_that_is_told_or_kept(
    shape: list[str], tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "-".join(("correct", "horse", "battery", "staple", "42"))
    monkeypatch.setenv("TOKEN", secret)
    done = run(*shape, "--secret", "TOKEN", *server("leaks", tmp_path), cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "secrets." in done.stdout
    assert "poison." in done.stdout
    assert secret not in done.stdout + done.stderr
    kept = [path for path in own_home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".jsonl" for path in kept)
    assert not [path for path in kept if secret.encode() in path.read_bytes()]


def test_sarif(tmp_path: Path) -> None:
    done = run("--sarif", *server("hidden", tmp_path), cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    (made,) = json.loads(done.stdout)["runs"]
    assert made["results"]
    assert {result["level"] for result in made["results"]} <= {"error", "warning", "note"}


def test_a_list_without_an_end_is_said_to_be_cut(tmp_path: Path) -> None:
    done = run(*server("endless", tmp_path), cwd=tmp_path)
    assert "`tools/list` does not end" in done.stderr
    assert "100 tools" in done.stdout


def test_a_server_that_ends_early_is_not_called_clean(tmp_path: Path) -> None:
    done = run(*server("dies", tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "error: not-examined" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        pytest.param(["--allow-read", "nope", "--", "/usr/bin/env"], 2, "mount-missing", id="usage"),
        pytest.param(
            ["--allow-net", "dns.example.org:53", "--", "/usr/bin/env"], 125, "cannot-enforce", id="125"
        ),
        pytest.param(["--", "no-such-command-anywhere"], 127, "", id="no such command"),
        pytest.param([], 2, "", id="nothing to start"),
    ],
)
def test_what_stops_run_stops_inspect(words: list[str], status: int, code: str, tmp_path: Path) -> None:
    done = run(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(f"error: {code}")
    assert "Traceback" not in done.stderr
