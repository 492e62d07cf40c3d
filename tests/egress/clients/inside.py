"""A sandbox in the test host with clients in it, and what came of it: answers, the log, who was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.attacks.inside import PYTHON, Attacker, World
from tests.egress.clients.kit import PROGRAMS
from tests.egress.internet import Internet, Mark, Packet

SERVER = (PYTHON, str(PROGRAMS / "server.py"))
QUICK_S = 5.0
"""In less than this a client knows that it was denied: nothing hangs."""

Line = dict[str, Any]


def begun(internet: Internet, since: Mark) -> list[Packet]:
    """What left the test host of anything that did not begin before: late ends of allowed connections do."""
    left = internet.outside_packets(since=since)
    return [one for one in left if (one.get("opened") or since.packet) >= since.packet]


class InTestHost(Attacker):
    """A sandbox in the test host, and its log."""

    def __init__(
        self, internet: Internet, world: World, command: Sequence[str], environ: Mapping[str, str]
    ) -> None:
        self.log = world.scratch / f"{world.word}.jsonl"
        self.log.unlink(missing_ok=True)
        at = command.index("run") + 1
        words = [*command[:at], "--audit", str(self.log), *command[at:]]
        super().__init__([*internet.prefix(), *words], {**world.environ, **environ})

    def events(self, kind: str) -> list[Line]:
        """The details of the log's events of one kind so far."""
        lines = map(json.loads, self.log.read_text().splitlines())
        return [line["detail"] for line in lines if line["kind"] == kind]

    def denied(self) -> set[str]:
        """Ends the session: each `host:port` that was denied, and each name."""
        assert self.finish()[0] == 0
        told = [one for kind in ("dns.deny", "egress.deny") for one in self.events(kind) if "host" in one]
        return {f"{one['host']}:{one['port']}" if one["port"] else one["host"] for one in told}

    def request(self, method: str, **params: Any) -> Line:
        """The answer to one request, as a client of MCP makes it."""
        self._calls += 1
        self.say({"id": self._calls, "method": method, "params": params})
        while (message := self.message()).get("id") != self._calls:
            assert message, self.finish()
        return message

    def say(self, message: Line) -> None:
        """One message to the server."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def initialize(self) -> None:
        """Opens the conversation, as every client does."""
        client = {"name": "test", "version": "1"}
        answer = self.request("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)
        assert "result" in answer, answer
        self.say({"method": "notifications/initialized"})


class Sandbox(InTestHost):
    """`mcp-sandbox run` with a server that runs what it is told to."""

    def __init__(
        self, internet: Internet, world: World, profile: str, environ: Mapping[str, str] | None = None
    ) -> None:
        file = world.file("clients.toml", world.scratch, profile)
        command = world.command("--profile", str(file), server=SERVER)
        super().__init__(internet, world, command, environ or {})

    def run(self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Line:
        """Runs a program to its end, as a child of the server: status, out, err, seconds."""
        words = [str(word) for word in argv]
        return self.call("run", child=False, argv=words, env=dict(env or {}))

    def lines(self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> list[Line]:
        """Runs a program that says one line of JSON for each thing that it tried."""
        done = self.run(argv, env)
        assert done["status"] == 0, done["err"]
        return list(map(json.loads, done["out"].splitlines()))
