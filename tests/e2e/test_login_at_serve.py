"""Both ends are ours: `login` and `run URL` against `serve --oauth`, with an issuer between, over TLS."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

import sandbox
from tests.e2e.caller import PROGRAM, Caller
from tests.login.sites import Asked, Browser, Issuer, Told
from tests.serve.oauth.issuer import algorithm, compact, fresh, private, public_jwk

SERVER = Path(sandbox.__file__).with_name("demo") / "tiny_server.py"
OAUTH = """\
schema = 1
issuer = "{issuer}"
resource = "https://localhost:{port}"
ca = "{place}/ca.pem"
[routes.notes]
"notes:list" = ["list_*"]
"notes:all" = ["*"]
"""
SERVED = """\
schema = 1
[server]
command = ["python3", "{place}/server/tiny_server.py", "{place}/notes"]
[files]
read = ["{place}/server/tiny_server.py", "{place}/notes"]
"""
REMOTE = """\
schema = 1
extends = "base"
[network]
allow = ["localhost:{port}"]
[server]
url = "https://localhost:{port}/notes/mcp"
ca = "{place}/ca.pem"
"""
CALLS: list[dict[str, Any]] = [
    {"id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}},
    {"method": "notifications/initialized"},
    {"id": 2, "method": "tools/list", "params": {}},
    {"id": 3, "method": "tools/call", "params": {"name": "read_text_file", "arguments": {"path": "a.txt"}}},
]  # fmt: skip


class Signing(Issuer):
    """An authorization server whose access tokens are signed, for the resource that was asked for."""

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__(authority)
        self.extra = {"jwks_uri": f"{self.origin}/keys"}
        keys = {"keys": [public_jwk("ES256", private("P-256"), kid="a")]}
        self.routes["GET", "/keys"] = lambda _: Told(body=keys)
        self._resource = ""

    def _token(self, asked: Asked) -> Told:
        self._resource = asked.form["resource"]
        return super()._token(asked)

    def _given(self, scope: str) -> Told:
        told = super()._given(scope)
        said = fresh(iss=self.origin, aud=self._resource, scope=scope)
        head = {"alg": "ES256", "kid": "a", "typ": "at+jwt"}
        signed = compact(head, said, lambda text: algorithm("ES256").sign(text, private("P-256")))
        return Told(body={**told.body, "access_token": signed})


@contextmanager
def world(caller: Caller) -> Iterator[tuple[Path, int, Signing]]:
    """A front at a port, its issuer, and a place with what both need."""
    place, authority, port = caller.directory(), trustme.CA(), free_port()
    with Signing(authority) as issuer:
        _lay_out(place, authority, port, issuer)
        words = [
            PROGRAM, "serve", "--json", "--quiet", f"--listen=localhost:{port}",
            f"--oauth={place}/oauth.toml",
            f"--tls-cert={place}/chain.pem", f"--tls-key={place}/key.pem", f"notes={place}/notes.toml",
        ]  # fmt: skip
        with subprocess.Popen(
            caller.argv(*words), cwd=place, env=caller.environ, text=True, stdout=subprocess.PIPE
        ) as front:
            try:
                assert front.stdout is not None
                assert json.loads(front.stdout.readline())["ready"]
                yield place, port, issuer
            finally:
                front.send_signal(signal.SIGTERM)
                assert front.wait(30) == 0


def free_port() -> int:
    """The settings name the front's own URL, before it listens there."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def _lay_out(place: Path, authority: trustme.CA, port: int, issuer: Issuer) -> None:
    (place / "notes").mkdir()
    (place / "notes" / "a.txt").write_text("a note\n")
    # What lies beside a server is shown to it: the front's key may not.
    (place / "server").mkdir()
    shutil.copy(SERVER, place / "server")
    authority.cert_pem.write_to_path(str(place / "ca.pem"))
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(place / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(place / "chain.pem"))
    for name, text in (("oauth.toml", OAUTH), ("notes.toml", SERVED), ("remote.toml", REMOTE)):
        (place / name).write_text(text.format(place=place, port=port, issuer=issuer.origin))
    for one in (place, *place.rglob("*")):
        one.chmod(0o755)


def log_in(caller: Caller, place: Path, port: int, *more: str) -> None:
    """As a person does, whose browser goes where it is sent."""
    browser = Browser(str(place / "ca.pem"))
    url = f"https://localhost:{port}/notes/mcp"
    words = [PROGRAM, "login", url, f"--ca={place}/ca.pem", "--no-browser", *more]
    with subprocess.Popen(
        caller.argv(*words), cwd=place, env=caller.environ, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as running:  # fmt: skip
        assert running.stderr is not None
        said = []
        for line in running.stderr:
            said.append(line)
            browser(line.strip())
    browser.done()
    assert running.returncode == 0, said


def converse(caller: Caller, place: Path) -> dict[int, Any]:
    """What each request of a client on stdio is answered, and all that was said besides."""
    text = "".join(json.dumps({"jsonrpc": "2.0", **one}) + "\n" for one in CALLS)
    done = caller.run(*caller.sandboxed("--profile", f"{place}/remote.toml"), cwd=place, text=text)
    return {one["id"]: one for one in map(json.loads, done.stdout.splitlines()) if "id" in one}


@pytest.mark.long
def test_a_person_logs_in_and_gets_what_the_scopes_give(caller: Caller) -> None:
    with world(caller) as (place, port, _):
        stranger = converse(caller, place)
        assert "401" in json.dumps(stranger[1]["error"])
        log_in(caller, place, port)
        whole = converse(caller, place)
        assert {one["name"] for one in whole[2]["result"]["tools"]} == {"read_text_file", "list_directory"}
        assert whole[3]["result"]["content"][0]["text"] == "a note\n"
        # A kept login keeps its scopes when it asks for more.
        caller.run(PROGRAM, "logout", f"https://localhost:{port}/notes/mcp", cwd=place)
        log_in(caller, place, port, "--scope=notes:list")
        narrow = converse(caller, place)
        assert {one["name"] for one in narrow[2]["result"]["tools"]} == {"list_directory"}
        assert "tools.only" in json.dumps(narrow[3])
