"""What the engine looks up again is compared with what was meant, as a process shows it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.backend.docker.sources import Sources
from sandbox.errors import SandboxNotBuilt


@pytest.fixture
def meant(tmp_path: Path) -> Path:
    """A directory that the plan named, by its real path."""
    made = tmp_path.resolve() / "meant"
    made.mkdir()
    return made


def sources(target: Path, source: Path) -> Sources:
    """One mount of a container that is this very process."""
    return Sources([{"Target": str(target), "Source": str(source)}], [str(source)])


def test_the_same_directory_passes(meant: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    sources(meant, meant).compare(os.getpid())
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", ["another directory", "nothing", "another of that name"])
def test_anything_else_is_refused(kind: str, meant: Path, tmp_path: Path) -> None:
    target = {"another directory": tmp_path, "nothing": tmp_path / "nothing"}.get(kind, meant)
    made = sources(target, meant)
    if kind == "another of that name":
        meant.rename(tmp_path / "was")
        meant.mkdir()
    with pytest.raises(SandboxNotBuilt, match="was replaced while the sandbox was built"):
        made.compare(os.getpid())


def test_a_source_that_became_a_link_stops_the_start(meant: Path, tmp_path: Path) -> None:
    meant.rename(tmp_path / "was")
    meant.symlink_to(tmp_path / "was")
    with pytest.raises(OSError, match="symbolic links"):
        sources(meant, meant)


def test_only_what_has_a_real_path_is_looked_at(meant: Path) -> None:
    """The session's own files are nobody else's to change."""
    assert not Sources([{"Target": "/etc/passwd", "Source": "/nowhere"}], [str(meant)])


def test_a_container_that_is_over_shows_nothing(meant: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    sources(meant, meant).compare(pid)
