"""A login at a server and issuer that are the Python SDK's, and its token in a session of `run`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
    words = [sys.executable, str(Path(__file__).with_name("sdk_issuer.py")), str(cert), "30"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
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
    renewed = token_for(url, os.environ)  # it lasts half a minute, which is not enough for a start
    assert renewed != first.secrets.access
    assert status(url, ca_file, renewed) == 200
    assert flow.logout(url, os.environ)
    assert status(url, ca_file, renewed) == 401


def ran(profile: Path) -> subprocess.CompletedProcess[str]:
    """A session of `run` that asks for the server's first words."""
    program = [sys.executable, "-c", "import sys; from sandbox.cli.main import main; sys.exit(main())"]
    return subprocess.run(
        [*program, "run", "--profile", str(profile)],
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
