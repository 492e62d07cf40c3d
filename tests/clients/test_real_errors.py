"""A server that cannot be started: real clients show why, in our own words."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.clients.real import CLAUDE, OPENCODE_CLI, Real, installed
from tests.conftest import Require
from tests.e2e.caller import PROGRAM

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.timeout(900)]

LOST = ["run", "--", "no-program-of-anybody", "--flag"]
CLAUDES = {"mcpServers": {"lost": {"type": "stdio", "command": PROGRAM, "args": LOST}}}
OPENCODES = {"mcp": {"lost": {"type": "local", "command": [PROGRAM, *LOST]}}}
SAID = re.compile(
    r"-32603: mcp-sandbox: command-not-found: `[^`]+` is in no directory of PATH; hint: give its"
)


@pytest.mark.parametrize(
    ("client", "content"),
    [pytest.param(CLAUDE, CLAUDES, id=CLAUDE.id), pytest.param(OPENCODE_CLI, OPENCODES, id=OPENCODE_CLI.id)],
)
def test_the_client_says_why(
    client: Real, content: object, own_home: Path, shared_cache: Path, tmp_path: Path, require: Require
) -> None:
    """Claude Code asks in the modern era first, and shows the answer to its second request."""
    require("npm")
    place = own_home / client.config
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(content))
    modules = installed(shared_cache / "clients", client.id, client.packages, scripts=client.scripts)
    environ = {
        "HOME": str(own_home),
        "PATH": os.environ["PATH"],
        "TERM": "dumb",
        "USER": "someone",
        **client.env,
    }
    done = subprocess.run(
        [modules / client.program, *client.words], cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert SAID.search(done.stdout + done.stderr), done.stdout + done.stderr
