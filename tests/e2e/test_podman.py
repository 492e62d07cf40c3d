"""Podman through its Docker socket: with root the filesystem server runs; else what is missing is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import images
from sandbox.host.engine import engine
from sandbox.imaging import recipe
from tests.conftest import Ready, Require
from tests.e2e.caller import PROGRAM, Caller
from tests.e2e.servers import SERVERS
from tests.host.podman import podman

CLIENT = str(Path(__file__).with_name("client.py"))
NEEDED = ("base", "node")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def environ(require: Require, ready: Ready, tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose engine is Podman, with the note of the images that Docker has."""
    require("podman")
    note = ready("docker")
    with podman() as place:
        made = {**os.environ, "DOCKER_HOST": place, "XDG_STATE_HOME": str(tmp_path / "state")}
        known = Path(images.state_file(made))
        known.parent.mkdir(parents=True)
        known.write_text(note)
        yield made


def _give_images(environ: dict[str, str]) -> None:
    """The same images, from the engine that built them, by the names under which they are looked for."""
    tags = [recipe.tag(name) for name in NEEDED]
    with subprocess.Popen(["docker", "save", *tags], stdout=subprocess.PIPE) as saved:
        load = ["docker", f"--host={environ['DOCKER_HOST']}", "load"]
        subprocess.run(load, stdin=saved.stdout, check=True, timeout=120, stdout=subprocess.DEVNULL)
    assert saved.returncode == 0


@pytest.mark.long
@pytest.mark.slow
def test_the_filesystem_server_does_its_job_or_it_is_said_why_not(
    environ: dict[str, str], tmp_path: Path
) -> None:
    found = engine(environ)
    assert found.kind == "podman"
    place = tmp_path / "place"
    place.mkdir()
    if "memory" not in found.limits:
        done = subprocess.run(
            [PROGRAM, "run", "--backend", "docker", "--", "cat"],
            env=environ, cwd=place, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 125
        assert "cannot limit memory" in done.stderr
        assert "mcp-sandbox doctor" in done.stderr
        said = subprocess.run([PROGRAM, "doctor"], env=environ, capture_output=True, text=True, timeout=60)
        assert "a rootless engine needs cgroup v2" in said.stdout
        return

    _give_images(environ)
    server = next(one for one in SERVERS if one.profile == "filesystem")
    server.prepare(Caller("own", (), environ, tmp_path, os.geteuid(), os.getegid()), place)
    argv = [PROGRAM, "run", "--backend", "docker", *server.flags, "--profile", server.profile]
    script = {"argv": argv, "cwd": str(place), "env": environ, "calls": server.calls(place), "era": "legacy"}
    done = subprocess.run(
        [sys.executable, CLIENT, json.dumps({**script, "roots": [str(place)]})],
        cwd=place, env=environ, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    server.check(place, json.loads(done.stdout)["calls"])
    assert (place / "new.txt").stat().st_uid == os.geteuid()
    left = ["docker", f"--host={environ['DOCKER_HOST']}", "ps", "--all", "--quiet"]
    assert subprocess.run(left, capture_output=True, timeout=30).stdout == b""
