"""`ps`: what a lease and its session say, and what `--prune` calls a thing that nobody needs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sandbox import leases, status
from sandbox.cli import columns, main
from sandbox.leases import Lease
from sandbox.prune import Pruned, prune
from tests.attacks.inside import World
from tests.cli.running import introduce, sandboxes, sessions, tried, until

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
    assert columns.since(seconds) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0, "0"), (999, "999"), (1 << 10, "1K"), (1536, "1.5K"), (57 << 20, "57M"), ((57 << 20) + 9, "57M"),
        (1 << 30, "1G"), (int(1.52 * (1 << 30)), "1.5G"), (1023 << 20, "1023M"), (3 << 40, "3T"),
    ],
)  # fmt: skip
def test_how_much(amount: int, said: str) -> None:
    assert columns.size(amount) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain", "plain"),
        ("", "-"),
        (None, "-"),
        ("\x1b[31mred\nnext\tone", "\\x1b[31mred\\nnext\\tone"),
        ("a\u202eb", "a\\u202eb"),
        ("x" * 99, "x" * 23 + "…"),
    ],
)
def test_a_name_cannot_leave_its_cell(text: str | None, said: str) -> None:
    assert columns.cell(text) == said


def test_what_a_lease_alone_says_of_a_session(alone: Path) -> None:
    lease = living("s-1", backend="docker", profile="web", containers=("mcp-sandbox-s-1", "x"))
    assert status.session(lease, None, os.environ, lease.started / TICKS + 61.04) == {
        "server": "files",
        "session": "s-1",
        "state": "starting",
        "backend": "docker",
        "profile": "web",
        "pid": os.getpid(),
        "uptime": 61.0,
        "container": "mcp-sandbox-s-1",
    }


def test_what_the_session_adds(alone: Path) -> None:
    told = {"state": "frozen", "use": {"memory": 7}, "pid": 1, "server": "other", "unknown": 1}
    found = status.session(living("s-1"), told, os.environ, status.uptime())
    assert (found["state"], found["use"]) == ("frozen", {"memory": 7})
    assert (found["pid"], found["server"]) == (os.getpid(), "files"), "whose it is, its lease says"
    assert "unknown" not in found


def test_the_uptime_is_the_processes(alone: Path) -> None:
    assert 0 <= status.session(living("s-1"), None, os.environ, status.uptime())["uptime"] < 24 * 3600


def test_a_table_for_people(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leases.take(living("s-1", profile="web"), os.environ)
    leases.take(Lease("s-0", "gone", *ended()), os.environ)
    assert main.main(["ps"]) == 0
    said = capsys.readouterr()
    head, *rows = said.out.splitlines()
    assert head.split() == list(columns.COLUMNS)
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


# --- real sandboxes -----------------------------------------------------------------------------------


def test_a_running_sandbox(world: World) -> None:
    with sandboxes(world, "files") as (server,):
        introduce(server, "claude-code", "2.1")
        assert server.process.stdin is not None
        server.process.stdin.write(b'{"jsonrpc": "2.0", "method": 7}\n')
        server.process.stdin.flush()
        counted = {"messages": 1}
        (found,) = until(
            world, lambda all: all[0]["denied"] == all[0]["denied"] | counted and "use" in all[0]
        )
        assert (found["server"], found["state"], found["era"]) == ("files", "running", "modern")
        assert found["client"] == {"name": "claude-code", "version": "2.1"}
        assert found["messages"]["calls"] == 2
        assert 0 < found["use"]["memory"] < found["limits"]["memory"]
        assert 0 < found["use"]["pids"] < found["limits"]["pids"]
        assert found["use"]["cpu"] <= 2 * found["uptime"], "its own, and not the machine's"
        head, line = tried(world, "ps").stdout.splitlines()
        cells = dict(zip(head.split(), line.replace("claude-code 2.1", "claude-code").split(), strict=True))
        assert (cells["SERVER"], cells["CLIENT"], cells["STATE"]) == ("files", "claude-code", "running")
        assert cells["MEMORY"].endswith("M/512M")
        assert found["session"] in tried(world, "ps", "--wide").stdout
    assert sessions(world) == []


@pytest.mark.backends(docker="user")
def test_a_client_cannot_drive_the_terminal(world: World) -> None:
    with sandboxes(world, "files") as (server,):
        introduce(server, "\x1b]0;owned\x07\r\nfake  base", "[bold]\u202e")
        for words in (("ps",), ("top", "--once")):
            shown = tried(world, *words).stdout
            assert "\\x1b]0;owned" in shown
            assert shown.replace("\n", "").isprintable()
            assert sum("files" in line or "fake" in line for line in shown.splitlines()) == 1


def test_one_that_does_not_answer_is_shown_all_the_same(world: World) -> None:
    with sandboxes(world, "quiet") as (quiet,):
        (pid,) = [one["pid"] for one in sessions(world)]
        os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            (found,) = sessions(world)
            assert time.monotonic() - started < 10.0
        finally:
            os.kill(pid, signal.SIGCONT)
        assert found["state"] == "no answer"
        assert "use" not in found
        assert quiet.call("processes.parent")
