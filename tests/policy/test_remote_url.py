"""One reading of a URL, and what may stand in a header."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import ProfileError, UsageError
from sandbox.policy import remote
from sandbox.policy.model import Origin


@pytest.mark.parametrize(
    ("text", "read"),
    [
        pytest.param("https://a.example/mcp", ("https://a.example/mcp", 443), id="plain"),
        pytest.param("HTTPS://A.Example:443/Mcp", ("https://a.example/Mcp", 443), id="case and port"),
        pytest.param("https://a.example", ("https://a.example/", 443), id="no path"),
        pytest.param("https://a.example?k=v", ("https://a.example/?k=v", 443), id="query alone"),
        pytest.param("https://a.example.:8443/x", ("https://a.example:8443/x", 8443), id="a dot at its end"),
        pytest.param("https://[2A01:4f8:0::1]/x", ("https://[2a01:4f8::1]/x", 443), id="IPv6"),
        pytest.param("http://localhost:3000/mcp", ("http://localhost:3000/mcp", 3000), id="loopback"),
        pytest.param("http://127.0.0.1", ("http://127.0.0.1/", 80), id="port 80"),
        pytest.param("http://[::1]:1/", ("http://[::1]:1/", 1), id="loopback by IPv6"),
        pytest.param("https://bücher.example/", ("https://xn--bcher-kva.example/", 443), id="IDNA"),
        pytest.param("https://a.example/{K}?x=${B}", ("https://a.example/{K}?x=${B}", 443), id="names"),
    ],
)
def test_what_is_read(text: str, read: tuple[str, int]) -> None:
    url = remote.parse(text)
    assert (str(url), url.port) == read
    assert remote.parse(str(url)) == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("a.example/mcp", "begins with", id="no scheme"),
        pytest.param("ftp://a.example/", "begins with", id="another scheme"),
        pytest.param("file:///etc/passwd", "begins with", id="a file"),
        pytest.param("javascript://a.example/%0aalert(1)", "begins with", id="a script"),
        pytest.param("http://a.example/", "not encrypted", id="without TLS"),
        pytest.param("http://10.0.0.1/", "not encrypted", id="without TLS, private"),
        pytest.param("http://localhost.evil.example/", "not encrypted", id="only called like loopback"),
        pytest.param("https://user:secret@a.example/", "login", id="a login"),
        pytest.param("https://a.example@evil.example/", "login", id="two hosts"),
        pytest.param("https://a.example#@evil.example/", "`#`", id="a fragment"),
        pytest.param("https://a.example\\@evil.example/", "login", id="a backslash"),
        pytest.param("https://a.example/a\\b", "%XX", id="a backslash in the path"),
        pytest.param("https://a.example/a b", "%XX", id="a space"),
        pytest.param("https://a.example/\r\nX: y", "%XX", id="a header"),
        pytest.param("https://a.example/ü", "%XX", id="not ASCII"),
        pytest.param("https://a.example/{not-a-name}", "%XX", id="a brace"),
        pytest.param("https:///mcp", "missing", id="no host"),
        pytest.param("https://*.a.example/", "`*`", id="a wildcard"),
        pytest.param("https://0x7f.1/", "IPv4", id="a strange spelling of an address"),
        pytest.param("https://2130706433/", "IPv4", id="a number"),
        pytest.param("https://[::ffff:127.0.0.1]/", "IPv4", id="an address in another"),
        pytest.param("https://a.example:0/", "port", id="port 0"),
        pytest.param("https://a.example:65536/", "port", id="port 65536"),
        pytest.param("https://a.example:/", "port", id="an empty port"),
        pytest.param("https://{HOST}/", "host name", id="a name for the host"),
        pytest.param("https://a.example/" + "x" * 2048, "2048", id="too long"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as caught:
        remote.parse(text)
    assert "secret" not in str(caught.value)


@given(st.text(max_size=60))
def test_what_is_read_is_read_the_same_again(text: str) -> None:
    try:
        url = remote.parse(f"https://{text}")
    except ValueError:
        return
    assert remote.parse(str(url)) == url
    assert str(url).isascii()
    assert str(url).isprintable()
    # No reader of URLs sees another host: nothing that could end one stands before the path.
    authority = str(url).removeprefix("https://").partition("/")[0]
    assert not set(authority) & set("@\\#?% ")


def test_a_query_is_not_shown() -> None:
    assert remote.parse("https://a.example/x?key=secret").shown == "https://a.example/x?…"
    assert remote.parse("https://a.example/x").shown == "https://a.example/x"


@pytest.mark.parametrize(
    "text",
    [
        "Host: a", "Content-Length: 3", "Transfer-Encoding: chunked", "Connection: close",
        "Mcp-Session-Id: x",
        "MCP-Protocol-Version: x", "Proxy-Authorization: ${A}", "Accept: */*", "Last-Event-ID: 4", "a b: c",
        "X\r\nY: c", ": c", "X", "X: a\r\nHost: evil", "X: ü", "Authorization: Bearer abc", "Cookie: a=b",
        "X-Api-Key: abc", "Api-Token: abc", "x-auth: abc",
    ],
)  # fmt: skip
def test_a_header_that_is_not_yours_to_set(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        remote.split(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("X-Team: a b", ("x-team", "a b")),
        ("Authorization: Bearer ${TOKEN}", ("authorization", "Bearer ${TOKEN}")),
        ("X-Api-Key:${KEY}", ("x-api-key", "${KEY}")),
        ("X-Monkey: a", ("x-monkey", "a")),
    ],
)
def test_a_header(text: str, read: tuple[str, str]) -> None:
    assert remote.split(text) == read


# --- in a profile ------------------------------------------------------------------------------------

URL = "[server]\nurl = 'https://a.example/mcp'\n"
HEADED = URL + "[server.headers]\nX-Team = 'a'\nAuthorization = 'Bearer ${T}'\n[secrets.T]\nfrom = 'env'\n"


def test_a_url_takes_the_place_of_a_parents_command(world) -> None:
    world.user("local", "[server]\ncommand = ['x']\ntransport = 'http'\nport = 3000")
    world.user("far", f"extends = 'local'\n{URL}")
    server = world.load("far").server
    assert (server.url, server.command, server.transport, server.port) == (
        "https://a.example/mcp", (), "stdio", None,
    )  # fmt: skip
    world.user("near", "extends = 'far'\n[server]\ncommand = ['y']")
    assert (world.load("near").server.url, world.load("near").server.command) == (None, ("y",))


def test_headers_merge_without_regard_to_case(world) -> None:
    world.user("far", HEADED)
    world.user("child", "extends = 'far'\n[server.headers]\nx-TEAM = 'b'")
    assert dict(world.load("child").server.headers) == {"x-team": "b", "authorization": "Bearer ${T}"}


def test_what_goes_to_a_parents_url_goes_to_no_other(world) -> None:
    world.user("far", HEADED)
    world.user("thief", "extends = 'far'\n[server]\nurl = 'https://evil.example/'")
    server = world.load("thief").server
    assert (server.url, server.headers) == ("https://evil.example/", ())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(URL + "command = ['x']", "runs elsewhere", id="a command too"),
        pytest.param(URL + "image = 'node'", "runs elsewhere", id="an image too"),
        pytest.param(URL + "transport = 'http'", "runs elsewhere", id="a transport"),
        pytest.param("[server]\nurl = 'http://a.example/'", "not encrypted", id="without TLS"),
        pytest.param(URL + "[server.headers]\nHost = 'b'", "itself", id="a header of ours"),
        pytest.param(URL + "[server.headers]\nX-A = 'b'\nx-a = 'c'", "twice", id="one header twice"),
        pytest.param(URL + "[server.headers]\nCookie = 'b'", "written down", id="a credential"),
        pytest.param(URL + "pin = ['sha256:abc']", "pin", id="a short pin"),
        pytest.param(URL + "pin = ['sha1:abc']", "pin", id="another digest"),
    ],
)
def test_a_profile_that_is_refused(world, text: str, why: str) -> None:
    world.user("far", text)
    with pytest.raises(ProfileError, match=why):
        world.load("far")


def test_headers_of_options(world) -> None:
    world.user("far", HEADED)
    policy = world.load("far", headers=("X-Team: c",), headers_from=("X-Key=KEY", "X-Other=T"))
    sent = {"x-team": "c", "authorization": "Bearer ${T}", "x-key": "${KEY}", "x-other": "${T}"}
    assert dict(policy.server.headers) == sent
    assert [(one.name, one.source, one.origin) for one in policy.secrets][1:] == [
        ("KEY", "env", Origin("--header-from"))
    ]


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("headers", "Authorization: Bearer abcdef"),
        ("headers", "X-A"),
        ("headers_from", "X-A"),
        ("headers_from", "Host=A"),
        ("headers_from", "X-A=a b"),
    ],
)
def test_an_option_that_is_refused_repeats_no_value(world, option: str, text: str) -> None:
    world.user("far", HEADED)
    with pytest.raises(UsageError) as caught:
        world.load("far", **{option: (text,)})
    assert "abcdef" not in str(caught.value)
