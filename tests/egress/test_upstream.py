"""Which hosts go through the host's own proxy, read as curl reads its environment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from python_socks.async_.asyncio import Proxy

from sandbox.egress.upstream import excepted, proxy, settings
from sandbox.errors import SandboxNotBuilt

SETTINGS = [
    pytest.param({}, {}, id="nothing"),
    pytest.param({"HTTPS_PROXY": ""}, {}, id="an empty one"),
    pytest.param({"HTTPS_PROXY": "  "}, {}, id="a blank one"),
    pytest.param({"HTTPS_PROXY": "http://p:1"}, {"https_proxy": "http://p:1"}, id="capitals"),
    pytest.param({"https_proxy": "http://p:1"}, {"https_proxy": "http://p:1"}, id="small letters"),
    pytest.param(
        {"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2"},
        {"https_proxy": "http://a:1"},
        id="small letters first",
    ),
    pytest.param(
        {"https_proxy": "", "HTTPS_PROXY": "http://b:2"},
        {"https_proxy": "http://b:2"},
        id="an empty one is none",
    ),
    pytest.param({"ALL_PROXY": "p:3128"}, {"all_proxy": "http://p:3128"}, id="no scheme"),
    pytest.param({"ALL_PROXY": "HTTP://p:3128/"}, {"all_proxy": "http://p:3128/"}, id="scheme in capitals"),
    pytest.param({"ALL_PROXY": "socks5h://p:1"}, {"all_proxy": "socks5://p:1"}, id="socks5h"),
    pytest.param({"ALL_PROXY": "socks4a://p:1"}, {"all_proxy": "socks4://p:1"}, id="socks4a"),
    pytest.param({"ALL_PROXY": " http://p:1 "}, {"all_proxy": "http://p:1"}, id="spaces around it"),
    pytest.param({"ALL_PROXY": "http://u:p%40w@p:1"}, {"all_proxy": "http://u:p%40w@p:1"}, id="user"),
    pytest.param({"ALL_PROXY": "http://u:p@w@p:1"}, {"all_proxy": "http://u:p@w@p:1"}, id="@ in a password"),
    pytest.param({"ALL_PROXY": "http://[2001:db8::1]:1"}, {"all_proxy": "http://[2001:db8::1]:1"}, id="IPv6"),
    pytest.param({"NO_PROXY": "a,b"}, {"no_proxy": "a,b"}, id="exceptions"),
    pytest.param({"FTP_PROXY": "http://p:1", "PROXY": "x"}, {}, id="other variables"),
]


@pytest.fixture(autouse=True, scope="module")
def _loop() -> Iterator[None]:
    """The library asks for the thread's event loop; whoever ran one before has left none."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.parametrize(("environ", "expected"), SETTINGS)
def test_settings(environ: dict[str, str], expected: dict[str, str]) -> None:
    found = settings(environ)
    assert found == expected
    for name, url in found.items():
        if name != "no_proxy":
            Proxy.from_url(url)  # the library takes it as it is


REFUSED = [
    pytest.param("https://p:1", id="a proxy spoken to by TLS"),
    pytest.param("socks://p:1", id="no version of SOCKS"),
    pytest.param("quic://p:1", id="a protocol we do not speak"),
    pytest.param("://p:1", id="an empty scheme"),
    pytest.param("http://p", id="no port"),
    pytest.param("p", id="a host alone"),
    pytest.param("http://p:0", id="port 0"),
    pytest.param("http://p:65536", id="port too large"),
    pytest.param("http://p:x", id="a port that is no number"),
    pytest.param("http://p:\u0661", id="a port in other digits"),
    pytest.param("http://:3128", id="no host"),
    pytest.param("http://", id="nothing behind the scheme"),
    pytest.param("http://p:1/path", id="a path"),
    pytest.param("http://p:1?q", id="a question"),
    pytest.param("http://u:s/e@p:1", id="a slash in a password, which ends the host for the library"),
    pytest.param("http://p p:1", id="a space"),
    pytest.param("http://::1:3128", id="IPv6 without brackets"),
    pytest.param("http://[1:1]:3128", id="no IPv6 in brackets"),
    pytest.param("http://[1.1.1.1]:3128", id="IPv4 in brackets"),
    pytest.param("http://[]:3128", id="nothing in brackets"),
]


@pytest.mark.parametrize("value", REFUSED)
def test_a_proxy_that_cannot_be_spoken_to_stops_the_start(value: str) -> None:
    with pytest.raises(SandboxNotBuilt) as caught:
        settings({"HTTPS_PROXY": value})
    assert "https_proxy" in str(caught.value)


@pytest.mark.parametrize("value", ["http://user:hunter2@p", "https://user:hunter2@p:1", "u:hunter2@p:x"])
def test_a_password_is_in_no_message(value: str) -> None:
    with pytest.raises(SandboxNotBuilt) as caught:
        settings({"ALL_PROXY": value})
    said = caught.value
    assert "hunter2" not in f"{said!r} {said} {vars(said)}"


BY = {"http_proxy": "http://h:1", "https_proxy": "http://s:1", "no_proxy": "direct.example,10.0.0.0/8"}
ALL = {"all_proxy": "socks5://a:1"}
WAYS = [
    pytest.param({}, "a.example", 443, None, id="no proxy"),
    pytest.param(BY, "a.example", 443, "http://s:1", id="443"),
    pytest.param(BY, "a.example", 80, "http://h:1", id="80"),
    pytest.param(BY, "a.example", 5432, "http://s:1", id="any other port"),
    pytest.param(BY, "direct.example", 443, None, id="an exception"),
    pytest.param(BY, "10.1.2.3", 443, None, id="an excepted network"),
    pytest.param(BY, "93.184.216.34", 443, "http://s:1", id="a literal"),
    pytest.param(ALL, "a.example", 80, "socks5://a:1", id="all, for 80"),
    pytest.param(ALL, "a.example", 443, "socks5://a:1", id="all, for 443"),
    pytest.param(
        {**ALL, "https_proxy": "http://s:1"}, "a.example", 443, "http://s:1", id="the special one first"
    ),
    pytest.param({"http_proxy": "http://h:1"}, "a.example", 443, None, id="http_proxy is not for TLS"),
    pytest.param(ALL, "127.0.0.2", 443, None, id="loopback is this machine's, not the proxy's"),
    pytest.param(ALL, "::1", 443, None, id="IPv6 loopback"),
]


@pytest.mark.parametrize(("given_settings", "host", "port", "expected"), WAYS)
def test_proxy(given_settings: dict[str, str], host: str, port: int, expected: str | None) -> None:
    assert proxy(given_settings, host, port) == expected


EXCEPTED = [
    pytest.param("*", "a.example", True, id="everything"),
    pytest.param("a.example", "a.example", True, id="the name"),
    pytest.param("A.Example", "a.example", True, id="case"),
    pytest.param("a.example.", "a.example", True, id="final dot"),
    pytest.param("a.example", "x.a.example", True, id="below the name"),
    pytest.param(".a.example", "x.a.example", True, id="below a leading dot"),
    pytest.param(".a.example", "a.example", True, id="a leading dot, as curl"),
    pytest.param("*.a.example", "x.a.example", True, id="a wildcard"),
    pytest.param("a.example", "xa.example", False, id="a suffix without its dot"),
    pytest.param("a.example", "a.example.org", False, id="a prefix"),
    pytest.param("b,a.example", "a.example", True, id="commas"),
    pytest.param("b a.example", "a.example", True, id="spaces"),
    pytest.param(" b ,\ta.example , ", "a.example", True, id="both"),
    pytest.param("a.example:443", "a.example", True, id="with the port"),
    pytest.param("a.example:80", "a.example", False, id="with another port"),
    pytest.param("*:443", "a.example", True, id="everything on a port"),
    pytest.param("a.example:\u00b2", "a.example", False, id="a digit that is no number"),
    pytest.param("a.example:x", "a.example", False, id="a port that is no number"),
    pytest.param("10.0.0.1", "10.0.0.1", True, id="an address"),
    pytest.param("10.0.0.1:443", "10.0.0.1", True, id="an address with the port"),
    pytest.param("10.0.0.0/8", "10.9.9.9", True, id="a network"),
    pytest.param("10.0.0.9/8", "10.1.1.1", True, id="a network by one of its hosts"),
    pytest.param("10.0.0.0/8", "11.0.0.1", False, id="outside a network"),
    pytest.param("10.0.0.0/8", "10.example", False, id="a name is in no network"),
    pytest.param("0.0.0.0/0", "2001:db8::1", False, id="the other family"),
    pytest.param("2001:db8::/32", "2001:db8::1", True, id="an IPv6 network"),
    pytest.param("[2001:db8::1]", "2001:db8::1", True, id="in brackets"),
    pytest.param("[2001:db8::1]:443", "2001:db8::1", True, id="in brackets with the port"),
    pytest.param("[2001:db8::1]:80", "2001:db8::1", False, id="in brackets with another port"),
    pytest.param("", "a.example", False, id="nothing"),
    pytest.param(", ,", "a.example", False, id="commas alone"),
    pytest.param(".", "a.example", False, id="a dot"),
    pytest.param("*.", "a.example", False, id="a star and a dot"),
]


@pytest.mark.parametrize(("no_proxy", "host", "expected"), EXCEPTED)
def test_excepted(no_proxy: str, host: str, expected: bool) -> None:
    assert excepted(no_proxy, host, 443) is expected


@given(st.text(alphabet="a1.:*[]/,² é", max_size=20), st.sampled_from(["a.a", "1.1.1.1", "a::1"]))
def test_no_exception_is_raised_whatever_the_environment_says(no_proxy: str, host: str) -> None:
    assert excepted(no_proxy, host, 443) in (True, False)


@given(st.text(alphabet="hp1:/@[]. s", max_size=16))
@example("[.]:1")
@example("[::1]@[::1%1]:1")
def test_a_url_is_refused_or_taken_by_the_library(value: str) -> None:
    try:
        found = settings({"ALL_PROXY": value})
    except SandboxNotBuilt:
        return
    for url in found.values():
        Proxy.from_url(url)
