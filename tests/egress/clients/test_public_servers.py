"""Public MCP servers that use the network, under their shipped profiles: what they fetch is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attacks.inside import RUN, World
from tests.conftest import REAL_HOME, Require
from tests.egress.clients.inside import QUICK_S, InTestHost, Line, begun
from tests.egress.internet import Internet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SETTINGS = (("NPM_CONFIG_USERCONFIG", ".npmrc"), ("PIP_CONFIG_FILE", ".config/pip/pip.conf"))
"""Where packages come through is the machine's business; an ordinary user cannot read root's files."""

Serve = Callable[..., InTestHost]


@pytest.fixture(scope="session")
def built() -> set[tuple[str, str]]:
    """Callers, and the profiles whose packages they have."""
    return set()


@pytest.fixture
def serve(internet: Internet, world: World, built: set[tuple[str, str]]) -> Iterator[Serve]:
    """Starts a shipped profile's server in the test host; its package came by the machine's own network."""
    made: list[InTestHost] = []

    def serving(profile: str, trust: str, *options: str) -> InTestHost:
        command = [*world.prefix(), sys.executable, "-c", RUN, "run", "--profile", profile]
        if (world.caller, profile) not in built:
            _build(world, command)
            built.add((world.caller, profile))
        internet.begin()
        trusting = ["--allow-read", str(internet.ca_file), "--allow-env", trust]
        made.append(
            InTestHost(internet, world, [*command, *trusting, *options], {trust: str(internet.ca_file)})
        )
        made[-1].initialize()
        return made[-1]

    yield serving
    for one in made:
        one.close()


def _build(world: World, command: list[str]) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PYENV"))}
    environ = {**kept, **_settings(world), **world.environ}
    done = subprocess.run(
        command, env=environ, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


def _settings(world: World) -> dict[str, str]:
    found = {}
    for name, place in SETTINGS:
        source = Path(os.environ.get(name) or REAL_HOME / place)
        if source.is_file():
            copy = world.base / source.name.lstrip(".")
            copy.touch(0o600)
            shutil.copyfile(source, copy)
            found[name] = str(world.own(copy))
    return found


def told(answer: Line) -> str:
    """The text of a tool's answer, or of an error."""
    result = answer.get("result", {})
    return "\n".join(part["text"] for part in result.get("content", [])) or str(answer.get("error", ""))


def test_fetch(serve: Serve, internet: Internet) -> None:
    server = serve("fetch", "SSL_CERT_FILE", "--allow-net", "allowed.test:80", "--allow-net", "allowed.test")
    for scheme in ("http", "https"):
        url = f"{scheme}://allowed.test/{scheme}"
        answer = server.request("tools/call", name="fetch", arguments={"url": url})
        assert "hello allowed.test" in told(answer), answer
    asked = [(one["port"], one["host"], one["path"]) for one in internet.requests()]
    assert asked == [
        (port, "allowed.test", path)
        for port, scheme in ((80, "http"), (443, "https"))
        for path in ("/robots.txt", f"/{scheme}")
    ]
    assert set(internet.names_asked()) == {"allowed.test"}
    before, began = internet.mark(), time.monotonic()
    answer = server.request("tools/call", name="fetch", arguments={"url": "https://evil.test/page"})
    assert time.monotonic() - began < QUICK_S
    assert answer.get("error") or answer["result"].get("isError"), answer
    assert "denied `evil.test`" in told(answer)
    assert begun(internet, before) == []
    assert server.denied() == {"evil.test"}


def test_context7(serve: Serve, internet: Internet, require: Require) -> None:
    require("npx")
    server = serve("context7", "NODE_EXTRA_CA_CERTS")
    arguments = {"libraryId": "/some/library", "query": "how it is used"}
    answer = server.request("tools/call", name="query-docs", arguments=arguments)
    assert told(answer) == "hello context7.com\n", answer
    (asked,) = internet.requests()
    assert (asked["sni"], asked["host"]) == ("context7.com", "context7.com")
    assert asked["path"].startswith("/api/")
    assert set(internet.names_asked()) == {"context7.com"}
    assert server.denied() == set()
