"""Servers that people run pass the inspectors as they are: nothing dropped, altered or found."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.examine.conversation import REVISIONS, Conversation, Era
from sandbox.wire.jsonrpc import Frame, FrameReader
from tests.e2e.caller import PROGRAM
from tests.e2e.public import PUBLIC, Public

PATIENCE_S = 60.0
DISCOVER_S = 20.0
ON = 'schema = 1\nextends = "base"\n'
OFF = """
[tools]
pin = "off"
[inspect]
protocol = "off"
poison = "off"
secrets = "off"
"""
TELLS = ("relay.dropped", "protocol.found", "poison.found", "secret.found", "secret.redacted", "pin.changed",
         "tool.deny", "tool.found", "request.found")  # fmt: skip

SOME = {"everything"}
"""Those that other tests start too: the rest are built for minutes."""
MANY = [pytest.param(one, id=one.name, marks=() if one.name in SOME else pytest.mark.long) for one in PUBLIC]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Client:
    """Leads the conversation of `inspect`, then makes calls; keeps the bytes of every answer."""

    def __init__(self, argv: list[str], cwd: Path, environ: dict[str, str]) -> None:
        self.child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd, env=environ
        )
        self.reader = FrameReader()
        self.answers: list[bytes] = []

    def lead(self, era: Era, calls: list[tuple[str, dict[str, Any]]]) -> Conversation:
        """All lists, what can be read without arguments, and the calls."""
        conversation = Conversation(era, read=True)
        self._say(conversation.start())
        if era == "modern" and not self._speaks(DISCOVER_S):
            conversation.refused = "no answer"  # a server of the legacy era may not even refuse
            return conversation
        for frame in self._heard():
            self._say(conversation.heard(frame))
            if conversation.done:
                break
        for at, (tool, given) in enumerate(calls if conversation.opened else []):
            self._call(era, f"call-{at}", tool, given)
        return conversation

    def _speaks(self, seconds: float) -> bool:
        return bool(select.select([self.child.stdout], [], [], seconds)[0])

    def _call(self, era: Era, id: str, tool: str, given: dict[str, Any]) -> None:
        params: dict[str, Any] = {"name": tool, "arguments": given}
        if era == "modern":
            meta = "io.modelcontextprotocol/"
            params["_meta"] = {
                f"{meta}protocolVersion": REVISIONS["modern"],
                f"{meta}clientCapabilities": {},
            }
        message = {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}
        self._say([json.dumps(message).encode() + b"\n"])
        for frame in self._heard():
            if frame.id == id:
                return

    def _say(self, lines: list[bytes]) -> None:
        assert self.child.stdin is not None
        for line in lines:
            self.child.stdin.write(line)
        self.child.stdin.flush()

    def _heard(self) -> Iterator[Frame]:
        assert self.child.stdout is not None
        out, deadline = self.child.stdout.fileno(), time.monotonic() + PATIENCE_S
        while True:
            left = max(0.0, deadline - time.monotonic())
            assert select.select([out], [], [], left)[0], "no answer"
            chunk = os.read(out, 1 << 16)
            assert chunk, self.child.stderr.read().decode() if self.child.stderr else ""
            for item in self.reader.feed(chunk):
                assert isinstance(item, Frame), item
                if item.kind == "response":
                    self.answers.append(bytes(item.data))
                yield item

    def end(self) -> str:
        """Its stderr, once all is over."""
        _, told = self.child.communicate(timeout=20)
        return told.decode()

    def kill(self) -> None:
        self.child.kill()
        self.child.communicate()


def told(state: Path) -> list[dict[str, Any]]:
    """What the logs say that no honest server gives reason for."""
    logs = [*state.rglob("*.jsonl")]
    assert logs
    events = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return [event for event in events if event["kind"] in TELLS]


def led(
    server: Public, era: Era, place: Path, cwd: Path, profile: Path
) -> tuple[list[bytes], Conversation, list[dict[str, Any]]]:
    """One session; its answers, and what its log tells."""
    state = place / "state"
    environ = {**os.environ, "XDG_STATE_HOME": str(state)}
    client = Client([PROGRAM, "run", "--profile", str(profile), *server.words(str(cwd))], cwd, environ)
    try:
        conversation = client.lead(era, server.asked(str(cwd)))
        client.end()
    finally:
        client.kill()
    return client.answers, conversation, told(state)


def settled(answer: bytes) -> bytes:
    """An answer without what is another one each time: moments, counts, process ids.

    Of a failure its code alone: what was denied on the network meanwhile is told in it (`relay.explain`).
    """
    message = json.loads(answer)
    if "error" in message or message["result"].get("isError"):
        return f"{message['id']} failed {message.get('error', {}).get('code')}".encode()
    return re.sub(rb"[0-9]+", b"0", answer)


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    """A directory that is a repository too."""
    made = tmp_path / "ground"
    made.mkdir()
    subprocess.run(["git", "init", "-q", str(made)], check=True)
    return made


@pytest.mark.parametrize("server", MANY)
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_nothing_of_an_honest_server_is_dropped_or_altered(
    server: Public, era: Era, tmp_path: Path, ground: Path, require: Any
) -> None:
    require("native")
    require("node")
    on, off = tmp_path / "on.toml", tmp_path / "off.toml"
    on.write_text(ON + server.profile)
    off.write_text(ON + server.profile + OFF)
    bare, without, _ = led(server, era, tmp_path / "off", ground, off)
    if without.opened is None:
        pytest.skip(f"speaks no {era} revision: {without.refused}")
    for _session in ("pinned", "held against the pins"):
        answers, conversation, found = led(server, era, tmp_path / "on", ground, on)
        assert found == []
        assert conversation.items == without.items
        assert [*map(settled, answers)] == [*map(settled, bare)]


@pytest.mark.parametrize("server", MANY)
def test_the_inspect_command_finds_nothing_in_an_honest_server(
    server: Public, tmp_path: Path, ground: Path, require: Any
) -> None:
    require("native")
    require("node")
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    (tmp_path / "on.toml").write_text(ON + server.profile)
    words = ["--profile", str(tmp_path / "on.toml"), *server.words(str(ground))]
    done = subprocess.run(
        [PROGRAM, "inspect", "--json", "--read", *words],
        cwd=ground, env=environ, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    document = json.loads(done.stdout)
    assert document["findings"] == []
    assert document["listed"]["tools"]
