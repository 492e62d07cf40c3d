"""The issuer's documents over real TLS: who it is, where its keys are, and what none of it may do to us."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import trustme

from sandbox.errors import SandboxNotBuilt
from sandbox.serve.oauth import fetch, place
from sandbox.serve.oauth.fetch import Fetcher, NoDocument
from sandbox.serve.oauth.issuer import Issuer
from sandbox.serve.oauth.server import OAuth, load
from sandbox.serve.oauth.settings import read
from sandbox.serve.words import Head, Principal, Refused
from tests.serve.oauth.issuer import Documents, algorithm, compact, fresh, private, serving, settings_file

PATH = "/.well-known/oauth-authorization-server"


def made(tmp_path: Path, site: Documents, ca: str, extra: str = "", issuer: str = "") -> OAuth:
    text = f'ca = "{ca}"\n{extra}'
    return load(settings_file(tmp_path / "oauth.toml", issuer or site.url, text), ["github"], {})


def token(issuer: str) -> str:
    key = private("P-256")
    head = {"alg": "ES256", "kid": "ES256"}
    return compact(head, fresh(iss=issuer), lambda signed: algorithm("ES256").sign(signed, key))


def started(of: OAuth, given: str = "") -> str:
    """`ok`, the refusal's code, or why it does not start."""

    async def story() -> str:
        try:
            await of.start()
            head = Head("POST", "/github/mcp", "github", {"authorization": f"Bearer {given}"})
            found = await of.check(head)
            return found.code if isinstance(found, Refused) else "ok"
        except SandboxNotBuilt as why:
            return why.what
        finally:
            await of.close()

    return asyncio.run(story())


def test_keys_are_where_the_metadata_says(tmp_path: Path, site: Documents, ca: str) -> None:
    assert started(made(tmp_path, site, ca), token(site.url)) == "ok"
    assert site.asked == [PATH, "/keys"]


def test_keys_are_where_the_settings_say(tmp_path: Path, site: Documents, ca: str) -> None:
    site.found["/mine"] = site.found.pop("/keys")
    assert started(made(tmp_path, site, ca, f'jwks = "{site.url}/mine"'), token(site.url)) == "ok"
    assert site.asked == ["/mine"]


@pytest.mark.parametrize(
    ("path", "where"),
    [
        pytest.param("", "/.well-known/openid-configuration", id="OpenID"),
        pytest.param("/team", "/.well-known/oauth-authorization-server/team", id="with a path"),
        pytest.param("/team", "/team/.well-known/openid-configuration", id="OpenID below the path"),
        pytest.param("/team", "/.well-known/openid-configuration/team", id="OpenID before the path"),
    ],
)
def test_where_metadata_may_be(tmp_path: Path, site: Documents, ca: str, path: str, where: str) -> None:
    issuer = f"{site.url}{path}"
    del site.found[PATH]
    site.found[where] = json.dumps({"issuer": issuer, "jwks_uri": f"{site.url}/keys"}).encode()
    assert started(made(tmp_path, site, ca, issuer=issuer), token(issuer)) == "ok"


def says(site: Documents, **members: object) -> bytes:
    return json.dumps({"issuer": site.url, "jwks_uri": f"{site.url}/keys", **members}).encode()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        pytest.param({"issuer": "https://evil.example"}, "is of another issuer", id="another issuer"),
        pytest.param({"issuer": None}, "is of another issuer", id="no issuer"),
        pytest.param({"jwks_uri": None}, "names no `jwks_uri`", id="no keys"),
        pytest.param({"jwks_uri": "http://127.0.0.1/keys"}, "not an `https://` URL", id="without TLS"),
        pytest.param({"jwks_uri": "file:///etc/passwd"}, "not a plain URL", id="a file"),
        pytest.param({"jwks_uri": "javascript:alert(1)"}, "not a plain URL", id="a script"),
        pytest.param({"jwks_uri": "https://a@b/keys"}, "not a plain URL", id="a user"),
        pytest.param({"jwks_uri": "https://b\\@a/keys"}, "not a plain URL", id="a backslash"),
        pytest.param({"jwks_uri": "https://127.0.0.1:1/keys"}, "no public address", id="this machine"),
        pytest.param(
            {"jwks_uri": "https://169.254.169.254/keys"}, "no public address", id="metadata of a cloud"
        ),
        pytest.param({"jwks_uri": "https://10.0.0.1/keys"}, "no public address", id="a private network"),
        pytest.param({"jwks_uri": "https://[::1]/keys"}, "no public address", id="this machine, IPv6"),
        pytest.param({"jwks_uri": "https://[::ffff:10.0.0.1]/keys"}, "no public address", id="mapped"),
        pytest.param({"jwks_uri": "https://localhost/keys"}, "no public address", id="by its name"),
    ],
)
def test_metadata_leads_nowhere_else(
    tmp_path: Path, site: Documents, ca: str, changed: dict[str, object], why: str
) -> None:
    site.found[PATH] = says(site, **changed)
    assert why in started(made(tmp_path, site, ca))
    site.found[PATH] = says(site)
    assert started(made(tmp_path, site, ca), token(site.url)) == "ok"


def test_settings_may_name_what_metadata_may_not(
    tmp_path: Path, site: Documents, ca: str, authority: trustme.CA
) -> None:
    """The same private place: a document's word is refused, the operator's counts."""
    with serving(authority.issue_cert("127.0.0.1")) as other:
        other.found["/keys"] = site.found["/keys"]
        site.found[PATH] = says(site, jwks_uri=f"{other.url}/keys")
        assert "no public address" in started(made(tmp_path, site, ca))
        assert other.asked == []
        extra = f'jwks = "{other.url}/keys"'
        assert started(made(tmp_path, site, ca, extra), token(site.url)) == "ok"
        assert other.asked == ["/keys"]


def redirect(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "/elsewhere")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def huge(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(10_000):
        handler.wfile.write(b'{"keys": [] } ' * 1000)


def announced(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("X", "x" * 100_000)
    handler.end_headers()


def zipped(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", "2")
    handler.end_headers()
    handler.wfile.write(b"{}")


def cut(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "500")
    handler.end_headers()
    handler.wfile.write(b'{"keys": [')


def noise(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-nothing\r\n\r\n")


def down(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(503)


def hang(handler: BaseHTTPRequestHandler) -> None:
    handler.server.documents.hanging.set()  # type: ignore[attr-defined]
    handler.server.documents.ended.wait(60)  # type: ignore[attr-defined]


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Never silent for long, and never ready."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.documents.ended.wait(0.05):  # type: ignore[attr-defined]
        handler.wfile.write(b" ")


@pytest.mark.parametrize(
    ("does", "why"),
    [
        pytest.param(redirect, "a redirect (status 302), which is not followed", id="redirects"),
        pytest.param(huge, "more than 262144 bytes", id="huge"),
        pytest.param(announced, "its answer is not HTTP", id="a huge head"),
        pytest.param(zipped, "an encoded body", id="zipped"),
        pytest.param(cut, "its answer is not HTTP", id="cut off"),
        pytest.param(noise, "its answer is not HTTP", id="no HTTP"),
        pytest.param(down, "status 503", id="an error"),
        pytest.param(hang, "no whole answer within 0.5 s", id="hangs"),
        pytest.param(drip, "no whole answer within 0.5 s", id="drips"),
    ],
)
def test_a_hostile_issuer(
    tmp_path: Path, site: Documents, ca: str, monkeypatch: pytest.MonkeyPatch, does: object, why: str
) -> None:
    monkeypatch.setattr(fetch, "DEADLINE_S", 0.5 if does in (hang, drip) else 10.0)
    keys = site.found["/keys"]
    site.found["/keys"] = does  # type: ignore[assignment]
    site.found["/elsewhere"] = keys
    before = time.monotonic()
    assert why in started(made(tmp_path, site, ca))
    assert time.monotonic() - before < 5
    assert "/elsewhere" not in site.asked
    site.found["/keys"] = keys
    assert started(made(tmp_path, site, ca), token(site.url)) == "ok"


def test_while_the_issuer_hangs_known_users_come_in(tmp_path: Path, site: Documents, ca: str) -> None:
    """A token with a strange key has the keys fetched; nobody else waits for that."""

    async def story() -> tuple[object, bool]:
        times = iter(range(1000, 10**6, 100))  # each look at the clock is much later
        settings = read(settings_file(tmp_path / "oauth.toml", site.url, f'ca = "{ca}"'), ["github"])
        fetcher = Fetcher(ssl.create_default_context(cafile=ca), {})
        of = OAuth(settings, ["github"], Issuer(settings, fetcher).keys, clock=lambda: times.__next__() / 3)
        await of.start()
        site.found["/keys"] = hang
        strange = compact({"alg": "ES256", "kid": "new"}, fresh(iss=site.url), lambda signed: b"x")
        heads = [
            Head("POST", "/github/mcp", "github", {"authorization": f"Bearer {one}"})
            for one in (strange, token(site.url))
        ]
        waiting = asyncio.create_task(of.check(heads[0]))
        assert await asyncio.to_thread(site.hanging.wait, 10)
        found = await asyncio.wait_for(of.check(heads[1]), 2)
        still = not waiting.done()
        waiting.cancel()
        await of.close()
        return found, still

    found, still = asyncio.run(story())
    assert isinstance(found, Principal)
    assert still


def test_another_certificate_is_not_the_issuers(tmp_path: Path, site: Documents) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    assert "its certificate does not hold" in started(made(tmp_path, site, str(other)))
    assert site.asked == []


def test_a_certificate_for_another_name_is_not_the_issuers(
    tmp_path: Path, authority: trustme.CA, ca: str
) -> None:
    with serving(authority.issue_cert("127.0.0.2")) as other:
        assert "its certificate does not hold" in started(made(tmp_path, other, ca))
        assert other.asked == []


def test_an_issuer_that_is_not_there(tmp_path: Path, ca: str) -> None:
    nobody = Documents()
    nobody.url = "https://127.0.0.1:1"
    assert "connection refused" in started(made(tmp_path, nobody, ca)).lower()


def test_the_hosts_proxy_is_used(site: Documents, ca: str) -> None:
    """Through a proxy that is not there nothing comes; without it the document does."""
    tls = ssl.create_default_context(cafile=ca)
    where = place.secure(f"{site.url}/keys".replace("127.0.0.1", "localhost"))
    proxied = Fetcher(tls, {"https_proxy": "http://127.0.0.1:1"})
    with pytest.raises(NoDocument, match="proxy"):
        asyncio.run(proxied.get(where, named=True))
    assert site.asked == []


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "localhost", "a.localhost", "[::1]", "db.internal", "printer", "169.254.169.254"]
)
def test_a_proxy_is_no_way_round(site: Documents, ca: str, host: str) -> None:
    """Only the proxy would look the name up: what is private by its spelling never gets there."""
    proxied = Fetcher(ssl.create_default_context(cafile=ca), {"https_proxy": "http://127.0.0.1:1"})
    where = place.secure(f"https://{host}/keys")
    with pytest.raises(NoDocument, match="no public address"):
        asyncio.run(proxied.get(where, named=False))
    with pytest.raises(NoDocument, match="proxy"):
        asyncio.run(proxied.get(place.secure("https://keys.example/keys"), named=False))


def test_a_resolver_that_hangs_holds_nothing_up(
    site: Documents, ca: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the one who asked nor, in the end, the loop."""
    answered = threading.Event()
    monkeypatch.setattr(fetch, "DEADLINE_S", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(60) and [])
    fetcher = Fetcher(ssl.create_default_context(cafile=ca), {})
    before = time.monotonic()
    with pytest.raises(NoDocument, match="no whole answer"):
        asyncio.run(fetcher.get(place.secure("https://slow.example/keys"), named=True))
    answered.set()
    assert time.monotonic() - before < 5


@pytest.mark.parametrize("host", ["a..b.invalid", f"{'x' * 64}.invalid"])
def test_a_name_that_is_none(ca: str, host: str) -> None:
    fetcher = Fetcher(ssl.create_default_context(cafile=ca), {})
    with pytest.raises(NoDocument, match=r"[Nn]ame|address"):
        asyncio.run(fetcher.get(place.secure(f"https://{host}/keys"), named=True))


@pytest.mark.parametrize("named", [True, False], ids=["the settings name it", "only the metadata names it"])
def test_a_public_name_with_a_private_address(
    site: Documents, ca: str, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    where = place.secure(site.url)
    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (where.host, where.port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address])
    fetcher = Fetcher(ssl.create_default_context(cafile=ca), {})
    with pytest.raises(NoDocument, match="certificate does not hold" if named else "no public address"):
        asyncio.run(fetcher.get(place.secure("https://keys.example/keys"), named=named))
