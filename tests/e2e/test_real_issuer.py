"""An authorization server that is not ours: its metadata, keys, tokens and DPoP at `serve --oauth`."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import ssl
import subprocess
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.serve.oauth.issuer import RESOURCE, Documents, algorithm, compact, private, public_jwk
from tests.serve.oauth.test_served import OPEN, fronted
from tests.serve.serving import FORM, Answer, Served

PROGRAM = Path(__file__).with_name("issuer.mjs")
PACKAGE = "oidc-provider@9.13.3"
URL = f"{RESOURCE}/github/mcp"
MINE = private("P-256", 7)

pytestmark = pytest.mark.long


@dataclass
class Real:
    """Where it is, and who signed its certificate."""

    url: str
    ca: str

    def token(
        self, client: str = "RS256", scope: str = "mcp:read", resource: str = URL, proof: str = ""
    ) -> str:
        """A token of a client's own (RFC 6749, 4.4)."""
        form = {"grant_type": "client_credentials", "scope": scope, "resource": resource}
        login = base64.b64encode(f"{client}:secret".encode()).decode()
        headers = {"Authorization": f"Basic {login}"} | ({"DPoP": proof} if proof else {})
        asked = urllib.request.Request(  # noqa: S310 - of this test's own server
            f"{self.url}/token", urllib.parse.urlencode(form).encode(), headers
        )
        tls = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(asked, timeout=20, context=tls) as answer:  # noqa: S310
            given: str = json.load(answer)["access_token"]
        return given


@pytest.fixture(scope="module")
def modules(ground: Path) -> Path:
    """Where its package is, made once."""
    place = ground / "oidc-provider"
    if not (place / "made").exists():
        place.mkdir(exist_ok=True)
        quiet = ["--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"]
        install = ["npm", "install", *quiet, f"--cache={place}/npm", f"--prefix={place}", PACKAGE]
        subprocess.run(install, check=True, timeout=300, stdout=subprocess.DEVNULL)
        shutil.rmtree(place / "npm", ignore_errors=True)
        (place / "made").touch()
    return place


@pytest.fixture(scope="module")
def real(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    place, authority = tmp_path_factory.mktemp("issuer"), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(place / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(place / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(place / "chain.pem"))
    words = ["node", str(PROGRAM), str(modules), str(place / "key.pem"), str(place / "chain.pem")]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield Real(process.stdout.readline().strip(), str(place / "ca.pem"))
        finally:
            process.kill()


@pytest.fixture
def front(real: Real, tmp_path: Path) -> Iterator[Served]:
    site = Documents()
    site.url = real.url
    with fronted(tmp_path, site, real.ca) as made:
        yield made


def proof(url: str, token: str = "") -> str:
    """Of our own key, for a request to `url`."""
    said = {"jti": str(uuid.uuid4()), "htm": "POST", "htu": url, "iat": int(time.time())}
    if token:
        digest = hashlib.sha256(token.encode()).digest()
        said["ath"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": public_jwk("ES256", MINE)}
    return compact(head, said, lambda text: algorithm("ES256").sign(text, MINE))


def ask(front: Served, scheme: str, token: str, shown: str = "") -> Answer:
    body = json.dumps(OPEN).encode()
    more = f"Authorization: {scheme} {token}\r\n" + (f"DPoP: {shown}\r\n" if shown else "")
    head = front.head("POST", f"{more}{FORM}Content-Length: {len(body)}\r\n", None, "/github/mcp")
    return front.send(head + body)


@pytest.mark.parametrize("client", ["RS256", "ES256"])
def test_its_tokens_open_what_they_are_for(real: Real, front: Served, client: str) -> None:
    assert ask(front, "Bearer", real.token(client)).status == 200
    assert ask(front, "Bearer", real.token(client, scope="other")).status == 403
    assert ask(front, "Bearer", real.token(client, resource=f"{RESOURCE}/files/mcp")).status == 401
    assert front.refusals() == ["insufficient-scope", "token-audience"]


def test_a_bound_token_is_its_clients_alone(real: Real, front: Served) -> None:
    token = real.token(proof=proof(f"{real.url}/token"))
    shown = proof(URL, token)
    assert ask(front, "DPoP", token, shown).status == 200
    assert ask(front, "DPoP", token, shown).status == 401
    assert ask(front, "DPoP", token, proof(f"{RESOURCE}/files/mcp", token)).status == 401
    assert ask(front, "DPoP", token).status == 401
    assert ask(front, "Bearer", token).status == 401
    assert ask(front, "DPoP", token, proof(URL, token)).status == 200
    assert front.refusals() == ["dpop-proof"] * 4
