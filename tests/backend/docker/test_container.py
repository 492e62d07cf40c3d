"""What the engine's events say of a container's end."""

from __future__ import annotations

from typing import Any

from sandbox.backend.docker.container import late_kills

END = {"Action": "die", "time": 1_700_000_000, "Actor": {"Attributes": {"exitCode": "137"}}}


class Events:
    """An engine that tells these, and what it was asked for."""

    def __init__(self, *actions: str) -> None:
        self.actions = actions
        self.asked: dict[str, Any] = {}

    def events(self, **asked: Any) -> list[dict[str, Any]]:
        self.asked = asked
        return [{"Action": action} for action in self.actions]


def test_a_kill_by_the_memory_limit_counts_though_it_is_told_after_the_end() -> None:
    engine: Any = Events("create", "start", "die", "oom")
    assert late_kills(engine, "c", END) == 1
    assert engine.asked["until"] == END["time"] + 1
    assert engine.asked["filters"] == {"container": ["c"]}


def test_a_kill_by_anybody_else_does_not() -> None:
    engine: Any = Events("create", "start", "kill", "die")
    assert late_kills(engine, "c", END) == 0
