"""MCP's official conformance suites say the same over HTTP, through `serve` and through `run URL`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVER = ("0.1.16", "0.2, 2025-06-18", "0.2, 2025-11-25", "0.2, 2026-07-28")
CLIENT = ("client, 0.1.16", "client, 0.2, 2025-06-18", "client, 0.2, 2025-11-25", "client, 0.2, 2026-07-28")

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

SIDES = (
    [
        pytest.param(("--http", inside), suite, id=f"serve, {inside} inside, {suite}")
        for inside in ("stdio", "http", "url")
        for suite in SERVER
    ]
    + [
        pytest.param(
            ("--http", "http", "--backend", "docker"), suite, id=f"serve, http inside docker, {suite}"
        )
        for suite in SERVER[2:]
    ]
    + [pytest.param(("--client",), suite, id=suite) for suite in CLIENT]
)


@pytest.mark.parametrize(("words", "suite"), SIDES)
def test_every_check_says_the_same(
    words: tuple[str, ...], suite: str, tmp_path: Path, require: Callable[[str], None]
) -> None:
    require("docker" if "docker" in words else "native")
    require("npm")
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "scripts/conformance"),
            "--json",
            *words,
            "--suite",
            suite,
            "--keep",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        timeout=880,
    )
    assert done.returncode in (0, 1), done.stderr
    (outcome,) = json.loads(done.stdout)["suites"]
    assert outcome["differences"] == []
    passed = [check for check in outcome["sandboxed"] if check["status"] == "SUCCESS"]
    assert len(passed) > 0.9 * len(outcome["bare"]) > 0
