"""A project's files choose among installed versions, and do nothing else to a start."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.errors import CommandNotFound
from sandbox.host.shims import behind

Plant = Callable[[Path], None]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _stdin(path: Path) -> None:
    reading, _ = os.pipe()  # nobody ever writes: a client that waits for our answer
    path.symlink_to(f"/proc/self/fd/{reading}")


def _deep(path: Path) -> None:
    path.write_text(f"[tools]\nnode = {'[' * 30000}")


PLANTS = [
    pytest.param(_fifo, id="a pipe that nobody writes"),
    pytest.param(_stdin, id="a link to our own input"),
    pytest.param(_deep, id="nested without end"),
]


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("plant", "name"),
    [
        pytest.param(_fifo, ".tool-versions", id="a pipe that nobody writes"),
        pytest.param(_stdin, ".tool-versions", id="a link to our own input"),
        pytest.param(_fifo, "mise.toml", id="a pipe as mise's"),
        pytest.param(_deep, "mise.toml", id="nested without end"),
    ],
)
def test_a_hostile_projects_file_neither_hangs_nor_fails_the_start(
    plant: Plant, name: str, tmp_path: Path
) -> None:
    """The home's own choice counts then; the control is that the project's would, if it were a file."""
    home, project = tmp_path / "home", tmp_path / "project"
    for version in ("20", "22"):
        program = home / f"mise/installs/node/{version}/bin/node"
        program.parent.mkdir(parents=True)
        program.write_text("")
        program.chmod(0o755)
    shim = home / "mise/shims/node"
    shim.parent.mkdir()
    shim.write_text("")
    project.mkdir()
    (home / ".tool-versions").write_text("node 20\n")

    def chosen() -> str | None:
        return behind(str(shim), environ={}, cwd=str(project), home=str(home))

    (project / ".tool-versions").write_text("node 22\n")
    assert chosen() == str(home / "mise/installs/node/22/bin/node")
    (project / ".tool-versions").unlink()
    plant(project / name)
    assert chosen() == str(home / "mise/installs/node/20/bin/node")


@pytest.mark.timeout(10)
@pytest.mark.parametrize("plant", PLANTS)
def test_volta_and_a_hostile_package(plant: Plant, tmp_path: Path) -> None:
    shim = tmp_path / "volta/bin/node"
    shim.parent.mkdir(parents=True)
    target = tmp_path / "volta-shim"
    target.write_text("")
    shim.symlink_to(target)
    plant(tmp_path / "package.json")
    with pytest.raises(CommandNotFound):
        behind(str(shim), environ={}, cwd=str(tmp_path), home=str(tmp_path))
