"""A login at a server and issuer that are the Python SDK's, and its token in a session of `run`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from sandbox.login import flow
from sandbox.login.address import Reach, checked
from sandbox.login.fetch import Asking
from sandbox.login.tokens import token_for
from tests.conftest import ROOT, Ready
from tests.login.sites import Browser

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}
LASTS = "6"
"""Seconds of a token, so that each start renews it and a session outlives it."""
PROFILE = """
schema = 1
[server]
url = "{url}"
ca = "{ca}"
[network]
allow = ["{place}"]
"""


@pytest.fixture
def url(authority: trustme.CA, tmp_path: Path) -> Iterator[str]:
    """The SDK's server."""
    cert = tmp_path / "chain.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(cert))
    issuer = [sys.executable, str(Path(__file__).with_name("sdk_issuer.py")), str(cert), LASTS]
    with subprocess.Popen(issuer, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            yield f"https://localhost:{int(running.stdout.readline())}/mcp"
        finally:
            running.kill()


def status(url: str, ca_file: str, token: str | None) -> int:
    """What the server says to a request with that token."""
    extra = (("Authorization", f"Bearer {token}"),) if token else ()
    place = checked(url, "it", Reach(loopback=True))
    asking = Asking(Reach(loopback=True), {}, ca_file)
    return asking.post(place, json.dumps(INITIALIZE).encode(), "application/json", extra, most=0).status


def test_a_login_at_the_sdks_own_issuer(url: str, ca_file: str, browser: Browser) -> None:
    assert status(url, ca_file, None) == 401
    first = flow.login(flow.Wish(url, ca=ca_file, browser=False), dict(os.environ), browser)
    browser.done()
    assert status(url, ca_file, first.secrets.access) == 200
    renewed = token_for(url, os.environ)  # seconds are not enough for a start
    assert renewed != first.secrets.access
    assert status(url, ca_file, renewed) == 200
    assert flow.logout(url, os.environ)
    assert status(url, ca_file, renewed) == 401


def words(profile: Path) -> list[str]:
    """`run` with that profile."""
    program = [sys.executable, "-c", "import sys; from sandbox.cli.main import main; sys.exit(main())"]
    return [*program, "run", "--profile", str(profile)]


def ran(profile: Path) -> subprocess.CompletedProcess[str]:
    """A session of `run` that asks for the server's first words."""
    return subprocess.run(
        words(profile),
        cwd=ROOT, input=json.dumps(INITIALIZE) + "\n", capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_run_brings_the_token(url: str, ca_file: str, browser: Browser, tmp_path: Path, ready: Ready) -> None:
    ready("native")
    profile = tmp_path / "remote.toml"
    place = url.removeprefix("https://").removesuffix("/mcp")
    profile.write_text(PROFILE.format(url=url, ca=ca_file, place=place))
    without = ran(profile)
    assert "(401)" in without.stdout
    assert f"mcp-sandbox login {url}" in without.stderr.replace("'", "")
    kept = flow.login(flow.Wish(url, ca=ca_file, browser=False), dict(os.environ), browser)
    browser.done()
    done = ran(profile)
    assert json.loads(done.stdout)["result"]["serverInfo"]["name"] == "sdk", done.stderr
    state = Path(os.environ["HOME"], ".local/state/mcp-sandbox")
    logs = "".join(one.read_text() for one in state.rglob("*.jsonl"))
    token = token_for(url, os.environ)
    assert logs
    assert not [one for one in (kept.secrets.access, token) if one in logs + done.stdout + done.stderr]


@pytest.mark.long
def test_a_session_outlives_its_token(
    url: str, ca_file: str, browser: Browser, tmp_path: Path, ready: Ready
) -> None:
    """At the price of the calls that are told of it: the server is asked again with a token that is new."""
    ready("native")
    flow.login(flow.Wish(url, ca=ca_file, browser=False), dict(os.environ), browser)
    browser.done()
    profile = tmp_path / "remote.toml"
    place = url.removeprefix("https://").removesuffix("/mcp")
    text = PROFILE.format(url=url, ca=ca_file, place=place)
    profile.write_text(text.replace("[network]", 'restart = "on-crash"\n[network]'))
    with subprocess.Popen(
        words(profile), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None

        def ask(message: dict[str, object]) -> dict[str, object]:
            running.stdin.write(json.dumps(message) + "\n")
            running.stdin.flush()
            answer: dict[str, object] = json.loads(running.stdout.readline())
            return answer

        assert "result" in ask(INITIALIZE)
        running.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        outcomes = []
        until = time.monotonic() + 3 * int(LASTS)
        while time.monotonic() < until:
            answer = ask({"jsonrpc": "2.0", "id": 2 + len(outcomes), "method": "tools/list"})
            outcomes.append("result" if "result" in answer else str(answer["error"]))
            time.sleep(0.25)
        running.stdin.close()
        assert running.wait(20) == 0
    refused = [one for one in outcomes if one != "result"]
    assert 1 <= len(refused) <= 3
    assert all("(401)" in one for one in refused)
    assert outcomes[-1] == "result" or outcomes[-2] == "result"
