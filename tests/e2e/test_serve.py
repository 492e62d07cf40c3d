"""`mcp-sandbox serve` and `run --listen` from their start to their end."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.e2e.caller import PROGRAM, Caller
from tests.e2e.remains import descendants
from tests.e2e.served import TOKENS, Client, served
from tests.e2e.test_serve_apart import PROFILE, SERVER

END_S = 10.0
COMMAND = ("--allow-read", str(SERVER), "--", sys.executable, str(SERVER))


@contextmanager
def listening(caller: Caller, place: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """`run --listen` that serves, and the lines of its stderr until it does."""
    argv = caller.argv(PROGRAM, "run", "--listen", *words)
    with subprocess.Popen(argv, cwd=place, env=caller.environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines: list[str] = []
        while not (lines and "token" in lines[-1]):
            line = process.stderr.readline()
            assert line, lines
            lines.append(line)
        try:
            yield process, lines
        finally:
            process.send_signal(signal.SIGINT)
            process.stderr.read()
            assert process.wait(END_S) == 0


def status_of(lines: list[str], token: str) -> int:
    """What a POST of `ping` gets at the URL that was told."""
    told = re.search(r"http://127\.0\.0\.1:(\d+)(/\S+)", "".join(lines))
    assert told
    connection = http.client.HTTPConnection("127.0.0.1", int(told[1]), timeout=30)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    connection.request("POST", told[2], '{"jsonrpc":"2.0","id":1,"method":"ping"}', headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_a_token_is_told_once_and_kept(caller: Caller) -> None:
    place = caller.directory()
    with listening(caller, place, "127.0.0.1:0", *COMMAND) as (_, lines):
        token = lines[-1].split()[-1]
        assert status_of(lines, token) != 401
        assert status_of(lines, token[:-1]) == 401
    with listening(caller, place, "127.0.0.1:0", *COMMAND) as (_, lines):
        assert token not in "".join(lines)
        assert status_of(lines, token) != 401
    state = Path(caller.environ.get("XDG_STATE_HOME") or f"{caller.environ['HOME']}/.local/state")
    kept = state / "mcp-sandbox/serve/token"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text() == f"local {token}\n"


def test_nothing_is_left_of_a_front_that_is_killed(caller: Caller) -> None:
    with served(caller, PROFILE, "--quiet") as front:
        front.client("alice").begin()
        front.client("bob").begin()
        below = descendants(front.pid)
        assert len(below) >= 8, "two sandboxes"
        front.process.send_signal(signal.SIGKILL)
        assert front.process.wait(END_S) == -signal.SIGKILL
        until = time.monotonic() + 4
        while (left := [pid for pid in below if Path(f"/proc/{pid}").exists()]) and time.monotonic() < until:
            time.sleep(0.02)
        assert not left
    done = caller.run(PROGRAM, "ps", "--json", cwd=caller.directory())
    assert json.loads(done.stdout)["sessions"] == []


@pytest.mark.threat("S1", proves="a client without its token gets 401, and the log that holds says so")
@pytest.mark.threat("C1", proves="a client without its token gets 401, and the log that holds says so")
def test_its_log_says_who_came_and_who_was_refused_and_holds(caller: Caller) -> None:
    with served(caller, PROFILE, "--quiet") as front:
        front.client("alice").begin()
        assert front.client("mallory").send("POST", {"jsonrpc": "2.0", "id": 1, "method": "ping"})[0] == 401
        assert front.end() == 0
    state = Path(caller.environ.get("XDG_STATE_HOME") or f"{caller.environ['HOME']}/.local/state")
    (log,) = (state / "mcp-sandbox/audit").glob("*-serve-*.jsonl")
    assert caller.run(PROGRAM, "audit", "verify", str(log), cwd=caller.directory()).returncode == 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    kinds = [one["kind"] for one in events]
    assert kinds[0] == "session.start"
    assert kinds[-1] == "session.end"
    assert {"http.open", "http.refused", "http.close"} < set(kinds)
    (opened,) = [one for one in events if one["kind"] == "http.open"]
    assert opened["detail"]["principal"] == "alice"
    assert not [token for token in TOKENS.values() if token in log.read_text()]


@pytest.mark.threat("C1", proves="the unix socket is 0600 in a folder of its owner's alone")
def test_a_unix_socket_is_its_owners(caller: Caller) -> None:
    place = caller.directory()
    path = place / "own" / "socket"
    argv = caller.argv(PROGRAM, "run", "--listen", f"unix:{path}", *COMMAND)
    with subprocess.Popen(argv, cwd=place, env=caller.environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while f"serving unix:{path} /mcp" not in (line := process.stderr.readline()):
            assert line
        ask = (
            "import socket,sys\n"
            "s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
            "s.sendall(b'GET /mcp HTTP/1.1\\r\\nHost: x\\r\\nAccept: text/event-stream\\r\\n\\r\\n')\n"
            "print(s.recv(99).decode().split()[1])"
        )
        own = caller.run(sys.executable, "-c", ask, str(path), cwd=place)
        assert own.stdout.strip() in ("400", "404", "405"), "its owner is answered by the sessions"
        process.terminate()
        assert process.wait(END_S) == 0
    assert not path.exists()


FLOOD = (
    "import os, sys; sys.stderr.write(100000 * 'nobody reads this\\\\n'); "
    f"os.execv(sys.executable, [sys.executable, '{SERVER}'])"
)
FLOODING = f"""
schema = 1
extends = "base"
[server]
command = ["{sys.executable}", "-c", "{FLOOD}"]
[files]
read = ["{SERVER}"]
"""


def test_nobody_is_held_up_by_a_server_whose_stderr_nobody_reads(caller: Caller) -> None:
    place = caller.directory()
    path, tokens = place / "it.toml", place / "tokens"
    path.write_text(FLOODING)
    tokens.write_text("".join(f"{name} {token}\n" for name, token in TOKENS.items()))
    tokens.chmod(0o600)
    os.chown(tokens, caller.uid, caller.gid)
    argv = [PROGRAM, "serve", "--json", "--listen", "127.0.0.1:0", "--token-file", str(tokens), f"it={path}"]
    with subprocess.Popen(
        caller.argv(*argv), cwd=place, env=caller.environ, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process, ExitStack() as stack:  # fmt: skip
        assert process.stdout is not None
        stack.callback(process.kill)
        url = json.loads(process.stdout.readline())["urls"]["it"]
        for name in TOKENS:
            client = stack.enter_context(closing(Client(url, name)))
            assert client.begin().ask("ping") == {}
        process.terminate()
        assert process.wait(END_S) == 0
        assert process.stderr is not None
        assert len(process.stderr.read()) < 1 << 20
