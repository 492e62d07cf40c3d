"""The demo shows what is so: rows are measured, and turn when the sandbox has a hole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox.cli import main
from sandbox.demo import measure, play
from sandbox.demo.attempts import attempts
from sandbox.demo.canaries import World
from sandbox.demo.client import own_program
from sandbox.prepare import prepare
from sandbox.prepared import Prepared
from tests.conftest import Require, caller

NETWORK = {"dns", "connect"}


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def run(*options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*own_program(), "demo", *options],
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        check=False,
    )


def left(home: Path, scratch: Path) -> list[Path]:
    return [*home.glob(".mcp-sandbox-demo-*"), *scratch.glob("*mcp-sandbox-demo-*")]


@pytest.mark.threat(
    "H2", proves="a real server works while 10 attempts from its sandbox fail, each with its control"
)
def test_a_real_server_works_and_nothing_else_does(require: Require, own_home: Path, tmp_path: Path) -> None:
    require("native")
    done = run("--json", TMPDIR=str(tmp_path))
    shown = document(done)
    assert done.returncode == 0, shown
    assert next(iter(shown)) == "schema"
    assert shown["caller"] == caller()
    assert shown["server"]["tools"]
    assert shown["call"]["worked"]
    rows = {row["id"]: row for row in shown["rows"]}
    assert len(rows) == 10
    assert [name for name, row in rows.items() if not row["blocked"]] == []
    # The control: every attempt succeeds without the sandbox, but for what this user may not do at all.
    unable = {name for name, row in rows.items() if not row["outside"]["reached"]}
    assert unable == (set() if os.geteuid() == 0 else {"shadow"})
    assert shown["audit"]["ok"]
    assert left(own_home, tmp_path) == []


def test_the_table_is_plain_where_nobody_watches(require: Require, tmp_path: Path) -> None:
    require("native")
    done = run(TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\033" not in done.stdout + done.stderr
    assert "10 of 10 attempts blocked, the server works" in done.stdout
    assert '"command": ' in done.stdout


def _with_the_hosts_network(*args: Any, **options: Any) -> Prepared:
    prepared = prepare(*args, **options)
    return replace(prepared, spec=replace(prepared.spec, network="host"))


def test_without_a_network_namespace_the_rows_of_the_network_turn(
    require: Require, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require("native")
    monkeypatch.setattr(play, "prepare", _with_the_hosts_network)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        status = main.main(["demo", "--json"])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    shown = json.loads(capsys.readouterr().out)
    assert status == 1
    assert not shown["ok"]
    assert {row["id"] for row in shown["rows"] if not row["blocked"]} == NETWORK
    assert {row["id"] for row in shown["rows"] if row["inside"]["reached"]} == NETWORK


def _never_runs(*args: Any, **options: Any) -> Prepared:
    prepared = prepare(*args, **options)
    argv = ("/usr/bin/no-such-program", *prepared.spec.argv[1:])
    return replace(prepared, spec=replace(prepared.spec, argv=argv))


def test_a_probe_that_never_ran_proves_nothing(require: Require) -> None:
    from contextlib import ExitStack

    require("native")
    from sandbox.demo.servers import tiny
    from sandbox.policy.flags import Flags
    from sandbox.prepared import Wish

    with ExitStack() as stack:
        world = World(os.environ, stack)
        server = tiny(world.granted, world.token)
        flags = Flags(allow_read=(world.granted,))
        prepared = _never_runs(Wish(server.command, os.environ, world.granted, flags=flags), print)
        (row,) = measure.rows(prepared, world, attempts(world)[:1], lambda _: None)
    assert not row.inside.reached
    assert not row.inside.measured
    assert not row.blocked


def test_no_registry_is_told_and_a_server_of_our_own_takes_over(
    require: Require, tmp_path: Path, own_home: Path
) -> None:
    require("native")
    require("node")
    (tmp_path / "npmrc").write_text("registry=http://127.0.0.1:9/\nfetch-retries=0\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = run(
        "--json",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        NPM_CONFIG_USERCONFIG=str(tmp_path / "npmrc"),
        NPM_CONFIG_REGISTRY="http://127.0.0.1:9/",
        TMPDIR=str(scratch),
    )
    shown = document(done)
    assert done.returncode == 0, shown
    assert "cannot be used here" in done.stderr
    assert "server-filesystem" in shown["server"]["fell_back"]
    assert shown["server"]["name"] == "tiny-file-server"
    assert len(shown["rows"]) == 10
    assert all(row["blocked"] for row in shown["rows"])
    assert left(own_home, scratch) == []


def test_a_demo_that_is_ended_half_way_leaves_nothing(
    require: Require, own_home: Path, tmp_path: Path
) -> None:
    require("native")
    child = subprocess.Popen(
        [*own_program(), "demo", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    deadline = time.monotonic() + 30
    while not left(own_home, tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    granted = next(tmp_path.glob("mcp-sandbox-demo-*"), None)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=20)
    assert child.returncode == 128 + signal.SIGTERM
    assert granted is not None
    assert left(own_home, tmp_path) == []
    assert _naming(str(granted)) == []


def _naming(text: str) -> list[str]:
    """Processes with `text` in their command line, once what is ending has had its two seconds."""
    deadline = time.monotonic() + 2
    while (found := _commands(text)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _commands(text: str) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in words and place.parent.name != str(os.getpid()):
            found.append(words)
    return found


def test_the_tiny_server_keeps_to_its_directory(tmp_path: Path) -> None:
    from sandbox.demo.servers import tiny

    (tmp_path / "given").mkdir()
    (tmp_path / "secret").write_text("secret")
    server = tiny(str(tmp_path / "given"), "")
    ask = {"name": "read_text_file", "arguments": {"path": "../secret"}}
    frame = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": ask})
    done = subprocess.run(
        [sys.executable, *server.command[1:]], input=frame + "\n", capture_output=True, text=True, timeout=20
    )
    assert json.loads(done.stdout)["result"]["isError"]
    assert "secret\n" not in done.stdout
