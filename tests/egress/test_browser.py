"""A browser in a container: Chromium, driven by Playwright's server, sees one page of the internet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import images
from sandbox.errors import SandboxError
from tests import backends
from tests.attacks.inside import RUN, Attacker
from tests.conftest import REAL_HOME, Require
from tests.egress.internet import Internet

PACKAGE = "@playwright/mcp@0.0.83"
BUILD_S = 900
PAGE = "http://allowed.test/"
PROFILE = f"""
schema = 1
extends = "node"
[server]
image = "browser"
command = ["npx", "-y", "{PACKAGE}", "--headless", "--isolated", "--executable-path", "/usr/bin/chromium"]
[files]
home = "256M"
tmp = "256M"
[network]
allow = ["allowed.test:80"]
[quota]
memory = "2G"
pids = 512
disk = "1G"
cpus = 2.0
[syscalls]
tier = "browser"
"""


CLIENT = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
OPENING: list[dict[str, Any]] = [
    {"id": "open", "method": "initialize", "params": CLIENT},
    {"method": "notifications/initialized"},
]


@pytest.fixture
def browser(require: Require) -> None:
    """The image, made once in an engine."""
    require("docker")
    backends.await_builds(REAL_HOME / ".local" / "state")
    try:
        images.find("browser", os.environ)
    except SandboxError:
        words = [sys.executable, "-c", RUN, "image", "build", "browser"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=BUILD_S)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def server(internet: Internet, browser: None, tmp_path: Path) -> Iterator[Attacker]:
    """Playwright's server in a container whose gateway is in the test host."""
    profile = tmp_path / "browse.toml"
    profile.write_text(PROFILE)
    words = [sys.executable, "-c", RUN, "run", "--profile", str(profile)]
    # Built where there is a registry: a build goes out as its caller would, and the test host has none.
    built = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_S)
    assert built.returncode == 0, built.stderr
    argv = [*internet.prefix(), *words]
    with Attacker(argv, os.environ) as made:
        assert made.process.stdin is not None
        for message in OPENING:
            made.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        made.process.stdin.flush()
        assert "result" in made.message(120)
        yield made


def use(server: Attacker, tool: str, **arguments: Any) -> str:
    """What a tool of the browser's answered, as text."""
    server.ask(tool, **arguments)
    message = server.message(60)
    while message and "id" not in message:
        message = server.message(60)
    assert "result" in message, message or server.finish()
    return "\n".join(item.get("text", "") for item in message["result"]["content"])


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.timeout(1200)
@pytest.mark.threat(
    "D3", proves="a browser in a container sees the page that is allowed and no other", backend="docker"
)
def test_a_browser_sees_what_is_allowed(server: Attacker, internet: Internet) -> None:
    use(server, "browser_navigate", url=PAGE)
    assert "hello allowed.test" in use(server, "browser_evaluate", function="() => document.body.innerText")
    asked = {one["host"] for one in internet.requests()}
    assert asked == {"allowed.test"}
    before = internet.mark()
    said = use(server, "browser_navigate", url="http://evil.test/")
    assert "net::ERR_" in said
    assert [one for one in internet.requests(before) if one["host"] != "allowed.test"] == []
    # The control: the same page from the test host, without a sandbox.
    control = internet.run(["curl", "-sS", "http://evil.test/"])
    assert control.stdout.startswith("hello evil.test"), control.stderr
