"""A server says its secret in every way: nothing of it is in what the client hears or in a file of ours."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.inspect.known import Known
from tests.corpus.secrets.making import Making
from tests.leaking import WAYS

PROGRAM = str(Path(sys.executable).with_name("mcp-sandbox"))
SERVER = Path(__file__).resolve().parent.parent / "leaking.py"
GRANTED = "q7KfA2LxZ0wEPb9Rt4-HsVuYc81NdJm3GeAo5Ti"
FOUND = Making(99).example("ghp_{w36}")
PROFILE = """
schema = 1
[secrets.TOKEN]
from = "env"
[env]
set = {{ FOUND = "{found}" }}
[files]
read = ["{server}"]
[inspect]
secrets = "{mode}"
"""


PAYLOADS = "[audit]\npayloads = true\n"


class Session:
    """One session with the leaking server, and all that came out of it."""

    def __init__(self, place: Path, mode: str, more: str = "") -> None:
        profile = place / "leaking.toml"
        profile.write_text(PROFILE.format(found=FOUND, server=SERVER, mode=mode) + more)
        self._process = subprocess.Popen(
            [PROGRAM, "run", "--profile", str(profile), "--", "python3", str(SERVER)],
            env={**os.environ, "TOKEN": GRANTED}, cwd=place, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._id = 0
        self.heard: list[dict[str, Any]] = []
        self.stderr = ""
        hello = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        }
        self.ask("initialize", **hello)
        self._say({"method": "notifications/initialized"})

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._process.stdin.flush()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The whole answer; what comes before it is kept too."""
        self._id += 1
        self._say({"id": self._id, "method": method, "params": params})
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            self.heard.append(json.loads(line))
            if self.heard[-1].get("id") == self._id:
                return self.heard[-1]
        raise AssertionError(self._process.communicate(timeout=20)[1])

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The answer to a call."""
        return self.ask("tools/call", name=tool, arguments=arguments)

    def end(self) -> None:
        """The client goes."""
        _, self.stderr = self._process.communicate(timeout=30)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the profile is."""
    return tmp_path


def session(place: Path, mode: str = "redact", more: str = "") -> Session:
    """A whole session in which the server does all it can."""
    made = Session(place, mode, more)
    made.ask("tools/list")
    for tool in WAYS:
        made.call(tool)
    return made


def files(home: Path) -> Iterator[Path]:
    """Every file that we wrote."""
    yield from (path for path in home.rglob("*") if path.is_file())


def telling(text: str) -> bool:
    """Whether enough of either secret is in a text, in any spelling, to be of use."""
    known = Known({"TOKEN": GRANTED, "FOUND": FOUND})
    return known.worth(text.encode())


@pytest.mark.threat(
    "S6",
    proves="a server says its secret in every way: nothing of it reaches client, log or file",
)
def test_nothing_of_a_secret_reaches_the_client_or_any_file(place: Path, own_home: Path) -> None:
    made = session(place)
    made.end()
    assert made.heard[2]["result"]["content"][0]["text"].startswith("token REDACTED_TOKEN_")
    for message in made.heard:
        # A decoder that the client has makes no more of it.
        assert not telling(json.dumps(message))
    assert "REDACTED_" in made.stderr
    assert not telling(made.stderr)
    written = [*files(own_home)]
    assert any(path.suffix == ".jsonl" for path in written)
    assert any("pins" in path.parts for path in written)
    for path in written:
        assert not telling(path.read_bytes().decode("utf-8", "replace")), path
        assert not telling(path.name)


def test_what_is_base64_stays_base64(place: Path) -> None:
    made = Session(place, "redact")
    blob = made.call("blob")["result"]["content"][0]["resource"]["blob"]
    made.end()
    assert base64.b64decode(blob).decode().startswith("token REDACTED_TOKEN_")


def test_the_attack_works_where_nobody_looks(place: Path, own_home: Path) -> None:
    made = session(place, "off")
    made.end()
    leaked = [message for message in made.heard if telling(json.dumps(message))]
    assert len(leaked) >= len(WAYS) - 2
    assert GRANTED in made.stderr


@pytest.mark.parametrize("mode", ["log", "block"])
def test_in_no_mode_is_a_secret_in_a_file(place: Path, own_home: Path, mode: str) -> None:
    made = session(place, mode)
    made.end()
    assert any(telling(json.dumps(message)) for message in made.heard) is (mode == "log")
    for path in files(own_home):
        assert not telling(path.read_bytes().decode("utf-8", "replace")), path


@pytest.mark.parametrize("mode", ["redact", "log", "off"])
def test_payloads_are_logged_without_secrets(place: Path, own_home: Path, mode: str) -> None:
    made = session(place, mode, PAYLOADS)
    made.call("plain", note="a note for the log")
    made.end()
    (log,) = own_home.rglob("*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    payloads = [event["detail"]["payload"] for event in events if "payload" in event["detail"]]
    assert any("a note for the log" in payload for payload in payloads)
    assert any("REDACTED_" in payload for payload in payloads)
    assert not telling(log.read_text())


def test_without_the_key_no_payload_is_logged(place: Path, own_home: Path) -> None:
    made = Session(place, "redact")
    made.end()
    (log,) = own_home.rglob("*.jsonl")
    assert "payload" not in log.read_text()


def test_the_log_says_what_was_taken_out_and_of_which_message(place: Path, own_home: Path) -> None:
    made = Session(place, "redact")
    made.call("plain")
    refused = made.call("plain", note=f"here: {Making(98).example('ghp_{w36}')}")
    made.end()
    (log,) = own_home.rglob("*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    taken = [event for event in events if event["kind"] == "secret.redacted" and "id" in event["detail"]]
    assert {event["rule"] for event in taken} == {"secrets.TOKEN", "secrets.github-token"}
    answers = {event["detail"]["id"] for event in events if event["kind"] == "relay.response"}
    assert {event["detail"]["id"] for event in taken} <= answers
    assert not any("sha256" in event["detail"] for event in taken)
    assert [event["rule"] for event in events if event["kind"] == "tool.deny"] == ["secrets.github-token"]
    assert refused["result"]["isError"] is True
    assert refused["result"]["_meta"]["mcp-sandbox/refused"]["rule"] == "secrets.github-token"
