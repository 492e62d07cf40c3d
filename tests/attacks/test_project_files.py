"""A server that may write a project tries to plant what git and MCP clients outside would run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Require

# Directly, through a directory of the same name, and by replacing the file: each attempt after the other.
ATTACK = """
echo pwned > .git/hooks/pre-commit
mv .git .old && mkdir -p .git/hooks && echo pwned > .git/hooks/pre-commit
ln -s /tmp/evil .git/hooks/post-commit
echo pwned > .mcp.json
rm -f .mcp.json; echo pwned > .mcp.json
mv .mcp.json gone; echo pwned > .mcp.json
echo pwned > .vscode/tasks.json
rm -rf .vscode; mkdir .vscode; echo pwned > .vscode/tasks.json
echo done > note.txt
"""
RUN = "import sys; from sandbox.cli.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a hook, a client's config and an editor's tasks."""
    made = tmp_path / "project"
    for name in (".git/hooks/pre-commit", ".mcp.json", ".vscode/tasks.json"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text("mine\n")
    return made


def attack(project: Path, *before: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*before, "/bin/sh", "-c", ATTACK],
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


def planted(project: Path) -> list[str]:
    found = [path for path in project.rglob("*") if path.is_file() and path.read_text() == "pwned\n"]
    return sorted(str(path.relative_to(project)) for path in found)


@pytest.mark.threat("D2", proves="hooks and client configs of a writable project are byte for byte unchanged")
def test_hooks_and_client_configs_cannot_be_planted(project: Path, require: Require) -> None:
    require("native")
    done = attack(project, sys.executable, "-c", RUN, "run", "--allow-write", ".", "--")
    assert (project / "note.txt").read_text() == "done\n", done.stderr.decode()
    assert planted(project) == []
    for name in (".git/hooks/pre-commit", ".mcp.json", ".vscode/tasks.json"):
        assert (project / name).read_text() == "mine\n"
    assert sorted(os.listdir(project / ".git/hooks")) == ["pre-commit"]
    # Written by another uid inside a root caller's sandbox, and yet the caller's own.
    assert (project / "note.txt").stat().st_uid == os.getuid()


def test_the_same_attack_succeeds_without_the_sandbox(project: Path) -> None:
    attack(project)
    assert {".git/hooks/pre-commit", ".mcp.json", ".vscode/tasks.json"} <= set(planted(project))


@pytest.mark.threat("D2", proves="a name planted for git is told and logged")
def test_what_could_not_be_guarded_is_told(project: Path, require: Require, own_home: Path) -> None:
    """Nothing can be mounted on a name that is absent; the control is a server that makes none."""
    require("native")
    words = [sys.executable, "-c", RUN, "run", "--audit", str(own_home / "log"), "--allow-write", ".", "--"]

    def told(script: str) -> tuple[bool, bool]:
        (own_home / "log").unlink(missing_ok=True)
        done = subprocess.run(
            [*words, "/bin/sh", "-c", script], cwd=project, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        return "planted" in done.stderr, '"guard.planted"' in (own_home / "log").read_text()

    assert told("true") == (False, False)
    assert told("echo ../evil > .git/commondir") == (True, True)
    # Now it exists, and is as read-only as the rest.
    assert told("echo again > .git/commondir") == (False, False)
    assert (project / ".git/commondir").read_text() == "../evil\n"


def test_a_worktrees_git_file_is_guarded(project: Path, require: Require) -> None:
    """It says where git finds its configuration and hooks."""
    require("native")
    inner = project / "worktree"
    inner.mkdir()
    (inner / ".git").write_text("gitdir: ../.git\n")
    plant = "echo 'gitdir: evil' > .git; mv .git gone; rm -f .git; echo done > note"
    sandboxed = [sys.executable, "-c", RUN, "run", "--allow-write", ".", "--"]
    for before, expected in ((sandboxed, "gitdir: ../.git\n"), ([], None)):
        subprocess.run(
            [*before, "/bin/sh", "-c", plant], cwd=inner, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert (inner / "note").read_text() == "done\n"
        assert ((inner / ".git").read_text() if (inner / ".git").exists() else None) == expected
