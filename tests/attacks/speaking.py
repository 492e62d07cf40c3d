"""The attack program that speaks HTTP, behind `mcp-sandbox run`: its client sees stdin and stdout."""

from __future__ import annotations

import json
from typing import Any

from tests.attacks.inside import PYTHON, SECONDS, Answer, Attacker, World

PORT = 3000
INITIALIZE = {
    "jsonrpc": "2.0", "id": 0, "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
    },
}  # fmt: skip


def program(world: World, *words: str) -> tuple[str, ...]:
    """Its command line."""
    return (PYTHON, str(world.program / "listening.py"), *words)


class Speaker(Attacker):
    """One session with it; the texts of its tools are JSON."""

    def begin(self, seconds: float = SECONDS) -> Answer:
        """Opens the session; the answer."""
        self.tell(INITIALIZE)
        answer = self.message(seconds)
        assert "result" in answer, (answer, self.process.poll())
        self.tell({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def tell(self, message: dict[str, Any]) -> None:
        """One message, whatever it is."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def outcome(self, name: str, /, **arguments: Any) -> Answer:
        """`{"got": …}` or `{"failed": ERRNO}` of one attack."""
        self.ask(name, **arguments)
        message = self.message()
        assert "result" in message, message
        found: Answer = json.loads(message["result"]["content"][0]["text"])
        return found

    def got(self, name: str, /, **arguments: Any) -> Any:
        """What an attack gave that must succeed."""
        found = self.outcome(name, **arguments)
        assert "got" in found, f"{name}{arguments}: {found}"
        return found["got"]


def speaking(
    world: World, *words: str, options: tuple[str, ...] = (), port: int = PORT, **more: Any
) -> Speaker:
    """It runs, and nothing was said to it yet; `words` follow the port."""
    grants = ("--allow-read", str(world.program), "--http", str(port), *options)
    argv = world.command(*grants, server=program(world, str(port), *words))
    return Speaker(argv, world.environ, **more)
