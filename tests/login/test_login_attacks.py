"""What a malicious server, issuer, network or neighbour tries, each beside what it does to the unwary."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import trustme

from sandbox.egress import addresses, dial
from sandbox.login import fetch, flow, grant
from sandbox.login.address import Reach, checked
from sandbox.login.fetch import Asking
from sandbox.login.refused import LoginRefused
from tests.login.conftest import Login
from tests.login.sites import Asked, Browser, Issuer, Server, Site, Told

PUBLIC, PRIVATE, METADATA = "93.184.216.34", "10.0.0.5", "169.254.169.254"


# --- what a program is given (the class of CVE-2025-6514) ---------------------------------------------


@pytest.fixture
def opener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A desktop whose opener hands its argument to a shell, as some do; what it was given is in the file."""
    given = tmp_path / "given"
    program = tmp_path / "xdg-open"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$#" "$@" >> {given}\neval "true $1" > /dev/null 2>&1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":9")
    return given


def commands(marker: Path) -> list[str]:
    return [
        f"a:$(touch${{IFS}}{marker})?x=y",
        f"https://auth.test/$(touch${{IFS}}{marker})",
        f"file://{marker};touch {marker}",
    ]


@pytest.mark.parametrize("form", [0, 1, 2], ids=["no scheme", "a path", "a file"])
def test_an_endpoint_that_is_a_command_is_given_to_nobody(
    form: int, login: Login, issuer: Issuer, opener: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "pwned"
    issuer.extra["authorization_endpoint"] = attack = commands(marker)[form]
    with pytest.raises(LoginRefused, match=r"`authorization_endpoint` of .* is refused"):
        login(browser=True)
    assert not opener.exists()
    assert not marker.exists()
    subprocess.run(["xdg-open", attack], check=False)
    assert marker.exists(), "without the check the same address is a command"


def test_the_opener_is_given_one_plain_address(
    login: Login, opener: Path, browser: Browser, issuer: Issuer
) -> None:
    issuer.extra["authorization_endpoint"] = f"{issuer.origin}/authorize?tenant=a"
    login(browser=True)
    assert opener.read_text().splitlines() == ["1", browser.opened[0]]
    assert browser.opened[0].startswith(f"{issuer.origin}/authorize?tenant=a&response_type=code&")


def test_without_a_display_no_opener_is_asked(
    login: Login, opener: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    login(browser=True)
    assert not opener.exists()


# --- who is who -----------------------------------------------------------------------------------------


@pytest.fixture
def evil(authority: trustme.CA) -> Iterator[Issuer]:
    """An issuer of the attacker's."""
    with Issuer(authority) as made:
        yield made


def test_an_issuer_vouches_for_no_other(login: Login, server: Server, issuer: Issuer, evil: Issuer) -> None:
    server.extra["authorization_servers"] = [evil.origin]
    evil.extra["issuer"] = issuer.origin
    with pytest.raises(LoginRefused, match="says that it is"):
        login()
    assert "POST /register" not in evil.paths()
    evil.without, evil.extra = (), {}
    assert login().issuer == evil.origin, "the same issuer under its own name is one like any other"


def test_a_server_without_metadata_uses_no_other_issuers_name(
    login: Login, server: Server, issuer: Issuer
) -> None:
    del server.routes["GET", "/.well-known/oauth-protected-resource/mcp"]
    server.routes["GET", "/.well-known/oauth-authorization-server"] = lambda _: Told(body=issuer.metadata())
    with pytest.raises(LoginRefused, match="says that it is"):
        login()
    issuer.extra["issuer"] = server.origin
    issuer.brings = {"iss": server.origin}
    login()


def test_a_code_of_one_issuer_never_goes_to_another(
    login: Login, server: Server, issuer: Issuer, evil: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.extra["authorization_servers"] = [evil.origin]
    evil.extra["authorization_endpoint"] = f"{issuer.origin}/authorize"
    with pytest.raises(LoginRefused, match="the answer comes from"):
        login()
    assert issuer.codes
    assert "POST /token" not in evil.paths()
    monkeypatch.setattr(grant, "_is_from", lambda *_: True)
    with pytest.raises(LoginRefused, match="gave no token"):
        login()
    stolen = next(one.form["code"] for one in evil.seen if one.path == "/token")
    assert stolen in issuer.codes, "without the check the honest issuer's code is the attacker's"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("https://other.test/mcp", id="another host"),
        pytest.param("{origin}/mc", id="the beginning of the path"),
        pytest.param("{origin}/mcp/deeper", id="below it"),
        pytest.param("{origin}/mcp?tenant=1", id="with a query"),
        pytest.param("javascript:x", id="no address"),
        pytest.param(None, id="none"),
    ],
)
def test_a_server_asks_for_no_token_of_another(name: str | None, login: Login, server: Server) -> None:
    server.extra["resource"] = name and name.format(origin=server.origin)
    with pytest.raises(LoginRefused):
        login()
    server.extra["resource"] = server.url
    login()


def test_a_server_speaks_for_itself_on_its_own_origin(login: Login, server: Server, evil: Issuer) -> None:
    evil.routes["GET", "/meta"] = lambda _: Told(body=server.metadata())
    server.says = f'Bearer resource_metadata="{evil.origin}/meta"'
    with pytest.raises(LoginRefused, match="has its metadata elsewhere"):
        login()
    assert not evil.seen
    server.routes["GET", "/meta"] = evil.routes["GET", "/meta"]
    server.says = f'Bearer resource_metadata="{server.origin}/meta"'
    login()


@pytest.mark.parametrize(
    "without", ["code_challenge_methods_supported", "authorization_endpoint", "token_endpoint"]
)
def test_without_what_makes_it_safe_there_is_no_login(without: str, login: Login, issuer: Issuer) -> None:
    issuer.without = (without,)
    with pytest.raises(LoginRefused, match="the metadata of"):
        login()
    issuer.without = ()
    login()


def test_a_challenge_in_the_clear_is_not_enough(login: Login, issuer: Issuer) -> None:
    issuer.extra["code_challenge_methods_supported"] = ["plain"]
    with pytest.raises(LoginRefused, match="no `S256`"):
        login()


def test_a_client_that_would_come_back_elsewhere_is_refused(login: Login, issuer: Issuer) -> None:
    register = issuer.routes["POST", "/register"]

    def elsewhere(asked: Asked) -> Told:
        told = register(asked)
        return Told(201, told.body | {"redirect_uris": ["https://evil.test/callback"]})

    issuer.routes["POST", "/register"] = elsewhere
    with pytest.raises(LoginRefused, match="send the browser elsewhere"):
        login()


# --- where it leads -------------------------------------------------------------------------------------


class Network:
    """Names and addresses that all lead to loopback in the end; what was connected to is on record."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[list[str]]] = {}
        self.connected: list[str] = []
        monkeypatch.setattr(dial, "_lookup", self._lookup)
        monkeypatch.setattr(dial, "start_connection", self._connect)

    async def _lookup(self, loop: asyncio.AbstractEventLoop, name: str) -> list[Any]:
        answers = self.names.get(name, [[name]])
        now = answers.pop(0) if len(answers) > 1 else answers[0]
        family = {False: socket.AF_INET, True: socket.AF_INET6}
        return [(family[":" in one], socket.SOCK_STREAM, 6, "", (one, 0)) for one in now]

    async def _connect(self, found: Sequence[Any], **_: object) -> socket.socket:
        self.connected.append(found[0][4][0])
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", found[0][4][1]))
        return one


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, server: Server, issuer: Issuer) -> Network:
    """The server and its issuer are at public names."""
    made = Network(monkeypatch)
    server.named("mcp.test")
    issuer.named("auth.test")
    made.names = {"mcp.test": [[PUBLIC]], "auth.test": [[PUBLIC]]}
    return made


def discovered(server: Server, ca_file: str, *, private: bool = False) -> str:
    """The issuer that a login at the server would go to."""
    from sandbox.login.address import typed
    from sandbox.login.discovery import discover

    return discover(Asking(Reach(private=private), {}, ca_file), typed(server.url)).issuer.name


def test_public_names_are_asked(network: Network, server: Server, issuer: Issuer, ca_file: str) -> None:
    assert discovered(server, ca_file) == issuer.origin
    assert set(network.connected) == {PUBLIC}


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        pytest.param([PRIVATE], "private", id="the private network"),
        pytest.param(["127.0.0.1"], "loopback", id="this machine"),
        pytest.param(["::1"], "loopback", id="this machine by IPv6"),
        pytest.param([METADATA], "metadata", id="a cloud's credentials"),
        pytest.param(["169.254.7.7"], "link-local", id="the link"),
        pytest.param(["::ffff:127.0.0.1"], "embedding", id="IPv4 in IPv6"),
        pytest.param(["64:ff9b::7f00:1"], "embedding", id="this machine behind NAT64"),
        pytest.param(["0.0.0.0"], "reserved", id="no address at all"),  # noqa: S104
    ],
)
def test_an_issuer_inside_is_not_asked(
    answers: list[str], kind: str, network: Network, server: Server, issuer: Issuer, ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    network.names["auth.test"] = [answers]
    with pytest.raises(LoginRefused, match=kind):
        discovered(server, ca_file)
    assert not issuer.seen
    monkeypatch.setattr(addresses, "reachable", lambda *_, **__: None)
    discovered(server, ca_file)
    assert issuer.seen, "without the check the same issuer is reached"


@pytest.mark.parametrize(
    "host", [PRIVATE, METADATA, "127.0.0.1", "[::1]", "2130706433", "0x7f.1", "localhost"]
)
def test_an_issuer_by_its_address_is_not_asked(
    host: str, network: Network, server: Server, issuer: Issuer, ca_file: str
) -> None:
    server.extra["authorization_servers"] = [f"https://{host}:{issuer.port}"]
    network.names["localhost"] = [["127.0.0.1"]]
    with pytest.raises(LoginRefused):
        discovered(server, ca_file)
    assert not issuer.seen


def test_ones_own_network_is_asked_where_a_person_says_so(
    network: Network, server: Server, issuer: Issuer, ca_file: str
) -> None:
    network.names["auth.test"] = [[PRIVATE]]
    with pytest.raises(LoginRefused) as refused:
        discovered(server, ca_file)
    assert "--allow-private" in refused.value.hint
    assert discovered(server, ca_file, private=True) == issuer.origin
    for never in (METADATA, "127.0.0.1"):
        network.names["auth.test"] = [[never]]
        with pytest.raises(LoginRefused, match="is not asked"):
            discovered(server, ca_file, private=True)


def test_a_name_that_moves_between_two_questions_leads_nowhere(
    network: Network, server: Server, issuer: Issuer, ca_file: str
) -> None:
    del issuer.routes["GET", "/.well-known/oauth-authorization-server"]
    network.names["auth.test"] = [[PUBLIC], [PRIVATE]]
    with pytest.raises(LoginRefused, match="private"):
        discovered(server, ca_file)
    assert PRIVATE not in network.connected
    assert len(issuer.seen) == 1


def test_every_address_of_an_issuer_is_checked_before_any_is_asked(
    network: Network, server: Server, issuer: Issuer, ca_file: str
) -> None:
    issuer.extra["token_endpoint"] = "http://auth.test/token"  # noqa: S105 - an address
    with pytest.raises(LoginRefused, match=r"`token_endpoint` of .* is not encrypted"):
        discovered(server, ca_file)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(
    status: int, login: Login, server: Server, issuer: Issuer, evil: Issuer, ca_file: str
) -> None:
    evil.routes["GET", "/steal"] = lambda _: Told(body=issuer.metadata())
    place = "/.well-known/oauth-authorization-server"
    issuer.routes["GET", place] = lambda _: Told(status, "", {"Location": f"{evil.origin}/steal"})
    with pytest.raises(LoginRefused, match=f"sends us elsewhere: status {status}"):
        login()
    assert not evil.seen
    tls = ssl.create_default_context(cafile=ca_file)
    with urllib.request.urlopen(f"{issuer.origin}{place}", timeout=10, context=tls):  # noqa: S310
        assert evil.seen, "who follows it is led there"


def test_a_token_endpoint_that_redirects_gets_no_second_question(
    login: Login, issuer: Issuer, evil: Issuer
) -> None:
    issuer.routes["POST", "/token"] = lambda _: Told(307, "", {"Location": f"{evil.origin}/token"})
    with pytest.raises(LoginRefused, match="status 307"):
        login()
    assert not evil.seen


# --- certificates ---------------------------------------------------------------------------------------


def _stranger(_: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert("localhost")


def _another_name(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("other.test")


def _expired(authority: trustme.CA) -> trustme.LeafCert:
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    return authority.issue_cert("localhost", not_before=long_ago, not_after=long_ago.replace(year=2021))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        pytest.param(_stranger, "unable to get local issuer|self-signed", id="signed by a stranger"),
        pytest.param(_another_name, "mismatch", id="of another name"),
        pytest.param(_expired, "expired", id="run out"),
    ],
)
def test_a_wrong_certificate_ends_it(made: Any, why: str, authority: trustme.CA, ca_file: str) -> None:
    with Site(None) as site:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made(authority).configure_cert(context)
        site._server.socket = context.wrap_socket(
            site._server.socket, server_side=True, do_handshake_on_connect=False
        )
        place = checked(f"https://localhost:{site.port}/", "it", Reach(loopback=True))
        with pytest.raises(LoginRefused, match=f"its certificate is refused: .*({why})"):
            Asking(Reach(loopback=True), {}, ca_file).get(place)
        assert not site.seen


# --- how much and how long -------------------------------------------------------------------------------

HERE = Reach(loopback=True)


def _head(handler: BaseHTTPRequestHandler, *fields: str) -> None:
    handler.wfile.write("".join(f"{one}\r\n" for one in ("HTTP/1.1 200 OK", *fields, "")).encode())


def _endless_body(handler: BaseHTTPRequestHandler) -> None:
    _head(handler, "Connection: close")
    while True:
        handler.wfile.write(b"[" * 65536)


def _endless_head(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-More: " + b"a" * 1000 + b"\r\n")


def _endless_hints(handler: BaseHTTPRequestHandler) -> None:
    while True:
        handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")


def _packed(handler: BaseHTTPRequestHandler) -> None:
    _head(handler, "Content-Encoding: gzip", "Content-Length: 4")
    handler.wfile.write(b"\x1f\x8b\x08\x00")


def _no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-x\x1b[2J\r\n\r\n")


def _two_lengths(handler: BaseHTTPRequestHandler) -> None:
    _head(handler, "Content-Length: 2", "Content-Length: 20")
    handler.wfile.write(b"{}")


def _drip(handler: BaseHTTPRequestHandler) -> None:
    _head(handler, "Content-Length: 1000")
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.02)


def _silence(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.settimeout(10)
    handler.rfile.read(1)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        pytest.param(_endless_body, "longer than", id="a body without an end"),
        pytest.param(_endless_head, "does not speak HTTP", id="a head without an end"),
        pytest.param(_endless_hints, "took too long", id="hints without an end"),
        pytest.param(_packed, "packed", id="a packed body"),
        pytest.param(_no_http, "does not speak HTTP", id="another protocol"),
        pytest.param(_two_lengths, "does not speak HTTP", id="two lengths"),
        pytest.param(_drip, "took too long", id="a drop now and then"),
        pytest.param(_silence, "took too long", id="silence"),
    ],
)
def test_an_answer_is_bounded_in_size_and_time(
    raw: Any, why: str, authority: trustme.CA, ca_file: str
) -> None:
    with Site(authority) as site:
        site.raw = raw
        place = checked(f"{site.origin}/x", "it", HERE)
        began = time.monotonic()
        with pytest.raises(LoginRefused, match=why) as refused:
            Asking(HERE, {}, ca_file, seconds=0.7).get(place)
        assert time.monotonic() - began < 5
        assert "\x1b" not in str(refused.value)


def test_a_handshake_that_does_not_end_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = checked(f"https://127.0.0.1:{silent.getsockname()[1]}/", "it", HERE)
        with pytest.raises(LoginRefused, match="took too long"):
            Asking(HERE, {}, seconds=0.3).get(place)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"issuer":"x","issuer":"y"}', id="a key twice"),
        pytest.param("[" * 5000, id="deep"),
        pytest.param('{"issuer":NaN}', id="no number"),
        pytest.param("\ufeff{}", id="a byte order mark"),
        pytest.param("[]", id="a list"),
    ],
)
def test_a_document_that_parsers_read_differently_is_none(body: str, login: Login, issuer: Issuer) -> None:
    issuer.routes["GET", "/.well-known/oauth-authorization-server"] = lambda _: Told(body=body)
    with pytest.raises(LoginRefused, match="has no metadata"):
        login()


# --- neighbours on this machine ----------------------------------------------------------------------------


def _asked(address: str, head: str) -> bytes:
    host, _, port = address.removeprefix("http://").partition("/")[0].partition(":")
    with socket.create_connection((host, int(port)), 5) as one:
        one.sendall(head.encode())
        return one.recv(65536)


def test_a_neighbour_neither_ends_nor_blocks_a_login(
    server: Server, browser: Browser, ca_file: str, issuer: Issuer
) -> None:
    """Wrong states, a rebound name, other paths and methods, idle connections: then the person's browser."""
    idle: list[socket.socket] = []
    refused: list[bytes] = []

    def attack_first(text: str) -> None:
        address = text.rpartition("\n")[2]
        if "response_type=code" in address:
            redirect = grant._fields(address.partition("?")[2])["redirect_uri"]
            place = redirect.removeprefix("http://")
            host, path = place.partition("/")[0], "/" + place.partition("/")[2]
            state = grant._fields(address.partition("?")[2])["state"]
            threading.Thread(target=attack, args=(redirect, host, path, state, address)).start()

    def attack(redirect: str, host: str, path: str, state: str, address: str) -> None:
        port = int(host.partition(":")[2])
        idle.extend(socket.create_connection(("127.0.0.1", port), 5) for _ in range(40))
        for head in (
            f"GET {path}?state=wrong&code=mine HTTP/1.1\r\nHost: {host}\r\n\r\n",
            f"GET {path}?state={state}&code=mine HTTP/1.1\r\nHost: evil.test\r\n\r\n",
            f"GET {path}?state={state}&code=mine HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n",
            f"GET /callback?state={state}&code=mine HTTP/1.1\r\nHost: {host}\r\n\r\n",
            f"POST {path}?state={state}&code=mine HTTP/1.1\r\nHost: {host}\r\n\r\n",
            f"GET {path}?state={state}&state={state}&code=mine HTTP/1.1\r\nHost: {host}\r\n\r\n",
            "\x16\x03\x01\r\n\r\n",
        ):
            refused.append(_asked(redirect, head))
        browser(address)

    wish = flow.Wish(server.url, ca=ca_file, browser=False, patience=20.0)
    kept = flow.login(wish, dict(os.environ), attack_first)
    browser.done()
    assert kept.secrets.access in issuer.accesses
    assert [one.partition(b"\r\n")[0] for one in refused] == [b"HTTP/1.1 400 Bad Request"] * 7
    assert not any(b"mine" in one or b"wrong" in one for one in refused)
    for one in idle:
        one.close()


def test_a_neighbour_who_knows_the_state_gains_nothing_by_its_own_code(
    server: Server, ca_file: str, issuer: Issuer, browser: Browser
) -> None:
    """Even an answer with the right state brings the attacker's code to a verifier that it does not fit."""

    def inject(text: str) -> None:
        address = text.rpartition("\n")[2]
        if "response_type=code" not in address:
            return
        asked = grant._fields(address.partition("?")[2])
        issuer.codes["mine"] = asked | {"code_challenge": grant.challenge("the attacker's")}
        place = asked["redirect_uri"].removeprefix("http://")
        query = f"state={asked['state']}&code=mine&iss={issuer.origin}"
        head = f"GET /{place.partition('/')[2]}?{query} HTTP/1.1\r\n"
        target = (asked["redirect_uri"], f"{head}Host: {place.partition('/')[0]}\r\n\r\n")
        threading.Thread(target=_asked, args=target).start()

    with pytest.raises(LoginRefused, match="gave no token: invalid_grant"):
        flow.login(flow.Wish(server.url, ca=ca_file, browser=False), dict(os.environ), inject)


FIELDS = set("host user-agent accept accept-encoding connection content-type content-length".split())


def test_what_is_sent_is_bounded_by_what_a_login_needs(login: Login, server: Server, issuer: Issuer) -> None:
    """No cookie, no referrer, no secret in an address."""
    kept = login()
    for one in (*server.seen, *issuer.seen):
        if one.headers.get("user-agent") == "mcp-sandbox":
            assert set(one.headers) <= FIELDS
        assert kept.secrets.access not in json.dumps(one.query)
    assert fetch.BODY_MAX < 1 << 20


# --- through the host's own proxy -----------------------------------------------------------------------


class Proxy:
    """An HTTP proxy that resolves every name to this machine; what it was asked for is on record."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += one.recv(4096)
        place = head.split()[1].decode()
        self.asked.append(place)
        with one, socket.create_connection(("127.0.0.1", int(place.rpartition(":")[2])), 5) as far:
            one.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            both = [(one, far), (far, one)]
            threads = [threading.Thread(target=self._carry, args=pair, daemon=True) for pair in both]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)

    def _carry(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while piece := here.recv(65536):
                there.sendall(piece)
        with suppress(OSError):
            there.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """The host's."""
    made = Proxy()
    yield made
    made.close()


def test_the_hosts_proxy_is_used_and_no_address_gets_past_it(
    proxy: Proxy, server: Server, issuer: Issuer, ca_file: str
) -> None:
    server.named("mcp.test")
    issuer.named("auth.test")
    asking = Asking(Reach(), {"HTTPS_PROXY": proxy.url}, ca_file)
    assert (
        asking.get(checked(f"{issuer.origin}/.well-known/oauth-authorization-server", "it", Reach())).status
        == 200
    )
    assert proxy.asked == [f"auth.test:{issuer.port}"]
    for host in (PRIVATE, METADATA, "127.0.0.1", "[::1]"):
        with pytest.raises(LoginRefused, match="is not asked"):
            asking.get(checked(f"https://{host}:{issuer.port}/", "it", Reach()))
    assert len(proxy.asked) == 1
    here = Asking(HERE, {"HTTPS_PROXY": proxy.url}, ca_file)
    assert here.get(checked(f"https://localhost:{issuer.port}/", "it", HERE)).status == 404
    assert len(proxy.asked) == 1, "this machine itself is not asked for through a proxy"
