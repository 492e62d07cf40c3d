"""`ps`: what a lease says of its session, and what `--prune` calls a thing that nobody needs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from sandbox import leases
from sandbox.cli import main, ps
from sandbox.leases import Lease
from sandbox.prune import Pruned, prune

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def alone(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own, and an engine that is nowhere."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{own_home}/nowhere")
    return own_home / ".local" / "state" / "mcp-sandbox"


def ended() -> tuple[int, int]:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        started = leases.start_time(process.pid)
    return process.pid, started


def living(session: str, **more: object) -> Lease:
    own = os.getpid()
    return Lease(session, "files", own, leases.start_time(own), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0s"), (59.9, "59s"), (185, "3m 05s"), (7620, "2h 07m"), (4 * 86400 + 3700, "4d 01h")],
)
def test_how_long(seconds: float, said: str) -> None:
    assert ps.since(seconds) == said


def test_what_is_said_of_a_session(alone: Path) -> None:
    lease = living("s-1", backend="docker", profile="web", containers=("mcp-sandbox-s-1", "x"))
    assert ps.session(lease, lease.started / TICKS + 61.04) == {
        "server": "files",
        "session": "s-1",
        "state": "running",
        "backend": "docker",
        "profile": "web",
        "pid": os.getpid(),
        "uptime": 61.0,
        "container": "mcp-sandbox-s-1",
    }


def test_the_uptime_is_the_processes(alone: Path) -> None:
    assert 0 <= ps.session(living("s-1"), ps.uptime())["uptime"] < 24 * 3600


def test_a_table_for_people(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leases.take(living("s-1", profile="web"), os.environ)
    leases.take(Lease("s-0", "gone", *ended()), os.environ)
    assert main.main(["ps"]) == 0
    said = capsys.readouterr()
    head, *rows = said.out.splitlines()
    assert head.split() == list(ps.COLUMNS)
    assert sorted(row.split()[0] for row in rows) == ["files", "gone"]
    assert "left behind" in next(row for row in rows if row.startswith("gone"))
    assert "ps --prune" in said.err


def test_nothing_runs(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["ps"]) == 0
    assert capsys.readouterr() == ("", "no sandbox of yours is running\n")


def test_one_document(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leases.take(living("s-1"), os.environ)
    leases.take(Lease("s-0", "gone", *ended()), os.environ)
    assert main.main(["ps", "--prune", "--json"]) == 0
    said = capsys.readouterr().out
    assert said.startswith('{\n  "schema": 1,')
    document = json.loads(said)
    assert [one["session"] for one in document["sessions"]] == ["s-1"]
    assert document["removed"] == [{"kind": "session", "name": "s-0", "gone": True}]


def test_what_cannot_be_removed_is_said_and_kept(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lease = Lease("s-0", "x", *ended(), (), "docker", "web", os.environ["DOCKER_HOST"], ("mcp-sandbox-s-0",))
    leases.take(lease, os.environ)
    assert main.main(["ps", "--prune"]) == 1
    assert "could not remove session s-0" in capsys.readouterr().out
    assert leases.every(os.environ) == [lease]


def test_staged_files_without_a_session_go(alone: Path) -> None:
    leases.take(living("lives"), os.environ)
    for name in ("lives", "lost"):
        (alone / "containers" / name).mkdir(parents=True)
        (alone / "containers" / name / "7").write_text("")
    assert prune(os.environ) == [Pruned("staged files", f"{alone}/containers/lost")]
    assert os.listdir(alone / "containers") == ["lives"]


def test_what_holders_left_goes(alone: Path) -> None:
    for name in ("id~key", ".1~1~0"):
        (alone / "holders" / name).mkdir(parents=True)
    assert [one.name for one in prune(os.environ)] == [".1~1~0", "id~key"]
    assert os.listdir(alone / "holders") == []


def test_what_a_killed_builder_left_goes(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(alone / "cache"))
    staging = alone / "cache" / "mcp-sandbox" / "store" / "staging" / "key.abc"
    (staging / "tree").mkdir(parents=True)
    (staging.parent.parent / "locks").mkdir()
    assert prune(os.environ) == [Pruned("build", str(staging))]
    assert not staging.exists()
