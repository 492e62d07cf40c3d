"""`serve --oauth` as a team has it: a real front, real sandboxes, tokens that stand for some of the tools."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trustme

import sandbox
from tests.e2e.caller import PROGRAM, Caller
from tests.serve.oauth.issuer import Documents, algorithm, compact, fresh, jwks, private, public_jwk, serving

SERVER = Path(sandbox.__file__).with_name("demo") / "tiny_server.py"
SETTINGS = """\
schema = 1
issuer = "{issuer}"
resource = "http://localhost:8808"
ca = "{place}/ca.pem"
[routes.notes]
"notes:list" = ["list_*"]
"notes:read" = ["read_*"]
"notes:all" = ["*"]
"""
PROFILE = """\
schema = 1
[server]
command = ["python3", "{place}/tiny_server.py", "{place}/notes"]
[files]
read = ["{place}/tiny_server.py", "{place}/notes"]
[tools]
deny = [{denied}]
"""


class Team:
    """A front that runs, and its issuer."""

    def __init__(self, url: str, site: Documents) -> None:
        self.url, self.site = urlsplit(url), site

    def token(self, **changed: Any) -> str:
        said = fresh(iss=self.site.url, aud="http://localhost:8808/notes/mcp", **changed)
        key = private("P-256")
        head = {"alg": "ES256", "kid": "a", "typ": "at+jwt"}
        return compact(head, said, lambda signed: algorithm("ES256").sign(signed, key))

    def post(self, token: str, session: str, method: str, **params: Any) -> tuple[int, str, Any]:
        """Status, session and the answer's message."""
        connection = http.client.HTTPConnection("127.0.0.1", self.url.port or 0, timeout=60)
        headers = {
            "Authorization": f"Bearer {token}", "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        } | ({"Mcp-Session-Id": session} if session else {})  # fmt: skip
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        connection.request("POST", self.url.path, json.dumps(body), headers)
        answer = connection.getresponse()
        read = answer.read().decode()
        connection.close()
        data = [line.removeprefix("data: ") for line in read.splitlines() if line.startswith("data: {")]
        return answer.status, answer.headers.get("Mcp-Session-Id", ""), json.loads(data[-1] if data else read)

    def opened(self, token: str) -> str:
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        }
        status, session, found = self.post(token, "", "initialize", **params)
        assert status == 200, found
        return session


@contextmanager
def team(caller: Caller, denied: str = "") -> Iterator[Team]:
    """The front, as its caller starts it."""
    place, authority = caller.directory(), trustme.CA()
    with serving(authority.issue_cert("127.0.0.1")) as site:
        site.found["/keys"] = jwks(public_jwk("ES256", private("P-256"), kid="a"))
        metadata = {"issuer": site.url, "jwks_uri": f"{site.url}/keys"}
        site.found["/.well-known/oauth-authorization-server"] = json.dumps(metadata).encode()
        _lay_out(place, authority, site, denied)
        words = [
            PROGRAM, "serve", "--json", "--quiet", "--listen=127.0.0.1:0", f"--oauth={place}/oauth.toml",
            f"notes={place}/notes.toml",
        ]  # fmt: skip
        with subprocess.Popen(
            caller.argv(*words), cwd=place, env=caller.environ, text=True, stdout=subprocess.PIPE
        ) as front:
            try:
                assert front.stdout is not None
                yield Team(json.loads(front.stdout.readline())["urls"]["notes"], site)
            finally:
                os.kill(front.pid, signal.SIGTERM)
                assert front.wait(30) == 0


def _lay_out(place: Path, authority: trustme.CA, site: Documents, denied: str) -> None:
    (place / "notes").mkdir()
    (place / "notes" / "a.txt").write_text("a note\n")
    shutil.copy(SERVER, place)
    authority.cert_pem.write_to_path(str(place / "ca.pem"))
    (place / "oauth.toml").write_text(SETTINGS.format(issuer=site.url, place=place))
    (place / "notes.toml").write_text(PROFILE.format(place=place, denied=denied))
    for one in (place, *place.rglob("*")):
        one.chmod(0o755)


def listed(front: Team, token: str, session: str) -> set[str]:
    return {one["name"] for one in front.post(token, session, "tools/list")[2]["result"]["tools"]}


def called(front: Team, token: str, session: str, **params: Any) -> str:
    """What a call says, `refused` where our own answer comes in its place."""
    result = front.post(token, session, "tools/call", **params)[2]
    text = json.dumps(result)
    return "refused" if "tools.only" in text or "tools.deny" in text else text


READ = {"name": "read_text_file", "arguments": {"path": "a.txt"}}
LIST = {"name": "list_directory", "arguments": {}}


def test_a_token_stands_for_its_scopes_tools(caller: Caller) -> None:
    with team(caller) as front:
        wide, narrow = front.token(scope="notes:all"), front.token(scope="notes:list")
        one, other = front.opened(wide), front.opened(narrow)
        assert listed(front, wide, one) == {"read_text_file", "list_directory"}
        assert listed(front, narrow, other) == {"list_directory"}
        assert "a note" in called(front, wide, one, **READ)
        assert "a.txt" in called(front, narrow, other, **LIST)
        assert called(front, narrow, other, **READ) == "refused"
        # The wide session is no way around: it is another principal's.
        assert front.post(narrow, one, "tools/call", **READ)[0] == 404


def test_a_token_never_widens_the_profile(caller: Caller) -> None:
    with team(caller, denied='"read_*"') as front:
        wide = front.token(scope="notes:all")
        session = front.opened(wide)
        assert listed(front, wide, session) == {"list_directory"}
        assert called(front, wide, session, **READ) == "refused"
