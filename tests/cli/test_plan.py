"""`mcp-sandbox plan` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def run(*words: str, cwd: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    code = "import sys; from sandbox.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, "plan", *words],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_json_holds_every_step_with_its_line(tmp_path: Path) -> None:
    found = run("--json", "--allow-read", ".", "--", "/usr/bin/env", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    assert next(iter(document)) == "schema"
    assert document["cwd"] == str(tmp_path)
    mount = next(step for step in document["steps"] if step["what"] == f"read-only {tmp_path}")
    assert mount["origin"] == "--allow-read"
    assert {"files", "process", "network", "syscalls", "quota", "environment"} <= {
        step["group"] for step in document["steps"]
    }


def test_text_is_grouped_and_has_no_colour_in_a_pipe(tmp_path: Path) -> None:
    found = run("--", "/usr/bin/env", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "\033" not in found.stdout
    groups = [line for line in found.stdout.splitlines()[1:] if line and not line.startswith(" ")]
    assert groups[:5] == ["files", "process", "network", "syscalls", "quota"]
    assert "is not mounted: the server starts in /home/mcp" in found.stdout


def test_an_allowed_host_is_shown_with_its_option(tmp_path: Path) -> None:
    words = ("--allow-net", "API.example.org", "--", "/usr/bin/env")
    found = run("--json", *words, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    (row,) = (one for one in json.loads(found.stdout)["steps"] if one["what"].startswith("connect to "))
    assert (row["what"], row["key"]) == ("connect to api.example.org:443", "network.allow")
    assert row["origin"] == "--allow-net"
    assert "connect to api.example.org:443" in run(*words, cwd=tmp_path).stdout


def test_a_package_that_is_not_installed_yet_needs_no_runner(tmp_path: Path) -> None:
    """`run` would install it without one."""
    environ = {"HOME": str(tmp_path), "PATH": str(tmp_path)}
    found = run("--", "uvx", "mcp-server-calculator", cwd=tmp_path, environ=environ)
    assert found.returncode == 0, found.stderr
    assert "is not frozen yet" in found.stdout + found.stderr


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["--allow-read", "~", "--", "/usr/bin/env"], 2, "secret-place"),
        (["--allow-read", "nope", "--", "/usr/bin/env"], 2, "mount-missing"),
        (["--allow-net", "dns.example.org:53", "--", "/usr/bin/env"], 125, "cannot-enforce"),
        (["--allow-net", "*.org", "--", "/usr/bin/env"], 2, "invalid-option"),
        (["--", "no-such-command-anywhere"], 127, ""),
        ([], 2, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_stops_run_stops_plan(tmp_path: Path, words: list[str], status: int, code: str) -> None:
    found = run(*words, cwd=tmp_path)
    assert found.returncode == status
    assert found.stdout == ""
    assert found.stderr.startswith(f"error: {code}")
    assert "Traceback" not in found.stderr
