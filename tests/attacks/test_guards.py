"""Writable projects and the start itself: guarded files, swapped mounts, setting up a later escape."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.attacks.inside import World, tree

pytestmark = pytest.mark.backends(docker="root user")

GUARDED = {
    ".git/hooks/pre-commit": "#!/bin/sh\n",
    ".git/config": "[core]\n",
    ".vscode/tasks.json": "{}",
    ".mcp.json": "{}",
    ".cursor/mcp.json": "{}",
    ".envrc": "",
}
# Prepares, lets somebody swap the mount's source, and only then starts.
SWAPPED = """
import os, sys
from sandbox.cli.output import note
from sandbox.errors import SandboxError
from sandbox.policy.flags import Flags
from sandbox.prepare import prepare
from sandbox.prepared import Wish
from sandbox.session import run

source, secret, command = sys.argv[1], sys.argv[2], tuple(sys.argv[4:])
wish = Wish(command, dict(os.environ), "/", flags=Flags(allow_read=(source,)), backend=sys.argv[3])
prepared = prepare(wish, note)
if secret:
    os.rename(source, source + ".was")
    os.symlink(secret, source)
try:
    sys.exit(run(prepared, note))
except SandboxError as error:
    note(str(error))
    sys.exit(error.exit_status)
"""


@pytest.fixture
def project(world: World) -> Path:
    """A fresh project with the files that other programs run."""
    made = world.home / "project"
    for name, content in GUARDED.items():
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return world.own(made)


@pytest.mark.threat("S2", proves="hooks and clients' configs of a writable project stay as they were")
def test_guarded_files_of_a_writable_project(world: World, project: Path) -> None:
    before = tree(project)
    with world.inside("--allow-write", str(project)) as inside, world.outside() as outside:
        for name in GUARDED:
            path = str(project / name)
            assert inside.call("files.append", path=path)["failed"] == "EROFS", name
            assert inside.call("files.unlink", path=path)["failed"] in ("EBUSY", "EROFS"), name
            assert inside.call("files.rename", path=path, to=f"{path}.old")["failed"] in ("EBUSY", "EROFS"), (
                name
            )
        for name in (".git", ".git/hooks", ".vscode"):
            moved = inside.call("files.rename", path=str(project / name), to=str(project / "moved"))
            assert moved["failed"] in ("EBUSY", "EXDEV"), name
        assert {path: seen for path, seen in tree(project).items() if path in before} == before
        assert inside.call("files.create", path=str(project / "new.txt")) == {"got": 8}
        assert outside.call("files.append", path=str(project / ".git/hooks/pre-commit")) == {"got": 9}


def swapped(world: World, source: Path, secret: str, asked: str) -> subprocess.CompletedProcess[str]:
    read = [sys.executable, "-c", "import sys; print(open(sys.argv[1]).read(), file=sys.stderr)", asked]
    backend = "native" if world.backend == "native" else "docker"
    words = [*world.prefix(), sys.executable, "-c", SWAPPED, str(source), secret, backend, *read]
    return subprocess.run(
        words, env=world.environ, cwd="/", capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.threat(
    "D1", proves="a mount source swapped for a link between plan and start: exit 125, nothing ran"
)
def test_a_swapped_mount_is_refused(world: World) -> None:
    source = world.home / "swapped"
    source.mkdir()
    (source / "notes.txt").write_text("granted")
    world.own(source)
    honest = swapped(world, source, "", f"{source}/notes.txt")
    assert (honest.returncode, "granted" in honest.stderr) == (0, True), honest.stderr
    attacked = swapped(world, source, str(world.evil), f"{source}/notes.txt")
    assert attacked.returncode == 125, attacked.stderr
    assert "sandbox-not-built" in attacked.stderr
    assert world.word not in attacked.stderr + attacked.stdout
    # The control: who follows the path after the swap reads the canary.
    assert (source / "notes.txt").read_text() == world.word


@pytest.mark.threat(
    "D1", proves="no start shows the canary while the source flips between a directory and a link"
)
def test_a_race_for_the_mount_is_lost(world: World) -> None:
    base = world.own(_flipping(world))
    stop, seen = threading.Event(), set()

    def flip() -> None:
        while not stop.is_set():
            (base / "race").rename(base / "c")
            (base / "b").rename(base / "race")
            (base / "c").rename(base / "b")
            seen.add((base / "race" / "notes.txt").read_text())

    flipper = threading.Thread(target=flip)
    flipper.start()
    try:
        ends = [_start(world, base) for _ in range(6)]
    finally:
        stop.set()
        flipper.join()
    assert seen == {"granted", world.word}, "the control: the flips showed both"
    for done in ends:
        assert world.word not in done.stdout + done.stderr
        assert "granted" in done.stderr or done.returncode in (2, 125, 1), done.stderr


def _flipping(world: World) -> Path:
    base = world.home / "flips"
    (base / "race").mkdir(parents=True)
    (base / "race" / "notes.txt").write_text("granted")
    # A secret place: a plan that sees the link refuses it, a start that meets it after the plan as well.
    (base / "b").symlink_to(world.home / ".ssh")
    (world.home / ".ssh" / "notes.txt").write_text(world.word)
    return base


def _start(world: World, base: Path) -> subprocess.CompletedProcess[str]:
    read = [sys.executable, "-c", "import sys; print(open(sys.argv[1]).read(), file=sys.stderr)"]
    words = world.command("--allow-read", f"{base}/race", server=[*read, f"{base}/race/notes.txt"])
    return subprocess.run(
        words, env=world.environ, cwd="/", capture_output=True, text=True, timeout=30, check=False
    )
