"""Servers that people run pass the inspectors as they are: nothing dropped, altered or found."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sandbox.examine.conversation import Conversation, Era
from tests.e2e.caller import PROGRAM
from tests.e2e.public import PUBLIC, Public
from tests.talking import TELLS, Client, events

ON = 'schema = 1\nextends = "base"\n'
OFF = """
[tools]
pin = "off"
[inspect]
protocol = "off"
poison = "off"
secrets = "off"
"""
SOME = {"everything"}
"""Those that other tests start too: the rest are built for minutes."""
MANY = [pytest.param(one, id=one.name, marks=() if one.name in SOME else pytest.mark.long) for one in PUBLIC]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def told(state: Path) -> list[dict[str, Any]]:
    """What the logs say that no honest server gives reason for."""
    return [event for event in events(state) if event["kind"] in TELLS]


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
