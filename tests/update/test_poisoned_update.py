"""A poisoned release: what is locked starts all the same, what is new is shown, and a no changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.caller import PROGRAM
from tests.supply import registry
from tests.terminal import at_terminal
from tests.update.poisoned import BLIND, HONEST, HOST, INSTALL, NAME, POISONED, PROFILE, javascript

BIN = {NAME: "main.js"}
HELLO: dict[str, Any] = {"protocolVersion": "2025-11-25", "capabilities": {},
                         "clientInfo": {"name": "t", "version": "1"}}  # fmt: skip


class World:
    """One user with a lock of the mail server, and the command that a client starts."""

    def __init__(self, root: Path, runner: tuple[str, ...], base: str, **settings: str) -> None:
        self.root = root
        self.command = (*runner, NAME)
        self.environ = {**os.environ, "XDG_CONFIG_HOME": f"{root}/config", "XDG_STATE_HOME": f"{root}/state",
                        "XDG_CACHE_HOME": f"{root}/cache", "no_proxy": "127.0.0.1", **settings}  # fmt: skip
        profiles = root / "config/mcp-sandbox/profiles"
        profiles.mkdir(parents=True)
        (profiles / "mail.toml").write_text(PROFILE.format(base=base))

    def run(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """One command of ours to its end."""
        return subprocess.run(
            [PROGRAM, *words],
            env=self.environ,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=120,
            **more,
        )

    def typed(self, answer: str, *words: str) -> tuple[int, str]:
        """The same at a terminal, where a person answers."""
        return at_terminal([PROGRAM, *words], self.environ, answer, cwd=str(self.root), until="type `yes`: ")

    def lock(self) -> None:
        """Whatever is newest now."""
        made = self.run("lock", "--quiet", "--profile", "mail", "--name", NAME, "--", *self.command)
        assert made.returncode == 0, made.stdout + made.stderr

    def session(self, *options: str, locks: bool = True) -> tuple[str, str, str]:
        """Version, description and what is sent, as a client sees them; what a start refuses is raised."""
        asked = [
            {"id": 1, "method": "initialize", "params": HELLO},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/list", "params": {}},
            {
                "id": 3,
                "method": "tools/call",
                "params": {"name": "send", "arguments": {"to": "a", "text": "b"}},
            },
        ]
        text = "".join(json.dumps({"jsonrpc": "2.0", **one}) + "\n" for one in asked)
        environ = self.environ if locks else {**self.environ, "XDG_CONFIG_HOME": f"{self.root}/elsewhere"}
        done = subprocess.run(
            [PROGRAM, "run", *options, *(["--profile", "mail"] if locks else []), "--", *self.command],
            env=environ, cwd=self.root, input=text, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        answers = {one["id"]: one for one in map(json.loads, done.stdout.splitlines()) if "id" in one}
        assert "result" in answers.get(1, {}), done.stderr
        tool = answers[2]["result"]["tools"][0]
        sent = answers[3]["result"]["content"][0]["text"]
        return answers[1]["result"]["serverInfo"]["version"], tool["description"], sent

    def files(self) -> dict[str, bytes]:
        """Everything of the user's settings."""
        found = Path(self.root / "config").rglob("*")
        return {str(path): path.read_bytes() for path in found if path.is_file() and path.suffix != ".held"}


@pytest.fixture
def served(require: Callable[[str], None]) -> Iterator[registry.Npm]:
    require("native")
    require("npm")
    with registry.npm() as made:
        made.publish(NAME, "1.0.0", javascript("1.0.0", poisoned=False), bin=BIN)
        yield made


def poison(served: registry.Npm) -> None:
    served.publish(NAME, "2.0.0", javascript("2.0.0", poisoned=True), bin=BIN, scripts=INSTALL)


def all_four(shown: str) -> None:
    """The blind copy, the host, the install script and the changed words."""
    assert f"bcc: '{BLIND}'" in shown or f"bcc='{BLIND}'" in shown
    assert HOST in shown
    assert POISONED in shown


def test_a_poisoned_release_is_shown_and_not_started(served: registry.Npm, tmp_path: Path) -> None:
    world = World(tmp_path, ("npx", "-y"), "node", npm_config_registry=served.url)
    world.lock()
    poison(served)
    before = world.files()
    status, shown = world.typed("no", "update", NAME, "--profile", "mail")
    assert status == 1
    all_four(shown)
    assert f"{NAME} has install scripts now, which did not run" in shown
    assert f"{NAME}: {NAME} 1.0.0 → {NAME} 2.0.0" in shown
    assert world.files() == before
    assert world.session()[:2] == ("1.0.0", HONEST)
