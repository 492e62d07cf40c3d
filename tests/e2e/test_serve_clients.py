"""Real clients of every generation and era over HTTP: what they see is what they see over stdio."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.caller import Caller
from tests.e2e.served import TOKENS, Served, served

HERE = Path(__file__).parent
SERVER = HERE.parent / "fixtures" / "everything.py"
PROFILE = f"""
schema = 1
extends = "base"
[server]
command = ["{sys.executable}", "{SERVER}"]
[files]
read = ["{SERVER.parent}"]
[client]
sampling = "allow"
elicitation = "allow"
"""
PLAIN: list[tuple[str, dict[str, Any]]] = [
    ("add_numbers", {"a": 2, "b": 3}),
    ("test_image_content", {}),
    ("test_error_handling", {}),
    ("test_tool_with_progress", {}),
    ("test_tool_with_logging", {}),
]
ASKING: list[tuple[str, dict[str, Any]]] = [
    ("test_sampling", {"prompt": "hello"}),
    ("test_elicitation", {"message": "well?"}),
]
QUICK = ("python 2, auto",)
CLIENTS = ["python 2, legacy", "python 2, auto", "python 2, 2026-07-28", "python 1, legacy", "npm, legacy"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def front(caller: Caller) -> Iterator[Served]:
    with served(caller, PROFILE, "--quiet") as one:
        yield one


@pytest.fixture(params=[pytest.param(one, marks=() if one in QUICK else pytest.mark.long) for one in CLIENTS])
def client(request: pytest.FixtureRequest) -> tuple[str, list[str]]:
    """Its name, and the command that plays a script over HTTP."""
    name: str = request.param
    if name.startswith("npm"):
        program = Path(request.getfixturevalue("inspector"))
        sdk = program.parent.parent / "@modelcontextprotocol" / "sdk"
        return name, ["node", str(HERE / "http_client.mjs"), str(sdk)]
    python = request.getfixturevalue("first_generation") if name.startswith("python 1") else sys.executable
    return name, [python, str(HERE / "http_client.py")]


def _played(caller: Caller, command: list[str], script: dict[str, Any]) -> dict[str, Any]:
    done = caller.run(*command, json.dumps(script), cwd=caller.directory(), timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _over_stdio(caller: Caller, script: dict[str, Any]) -> dict[str, Any]:
    place = caller.directory()
    profile = place / "it.toml"
    profile.write_text(PROFILE)
    argv = caller.sandboxed("--quiet", "--profile", str(profile))
    era = "legacy" if script["era"] == "legacy" else "auto"
    whole = {**script, "argv": argv, "env": caller.environ, "cwd": str(place), "era": era}
    return _played(caller, [sys.executable, str(HERE / "client.py")], whole)


def test_a_client_sees_over_http_what_it_sees_over_stdio(
    caller: Caller, front: Served, client: tuple[str, list[str]]
) -> None:
    name, command = client
    era = name.partition(", ")[2]
    # The stateless era has no requests of servers; what takes their place is the conformance suites' matter.
    calls = PLAIN + (ASKING if era == "legacy" else [])
    script: dict[str, Any] = {
        "url": front.url, "token": TOKENS["alice"], "generation": 1 if "1" in name else 2,
        "era": era, "roots": [], "calls": calls,
    }  # fmt: skip
    found = _played(caller, command, script)
    expected = _over_stdio(caller, script)
    assert found["progress"] == expected["progress"]
    assert [tool["name"] for tool in found["tools"]] == [tool["name"] for tool in expected["tools"]]
    assert [_said(call) for call in found["calls"]] == [_said(call) for call in expected["calls"]]


def test_a_stream_that_broke_off_is_taken_up_again(front: Served) -> None:
    client = front.client("alice").begin()
    meta = {"progressToken": "p"}
    # The first answer only warms the server up.
    client.ask("tools/call", name="test_tool_with_progress", arguments={})
    body = {"jsonrpc": "2.0", "id": 50, "method": "tools/call"}
    params = {"name": "test_tool_with_progress", "arguments": {}, "_meta": meta}
    seen = client.broken_off({**body, "params": params})
    assert seen.data == b""
    rest = client.stream({"Last-Event-ID": seen.id})
    methods = [json.loads(event.data).get("method", "answer") for event in rest if event.data]
    assert methods == [*["notifications/progress"] * 3, "answer"]
    assert json.loads(rest[-1].data)["id"] == 50


def _said(call: dict[str, Any]) -> tuple[Any, bool]:
    """What of a result every generation of the SDKs keeps."""
    kept = ("type", "text", "data", "mimeType", "uri")
    content = [{name: one[name] for name in kept if name in one} for one in call["content"]]
    return content, bool(call.get("isError"))
