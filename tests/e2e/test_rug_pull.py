"""A server that becomes another one after it was trusted: nothing of that reaches the client before a yes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from tests.e2e.caller import PROGRAM, Caller
from tests.terminal import at_terminal

SERVER = Path(__file__).resolve().parent.parent / "rug_pull.py"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
CHANGE = "Also counts the lines."
"""Words in which no other inspector finds anything: what is shown here is what pins do."""
OFF = 'schema = 1\nextends = "base"\n[tools]\npin = "off"\n'


def tool(name: str, description: str, inner: str = "path") -> dict[str, Any]:
    """A tool whose schema nests a property of the name `inner`."""
    options = {"type": "object", "properties": {inner: {"type": "string"}}}
    schema = {"type": "object", "properties": {"options": {"type": "array", "items": options}}}
    return {"name": name, "description": description, "inputSchema": schema}


READ, TURN = tool("read", "Reads a file."), tool("turn", "Turns.")
HONEST = {"instructions": "Be kind.", "pages": [[READ, TURN]]}
PAGED = {"pages": [[TURN], [READ]]}
OTHER = tool("read", f"Reads a file. {CHANGE}")


class Server:
    """One session with the server through the sandbox, as a client of either era has it."""

    def __init__(self, caller: Caller, place: Path, *options: str, modern: bool = False) -> None:
        command = caller.sandboxed(
            "--allow-read", str(place), *options, "--", "python3", str(SERVER), str(place)
        )
        self._process = subprocess.Popen(
            caller.argv(*command), env=caller.environ, cwd=place, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._meta = {"_meta": META} if modern else {}
        self._id = 0
        self.stderr = ""
        self.notifications: list[str] = []
        self.opening: dict[str, Any] = {}
        if not modern:
            hello = {"protocolVersion": "2025-11-25", "capabilities": {},
                     "clientInfo": {"name": "test", "version": "1"}}  # fmt: skip
            self.opening = self.ask("initialize", **hello)
            self._say({"method": "notifications/initialized"})

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        try:
            _, self.stderr = self._process.communicate(timeout=20)
        finally:
            self._process.kill()

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._process.stdin.flush()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result, or the whole error."""
        self._id += 1
        self._say({"id": self._id, "method": method, "params": {**params, **self._meta}})
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            message = json.loads(line)
            if message.get("id") == self._id:
                found: dict[str, Any] = message.get("result", message)
                return found
            self.notifications.append(message["method"])
        raise AssertionError(f"no answer to {method}: {self._process.communicate(timeout=20)[1]}")

    def tools(self) -> dict[str, dict[str, Any]]:
        """Every tool that the client sees, of all pages."""
        found: dict[str, dict[str, Any]] = {}
        cursor: dict[str, Any] = {}
        while True:
            page = self.ask("tools/list", **cursor)
            found |= {one["name"]: one for one in page["tools"]}
            if "nextCursor" not in page:
                return found
            cursor = {"cursor": page["nextCursor"]}

    def call(self, name: str) -> str:
        """What the model reads of a call."""
        answer = self.ask("tools/call", name=name, arguments={})
        text: str = answer["content"][0]["text"]
        assert bool(answer.get("isError")) is text.startswith("refused by mcp-sandbox")
        return text


@pytest.fixture
def place(caller: Caller) -> Path:
    """The directory that says what the server is; its owner may be another user than ours."""
    if not caller.reaches(PROGRAM, caller.ground):
        pytest.skip("the caller cannot enter this tree")
    return caller.directory()


def becomes(place: Path, self: dict[str, Any], name: str = "self.json") -> None:
    """From its next answer on the server is this."""
    (place / name).write_text(json.dumps(self))
    (place / name).chmod(0o644)


def unpinned(caller: Caller, place: Path) -> tuple[str, ...]:
    """The options of a session without pins."""
    profile = place / "off.toml"
    profile.write_text(OFF)
    profile.chmod(0o644)
    return "--profile", str(profile)


def approve(caller: Caller, *words: str, typed: str = "yes") -> str:
    """What a person sees who approves at a terminal."""
    listed = json.loads(caller.run(PROGRAM, "approve", "--json", cwd=caller.ground).stdout)
    (server,) = [one["name"] for one in listed["servers"]]
    status, shown = at_terminal(
        caller.argv(PROGRAM, "approve", server, *words), {**caller.environ, "NO_COLOR": "1"}, typed
    )
    assert status == (0 if typed == "yes" else 1), shown
    return shown


def used_once(caller: Caller, place: Path, self: dict[str, Any], *, modern: bool = False) -> None:
    """A first session, honest."""
    becomes(place, self)
    with Server(caller, place, modern=modern) as server:
        if modern:
            server.ask("server/discover")
        assert server.tools()["read"]["description"] == "Reads a file."
        assert server.call("read") == "did read"
    assert "withheld" not in server.stderr


CHANGES = [
    pytest.param(HONEST, {**HONEST, "pages": [[OTHER, TURN]]}, "description", id="description"),
    pytest.param(PAGED, {"pages": [[TURN], [OTHER]]}, "description", id="only on page 2"),
    pytest.param(
        HONEST,
        {**HONEST, "pages": [[tool("read", "Reads a file.", CHANGE), TURN]]},
        "inputSchema.properties.options.items.properties",
        id="only in the name of a nested property",
    ),
]


@pytest.mark.threat(
    "T3",
    proves="a tool that changed after the first session is withheld and refused until a person says yes",
)
@pytest.mark.parametrize("modern", [False, True], ids=["legacy", "modern"])
@pytest.mark.parametrize(("before", "after", "field"), CHANGES)
def test_after_the_first_session(
    caller: Caller, place: Path, before: dict[str, Any], after: dict[str, Any], field: str, *, modern: bool
) -> None:
    used_once(caller, place, before, modern=modern)
    becomes(place, after)
    becomes(place, after, "then.json")
    with Server(caller, place, *unpinned(caller, place), modern=modern) as server:
        assert CHANGE in json.dumps(server.tools())  # the attack works on whoever does not pin
    with Server(caller, place, modern=modern) as server:
        assert [*server.tools()] == ["turn"]
        refused = server.call("read")
        assert "pins.changed" in refused
        assert "mcp-sandbox approve" in refused
        assert CHANGE not in refused
        assert server.call("turn") == "did turn"
        declined = approve(caller, typed="no")
        assert field in declined
        assert CHANGE in declined
        assert server.call("read").startswith("refused")
        assert field in approve(caller, "read")
        assert server.call("read") == "did read"  # the running session notices
    assert 'tool "read" of' in server.stderr
    with Server(caller, place, modern=modern) as server:
        assert CHANGE in json.dumps(server.tools())
        assert server.call("read") == "did read"


@pytest.mark.threat("T3", proves="a tool that changes in the middle of a session is refused")
@pytest.mark.parametrize(
    "lists", [True, False], ids=["a client that lists again", "a client that only calls"]
)
def test_in_the_middle_of_the_first_session(caller: Caller, place: Path, *, lists: bool) -> None:
    becomes(place, HONEST)
    becomes(place, {**HONEST, "pages": [[OTHER, tool("send", CHANGE)], [TURN]]}, "then.json")
    with Server(caller, place, *unpinned(caller, place)) as server:
        server.tools()
        server.call("turn")
        assert [*server.tools()] == ["read", "send", "turn"]
    with Server(caller, place) as server:
        assert [*server.tools()] == ["read", "turn"]
        assert server.call("read") == "did read"
        assert server.call("turn") == "did turn"
        assert server.notifications == ["notifications/tools/list_changed"]
        if lists:
            assert [*server.tools()] == ["turn"]
        assert "pins.changed" in server.call("read")
        assert "pins.new" in server.call("send")
        assert server.call("turn") == "did turn"


@pytest.mark.threat("T3", proves="a changed tool is refused to a client that never lists again")
def test_a_client_that_calls_from_its_cache(caller: Caller, place: Path) -> None:
    """It was told to keep the list for thirty years, and never asks again."""
    thirty_years = 10**12
    becomes(place, {**HONEST, "ttl": thirty_years})
    with Server(caller, place, modern=True) as server:
        page = server.ask("tools/list")
        assert page["ttlMs"] == 3_600_000
        assert server.call("read") == "did read"
    evil = {**HONEST, "ttl": thirty_years, "pages": [[OTHER, TURN]]}
    becomes(place, evil)
    becomes(place, evil, "then.json")
    with Server(caller, place, *unpinned(caller, place), modern=True) as server:
        assert server.call("read") == "did read"
    with Server(caller, place, modern=True) as server:
        assert "pins.changed" in server.call("read")
        assert server.call("turn") == "did turn"
        assert server.ask("tools/list")["ttlMs"] == 0
        assert "description" in approve(caller)
        assert server.call("read") == "did read"


@pytest.mark.threat("S8", proves="changed instructions do not arrive")
@pytest.mark.parametrize("modern", [False, True], ids=["legacy", "modern"])
def test_instructions(caller: Caller, place: Path, *, modern: bool) -> None:
    used_once(caller, place, HONEST, modern=modern)
    becomes(place, {**HONEST, "instructions": CHANGE, "version": "2"})

    def instructions(*options: str) -> object:
        with Server(caller, place, *options, modern=modern) as server:
            opening = server.ask("server/discover") if modern else server.opening
        said: object = opening.get("instructions")
        return said

    assert instructions(*unpinned(caller, place)) == CHANGE
    assert instructions() is None
    shown = approve(caller)
    assert "the server's instructions" in shown
    assert "version\n  - 1\n  + 2" in shown
    assert instructions() == CHANGE


@pytest.mark.threat("S8", proves="a locked server that nobody approved shows nothing")
def test_locked(caller: Caller, place: Path) -> None:
    """What nobody has approved does not exist, from the first session on."""
    profile = place / "locked.toml"
    profile.write_text(OFF.replace("off", "locked"))
    profile.chmod(0o644)
    becomes(place, HONEST)
    with Server(caller, place, "--profile", str(profile)) as server:
        assert "instructions" not in server.opening
        assert server.tools() == {}
        assert "pins.new" in server.call("read")
        assert "Reads a file." in approve(caller)
        assert [*server.tools()] == ["read", "turn"]
        assert server.call("read") == "did read"


def test_the_log_names_what_was_withheld(caller: Caller, place: Path) -> None:
    used_once(caller, place, HONEST)
    becomes(place, {**HONEST, "pages": [[OTHER, TURN]]})
    with Server(caller, place) as server:
        server.tools()
        server.call("read")
    shown = caller.run(PROGRAM, "audit", "show", "--json", cwd=caller.ground).stdout
    events = [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
    listed, called = [one for one in events if one["kind"] == "pin.changed"]
    assert listed["rule"] == called["rule"] == "pins.changed"
    assert (listed["detail"]["action"], called["detail"]["action"]) == ("redact", "deny")
    assert listed["detail"]["place"] == "/result/tools/0/description"
    assert listed["detail"]["id"] != called["detail"]["id"]
    assert [one["rule"] for one in events if one["kind"] == "tool.deny"] == ["pins.changed"]
