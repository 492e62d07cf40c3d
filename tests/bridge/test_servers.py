"""Real servers through the bridge, which says to them what their own clients say."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bridge.driving import PATIENCE, Bridged, Json, at, bridged, call, modern, texts

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
MODES = [
    pytest.param([], id="sessions and streams"),
    pytest.param(["--json"], id="sessions and documents", marks=pytest.mark.long),
    pytest.param(["--stateless"], id="no sessions, streams", marks=pytest.mark.long),
    pytest.param(["--stateless", "--json"], id="no sessions, documents"),
]
SSE_SERVER = """
import socket, sys, uvicorn
from mcp.server.mcpserver import MCPServer
server = MCPServer("old")
@server.tool()
async def add(a: int, b: int) -> int:
    "Adds."
    return a + b
listener = socket.create_server(("127.0.0.1", 0))
print(f"http://127.0.0.1:{listener.getsockname()[1]}/sse", flush=True)
uvicorn.Server(uvicorn.Config(server.sse_app(), log_level="error")).run(sockets=[listener])
"""


@contextmanager
def started(*command: str) -> Iterator[int]:
    """The port of a server that says its URL when it listens."""
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=FIXTURES
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline()
        assert url, process.stderr.read() if process.stderr else ""
        yield int(url.split(":")[2].split("/")[0])
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module", params=MODES)
def everything(request: pytest.FixtureRequest) -> Iterator[tuple[int, bool]]:
    """The port of a server of the Python SDK, and whether it has sessions and streams for what it asks."""
    with started("everything.py", "--http", "0", *request.param) as port:
        yield port, not request.param


def test_a_client_of_a_session_is_served(everything: tuple[int, bool]) -> None:
    port, asks = everything
    with bridged(at(port)) as client:
        answer = client.open(capabilities={"sampling": {}})
        assert answer["result"]["protocolVersion"] == "2025-11-25"
        listed = client.ask(call(1, "tools/list"))
        assert len(listed["result"]["tools"]) > 20
        assert "simple text" in texts(client.ask(call(2, name="test_simple_text", arguments={})))[0]
        missing = client.ask(call(3, "resources/read", uri="test://missing"))
        assert missing["error"]["code"] < 0
        if asks:
            _it_asks(client)
        assert client.end() == 0
        assert client.rest == []


def _it_asks(client: Bridged) -> None:
    """A tool that needs the client's model gets its answer in the midst of its own."""
    client.send(call("s", name="test_sampling", arguments={"prompt": "say it"}))
    while (asked := client.receive()).get("method") != "sampling/createMessage":
        assert "id" not in asked, asked
    said: Json = {"role": "assistant", "content": {"type": "text", "text": "said"}, "model": "none"}
    client.send({"jsonrpc": "2.0", "id": asked["id"], "result": said})
    while (answer := client.receive()).get("id") != "s":
        assert "method" in answer
    assert "said" in texts(answer)[0]


def test_a_client_without_sessions_is_served(everything: tuple[int, bool]) -> None:
    port, _ = everything
    with bridged(at(port)) as client:
        found = client.ask(modern(1, "server/discover"))
        assert "2026-07-28" in found["result"]["supportedVersions"]
        assert "simple text" in texts(client.ask(modern(2, name="test_simple_text", arguments={})))[0]
        unknown = client.ask(modern(3, "no/such"))
        assert unknown["error"]["code"] == -32601
        assert client.end() == 0


def test_notifications_of_a_call_come_before_its_answer(everything: tuple[int, bool]) -> None:
    port, streams = everything
    with bridged(at(port)) as client:
        client.open()
        client.ask(call(1, name="test_tool_with_progress", arguments={}, _meta={"progressToken": 7}))
        said = [message["params"]["progress"] for message in client.passed if "progress" in str(message)]
        assert said == sorted(said)
        assert bool(said) or not streams


@pytest.mark.long
def test_an_old_server_of_the_python_sdk_is_served() -> None:
    with started("-W", "ignore", "-c", SSE_SERVER) as port, bridged(at(port, "/sse")) as client:
        client.open()
        assert texts(client.ask(call(1, name="add", arguments={"a": 2, "b": 3}))) == ["5"]
        assert client.end() == 0


SERVER_EVERYTHING = os.environ.get("MCP_SANDBOX_TEST_EVERYTHING", "")


@pytest.mark.skipif(not SERVER_EVERYTHING, reason="names npm's server-everything, `dist/index.js`")
@pytest.mark.parametrize(("kind", "path"), [("streamableHttp", "/mcp"), ("sse", "/sse")])
def test_server_everything_is_served(kind: str, path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    command = ["node", SERVER_EVERYTHING, kind]
    environment = {**os.environ, "PORT": str(port)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            with bridged(at(port, path)) as client:
                client.open()
                assert texts(client.ask(call(1, name="echo", arguments={"message": "a"}))) == ["Echo: a"]
                long = call(
                    2, name="trigger-long-running-operation", arguments={"duration": 0.2, "steps": 2},
                    _meta={"progressToken": 1},
                )  # fmt: skip
                client.ask(long, PATIENCE)
                assert len(client.passed) == 2
                assert client.end() == 0
        finally:
            server.kill()
