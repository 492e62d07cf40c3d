"""A sandbox in the test host with clients in it, and what came of it: answers, the log, who was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.attacks.inside import PYTHON, Attacker, World
from tests.egress.clients.kit import PROGRAMS
from tests.egress.internet import Internet

SERVER = (PYTHON, str(PROGRAMS / "server.py"))
QUICK_S = 5.0
"""In less than this a client knows that it was denied: nothing hangs."""

Line = dict[str, Any]


class Sandbox(Attacker):
    """`mcp-sandbox run` in the test host, with a server that runs what it is told to."""

    def __init__(
        self, internet: Internet, world: World, profile: str, environ: Mapping[str, str] | None = None
    ) -> None:
        file = world.file("clients.toml", world.scratch, profile)
        self.log = world.scratch / f"{world.word}.jsonl"
        self.log.unlink(missing_ok=True)
        command = world.command("--profile", str(file), "--audit", str(self.log), server=SERVER)
        super().__init__([*internet.prefix(), *command], {**world.environ, **(environ or {})})

    def run(self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Line:
        """Runs a program to its end, as a child of the server: status, out, err, seconds."""
        words = [str(word) for word in argv]
        return self.call("run", child=False, argv=words, env=dict(env or {}))

    def lines(self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> list[Line]:
        """Runs a program that says one line of JSON for each thing that it tried."""
        done = self.run(argv, env)
        assert done["status"] == 0, done["err"]
        return list(map(json.loads, done["out"].splitlines()))

    def events(self, kind: str) -> list[Line]:
        """The details of the log's events of one kind so far."""
        lines = map(json.loads, self.log.read_text().splitlines())
        return [line["detail"] for line in lines if line["kind"] == kind]

    def denied(self) -> set[str]:
        """Ends the session: each `host:port` that was denied, and each name."""
        assert self.finish()[0] == 0
        told = [one for kind in ("dns.deny", "egress.deny") for one in self.events(kind) if "host" in one]
        return {f"{one['host']}:{one['port']}" if one["port"] else one["host"] for one in told}
