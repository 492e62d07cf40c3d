"""A change that is killed at any of its system calls that write leaves the old file or the new one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.clients.killing import FORBIDDEN

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def report() -> dict[str, tuple[int, list[str]]]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a thousand times `fsync`
    with tempfile.TemporaryDirectory(dir=memory) as place:
        argv = [sys.executable, "-m", "tests.clients.killing", place]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode == FORBIDDEN:
        pytest.skip("this machine lets nobody be traced (kernel.yama.ptrace_scope)")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("what", "least"),
    [
        # Backup, record, profile and file: each is written, synced and renamed.
        pytest.param("wrap", 30, id="wrap"),
        pytest.param("unwrap", 10, id="unwrap"),
        pytest.param("wrap again", 30, id="wrap of a file that was wrapped and has changed"),
    ],
)
def test_killed_at_every_writing_call(
    report: dict[str, tuple[int, list[str]]], what: str, least: int
) -> None:
    calls, wrong = report[what]
    assert calls >= least
    assert wrong == []


def test_what_was_added_meanwhile_stays(report: dict[str, tuple[int, list[str]]]) -> None:
    assert "changed" not in report


def test_a_write_in_place_leaves_half_a_file(report: dict[str, tuple[int, list[str]]]) -> None:
    """The storm finds it where there is something to find."""
    assert report["in place"][1]
