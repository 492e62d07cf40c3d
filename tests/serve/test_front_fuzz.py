"""Drawn requests at a front with real sessions: an answer or an end to each, no fault, no growth."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.serve.serving import OTHER, TOKEN
from tests.serve.test_front_crowds import resident

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 5.0
"""Longer than any answer of these may take: what is slower counts as a hang."""
QUIET_S = 0.2
STATUS = re.compile(rb"(?:^|\r\n\r\n)HTTP/1\.1 ([0-9]{3}) ")
GROWTH = 24 << 20
METHODS = ["POST"] * 30 + ["GET"] * 3 + ["DELETE", "OPTIONS", "HEAD", "PUT", "TRACE", "post", "\0"]
TARGETS = ["/mcp"] * 40 + [
    "/github/mcp",
    "/",
    "*",
    "/mcp?a=b",
    "/%6dcp",
    "http://localhost/mcp",
    "/" + "a" * 5000,
]
FIELDS = [
    "Content-Type: application/json", "Content-Type: text/plain",
    "Accept: application/json, text/event-stream", "Accept: */*", "Accept: ,;q=",
    "Origin: https://evil.example", "Origin: null", "Connection: close", "Connection: upgrade",
    "Upgrade: websocket", "Expect: 100-continue", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip",
    "Content-Length: 5", "Content-Length: 99999999999", "MCP-Protocol-Version: 2025-11-25",
    "MCP-Protocol-Version: 2026-07-28", "MCP-Protocol-Version: x", "Mcp-Session-Id: nobody",
    "Last-Event-ID: 1.1", "Last-Event-ID: \xff", "Mcp-Method: tools/call", "Mcp-Name: =?base64?!?=",
    "Mcp-Param-A: 1", "Cookie: a=b", "X: " + "y" * 20000, "A\0: b", "no colon", " folded",
    "Content-Encoding: gzip",
]  # fmt: skip
BEGIN = {"jsonrpc": "2.0", "id": 2, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
MESSAGES = [
    {"jsonrpc": "2.0", "id": 1, "method": "ping"},
    {"jsonrpc": "2.0", "id": "x", "method": "echo", "params": {"a": [1, None, "\ud7ff"]}},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 7, "result": {}},
    BEGIN,
    {"jsonrpc": "2.0", "id": 3, "method": "echo", "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }}},
    [{"jsonrpc": "2.0", "id": 1, "method": "ping"}], {}, [], 5, None, "text",
]  # fmt: skip


def drawn(chance: random.Random, port: int, session: str) -> bytes:
    """One request, mostly nearly right."""
    body = json.dumps(chance.choice(MESSAGES) if session or chance.random() < 0.3 else BEGIN).encode()
    if chance.random() < 0.1:
        body = mangled(chance, body)
    lines = [f"{chance.choice(METHODS)} {chance.choice(TARGETS)} HTTP/1.{chance.choice('1111110')}"]
    fields = [f"Host: localhost:{port}", f"Authorization: Bearer {chance.choice([TOKEN, TOKEN, OTHER])}"]
    if chance.random() < 0.9:
        fields += [FIELDS[0], FIELDS[2]]
    if session and chance.random() < 0.8:
        fields.append(f"Mcp-Session-Id: {session}")
    fields += chance.sample(FIELDS, chance.choice([0, 0, 0, 1, 2]))
    if chance.random() < 0.05:
        fields.pop(chance.randrange(len(fields)))
    if not any(one.startswith(("Transfer", "Content-Length")) for one in fields) and chance.random() < 0.9:
        fields.append(f"Content-Length: {len(body)}")
    chance.shuffle(fields)
    data = "\r\n".join([*lines, *fields, "", ""]).encode("latin-1", "replace")
    if any("chunked" in one for one in fields):
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return mangled(chance, data + body) if chance.random() < 0.1 else data + body


def mangled(chance: random.Random, data: bytes) -> bytes:
    at, more = chance.randrange(len(data) + 1), chance.randbytes(chance.choice([0, 1, 4]))
    return data[:at] + more + data[at + chance.choice([0, 1, 1, 5]) :]


def exchanged(port: int, data: bytes, cut: int) -> tuple[int, bytes]:
    """The last status that is answered, 0 for none; who gets neither answer nor end in SECONDS hangs."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as one:
        got = b""
        with suppress(BrokenPipeError, ConnectionResetError):
            one.sendall(data[:cut])
            one.sendall(data[cut:])
        with suppress(ConnectionResetError):
            one.settimeout(QUIET_S)
            with suppress(TimeoutError):
                got = one.recv(1 << 16)
            if not got or got.startswith(b"HTTP/1.1 100"):  # it waits for more of us, which does not come
                with suppress(OSError):
                    one.shutdown(socket.SHUT_WR)
                one.settimeout(SECONDS)
                got += one.recv(1 << 16)
        statuses = STATUS.findall(got)
        return int(statuses[-1]) if statuses else 0, got


@contextmanager
def with_sessions(folder: Path) -> Iterator[tuple[int, int]]:
    """Pid and port of a front whose sessions are real and whose servers are fakes."""
    argv = [sys.executable, "-m", "tests.serve.alone", str(folder), "sessions"]
    log = folder / "stderr"
    with log.open("w") as errors, subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
    ) as process:  # fmt: skip
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.communicate(timeout=30)
        assert (process.returncode, log.read_text()) == (0, "")


# In CI a minute, once: as root, beside what takes longer.
MINUTE = [] if os.environ.get("CI") and os.geteuid() == 0 else [pytest.mark.long]


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=[*MINUTE, pytest.mark.timeout(300)])])
def test_every_request_gets_an_answer_or_an_end_and_no_fault(tmp_path: Path, seconds: float) -> None:
    seed = int(os.environ.get("MCP_SANDBOX_FUZZ_SEED") or time.time_ns() % (1 << 30))
    chance = random.Random(seed)  # noqa: S311 - to be drawn again
    seen: Counter[int] = Counter()
    session, count, settled = "", 0, 0
    with with_sessions(tmp_path) as (pid, port):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            data = drawn(chance, port, session)
            status, got = exchanged(port, data, chance.randrange(len(data) + 1))
            seen[status] += 1
            count += 1
            assert status < 500 or b"Retry-After" in got, (seed, data, got)
            if b"\r\nMcp-Session-Id: " in got:
                session = got.partition(b"\r\nMcp-Session-Id: ")[2].partition(b"\r\n")[0].decode()
            if status == 404 and chance.random() < 0.2:
                session = ""
            if count == 300:
                settled = resident(pid)
        assert resident(pid) - (settled or resident(pid)) < GROWTH, seed
    assert {200, 202, 400, 404} <= set(seen), (seed, seen)
    assert "fault" not in (tmp_path / "front.jsonl").read_text()
    sys.stdout.write(f"{count} requests: {sorted(seen.items())}\n")
