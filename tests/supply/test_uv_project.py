"""A bundle that leaves its packages to uv: what it asks for, and what it starts without uv."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.supply import uv_project
from sandbox.supply.hostile_json import Malformed
from sandbox.supply.uv_project import Run

MOUNT = "/opt/mcp-bundle"


def test_dependencies_for_other_systems_are_left_out() -> None:
    found = uv_project.read(
        b'[project]\nrequires-python = ">= 3.10"\ndependencies = ["mcp[cli]>=1.2", '
        b"\"pywin32>=300; sys_platform == 'win32'\", \"uvloop; platform_system != 'Windows'\"]\n"
    )
    assert found == uv_project.Project(("mcp[cli]>=1.2", "uvloop"), ">=3.10")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff", "no TOML"),
        (b"[project", "no TOML"),
        (b"project = 3", "as it has to be"),
        (b"[project]\ndependencies = 3", "as it has to be"),
        (b"[project]\ndependencies = [3]", "no text"),
        (b"[project]\ndependencies = [\"a; python_version < '3.9'\"]", "condition"),
    ],
)
def test_a_project_that_is_not_understood(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        uv_project.read(data)


@pytest.mark.parametrize(
    ("words", "run"),
    [
        ([], Run("python", 0, (f"{MOUNT}/src/main.py",))),
        (["run", "a.py", "-v"], Run("python", 2, (f"{MOUNT}/a.py",))),
        (["run", "--directory", MOUNT, "a.py"], Run("python", 4, (f"{MOUNT}/a.py",), cwd=MOUNT)),
        (["run", f"--project={MOUNT}", "--quiet", "python", "a.py"], Run("python", 4)),
        (["run", "-m", "server"], Run("python", 3, ("-m", "server"), cwd=MOUNT)),
        (["run", "--with", "a,b", "tool"], Run("tool", 4, extra=("a", "b"))),
        (["run", "--", "tool"], Run("tool", 3)),
    ],
)
def test_what_uv_would_run(words: list[str], run: Run) -> None:
    assert uv_project.run(words, MOUNT, "src/main.py") == run


@pytest.mark.parametrize(
    "words",
    [
        ["pip", "install", "x"],
        ["run"],
        ["run", "--directory", "/home/me", "a.py"],
        ["run", "--index-url", "http://x", "a.py"],
        ["run", "/bin/sh"],
        ["run", "-m"],
    ],
)
def test_what_is_not_its_own_is_refused(words: list[str]) -> None:
    with pytest.raises(Malformed):
        uv_project.run(words, MOUNT, "main.py")


@given(st.lists(st.text(max_size=12), max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    with suppress(Malformed):
        assert uv_project.run(["run", *words], MOUNT, "main.py").skip <= len(words) + 1
