"""A matched server reaches what its command names; one that only calls itself so reaches nothing.

The server is a script in an environment whose records say `mcp-server-git`, of which the shipped profile
is for: it tells on stderr what it can read of the words it is given.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.e2e.caller import Caller

everywhere = pytest.mark.backends(docker="user")
native = pytest.mark.backends  # who mounts is decided before a backend is

TEXT = "what the repository holds"
READER = """#!/usr/bin/python3
import os, sys
for word in sys.argv[1:]:
    try:
        with open(os.path.join(word, "notes.txt")) as file:
            print("read", file.read(), file=sys.stderr)
        with open(os.path.join(word, "new.txt"), "w") as file:
            print("wrote", file=sys.stderr)
    except OSError as error:
        print(error.strerror, file=sys.stderr)
print("done", file=sys.stderr)
sys.stdin.read()
"""
NO_PROFILE = "no profile is for this server"


class Ground:
    """A caller's directories: a repository, an environment with the server, and one that pretends."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.home = Path(caller.environ["HOME"])
        self.place = caller.directory()
        self.repository = caller.directory()
        self.installed = caller.directory()
        (self.repository / "notes.txt").write_text(TEXT)
        self.server = self.environment("honest")
        self.liar = self.environment("liar")
        # What pip and uv leave behind an install from a path, an archive or a repository (PEP 610).
        record = self.liar.parent.parent / "lib/python3/site-packages/mcp_server_git-2026.11.1.dist-info"
        (record / "direct_url.json").write_text(json.dumps({"url": f"file://{self.repository}"}))
        for folder in (self.installed, self.repository):
            for path in (folder, *folder.rglob("*")):
                os.chown(path, caller.uid, caller.gid, follow_symlinks=False)

    def environment(self, name: str) -> Path:
        venv = self.installed / name
        record = venv / "lib/python3/site-packages/mcp_server_git-2026.11.1.dist-info"
        record.mkdir(parents=True)
        (record / "entry_points.txt").write_text("[console_scripts]\nmcp-server-git = mcp_server_git:main\n")
        (venv / "pyvenv.cfg").write_text("home = /usr/bin\n")
        (venv / "bin").mkdir()
        (venv / "bin/python3").symlink_to("/usr/bin/python3")
        program = venv / "bin/mcp-server-git"
        program.write_text(READER)
        program.chmod(0o755)
        return program

    def said(self, *words: str, cwd: Path | None = None) -> str:
        done = self.caller.run(*self.caller.sandboxed(*words), cwd=cwd or self.place, timeout=60)
        assert done.stdout == ""
        return done.stderr


@pytest.fixture
def ground(caller: Caller) -> Ground:
    return Ground(caller)


@everywhere
def test_a_server_reads_what_its_command_names_and_writes_nothing(ground: Ground) -> None:
    said = ground.said("--", str(ground.server), str(ground.repository))
    assert "profile `git`, found by `pypi:mcp-server-git`; read-only, as the command names it" in said
    assert f"read {TEXT}" in said
    assert "wrote" not in said
    assert "Read-only file system" in said
    assert not (ground.repository / "new.txt").exists()


@everywhere
def test_one_that_only_calls_itself_so_reads_nothing(ground: Ground) -> None:
    said = ground.said("--", str(ground.liar), str(ground.repository))
    assert NO_PROFILE in said
    assert TEXT not in said
    assert "No such file or directory" in said


@native
def test_nor_does_the_honest_one_under_base(ground: Ground) -> None:
    said = ground.said("--profile", "base", "--", str(ground.server), str(ground.repository))
    assert TEXT not in said
    assert "profile" not in said


@native
def test_after_the_profiles_name_the_command_counts_too(ground: Ground) -> None:
    said = ground.said("--profile", "git", "--name", "g", "--", str(ground.server), str(ground.repository))
    assert f"read {TEXT}" in said


@native
def test_quietly_nothing_is_said_and_the_same_is_reached(ground: Ground) -> None:
    said = ground.said("--quiet", "--", str(ground.server), str(ground.repository))
    assert f"read {TEXT}" in said
    assert "mcp-sandbox:" not in said


@native
def test_a_secret_place_that_the_command_names_stops_the_start(ground: Ground) -> None:
    keys = ground.home / ".ssh"
    ground.caller.run("mkdir", "-p", str(keys), cwd=ground.place).check_returncode()
    done = ground.caller.run(
        *ground.caller.sandboxed("--", str(ground.server), "~/.ssh"), cwd=ground.place, timeout=60
    )
    assert done.returncode == 2
    assert "secret-place" in done.stderr
    assert "done" not in done.stderr


@native
def test_a_client_that_starts_us_in_a_home_mounts_none(ground: Ground) -> None:
    said = ground.said("--", str(ground.server), cwd=ground.home)
    assert "the working directory is not mounted" in said
    assert "done" in said


@native
def test_pins_and_log_are_those_of_a_server_without_a_profile_of_its_own(ground: Ground) -> None:
    ground.said("--", str(ground.server), str(ground.repository))
    logs = list(ground.home.glob(".local/state/mcp-sandbox/**/*.jsonl"))
    events = [json.loads(line) for line in logs[0].read_text().splitlines()]
    assert {event["server"] for event in events} == {"mcp-server-git"}
    assert events[0]["kind"] == "session.start"
    assert events[0]["detail"]["profile"] == "git"
    assert events[0]["detail"]["package"] == "pypi:mcp-server-git"
    assert events[0]["detail"]["named"] == [str(ground.repository)]
