"""The host's own proxy is gone through by names alone, and a server sees neither it nor its password."""

from __future__ import annotations

import pytest

from tests.attacks.inside import PYTHON
from tests.conftest import Require
from tests.egress import proxies, services
from tests.egress.clients.conftest import Start
from tests.egress.clients.inside import QUICK_S, Line, Sandbox
from tests.egress.clients.kit import PROGRAMS
from tests.egress.extra_services import Extra
from tests.egress.internet import Flow, Internet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CURL = (PYTHON, str(PROGRAMS / "fetch.py"), "curl")
LOGIN = f"{proxies.USER}:{proxies.PASSWORD}"
RULES = ("allowed.test:80", "allowed.test", "cdn.test:80", "cdn.test", "db.test:6379")
URLS = ("http://allowed.test/1", "https://allowed.test/2", "http://cdn.test/3", "https://cdn.test/4")


def http(port: int = proxies.CONNECT, login: str = LOGIN) -> str:
    return f"http://{login}@{services.INTERNET}:{port}"


def socks(port: int = proxies.SOCKS, scheme: str = "socks5h", login: str = "") -> str:
    return f"{scheme}://{login}{services.INTERNET}:{port}"


WAYS = [
    pytest.param({"HTTPS_PROXY": http(), "HTTP_PROXY": http()}, proxies.CONNECT, LOGIN, id="HTTP"),
    pytest.param(
        {"https_proxy": http(), "http_proxy": http()}, proxies.CONNECT, LOGIN, id="in small letters"
    ),
    pytest.param({"ALL_PROXY": http()}, proxies.CONNECT, LOGIN, id="HTTP for all"),
    pytest.param({"ALL_PROXY": socks()}, proxies.SOCKS, None, id="SOCKS, names resolved there"),
    pytest.param(
        {"all_proxy": socks(scheme="socks5")}, proxies.SOCKS, None, id="SOCKS, as anybody writes it"
    ),
    pytest.param({"ALL_PROXY": socks(login=f"{LOGIN}@")}, proxies.SOCKS, LOGIN, id="SOCKS with a password"),
]


def unseen(sandbox: Sandbox) -> None:
    """The server's environment knows nothing of the proxy, and what we write nothing of its password."""
    inside = sandbox.call("environ", child=False)
    assert not {name.lower() for name in inside} & {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
    assert services.INTERNET not in str(inside)
    status, said = sandbox.finish()
    assert status == 0
    assert proxies.PASSWORD not in f"{inside}{said}{sandbox.log.read_text()}"


@pytest.mark.parametrize(("environ", "proxy", "user"), WAYS)
def test_the_proxy_is_told_the_name_and_nobody_else_is(
    environ: dict[str, str], proxy: int, user: str | None, internet: Internet, extra: Extra, start: Start,
    require: Require,
) -> None:  # fmt: skip
    require("curl")
    sandbox = start(*RULES, environ=environ)
    found = sandbox.lines([*CURL, *URLS[:2]])
    assert [one.get("body", one.get("error")) for one in found] == ["hello allowed.test\n"] * 2
    assert extra.proxied() == [
        {"proxy": proxy, "host": "allowed.test", "port": port, "user": user} for port in (80, 443)
    ]
    assert [(one["host"], one["path"]) for one in internet.requests()] == [
        ("allowed.test", "/1"), ("allowed.test", "/2"),
    ]  # fmt: skip
    assert internet.names_asked() == []
    assert internet.outside_packets(Flow("tcp", services.INTERNET, proxy)) == []
    assert [one.get("proxy") for one in sandbox.events("egress.allow")] == [True, True]
    unseen(sandbox)


@pytest.mark.parametrize("exceptions", ["cdn.test", ".test,other.example", "*", "cdn.test:80 cdn.test:443"])
def test_what_no_proxy_names_goes_direct(
    exceptions: str, internet: Internet, extra: Extra, start: Start, require: Require
) -> None:
    require("curl")
    environ = {"HTTPS_PROXY": http(), "HTTP_PROXY": http(), "NO_PROXY": exceptions}
    sandbox = start(*RULES, environ=environ)
    found = sandbox.lines([*CURL, *URLS])
    assert [one.get("status", one.get("error")) for one in found] == [200] * 4
    direct = {"cdn.test"} if "cdn" in exceptions else {"cdn.test", "allowed.test"}
    assert set(internet.names_asked()) == direct
    assert {one["host"] for one in extra.proxied()} == {"allowed.test", "cdn.test"} - direct
    assert [one["path"] for one in internet.requests()] == ["/1", "/2", "/3", "/4"]
    unseen(sandbox)


@pytest.mark.parametrize("url", [http(), socks()], ids=["HTTP", "SOCKS"])
def test_any_protocol_goes_through_it(
    url: str, internet: Internet, extra: Extra, start: Start, require: Require
) -> None:
    require("redis-cli")
    sandbox = start(*RULES, environ={"ALL_PROXY": url})
    done = sandbox.run(["redis-cli", "-h", "db.test", "echo", "hi"])
    assert (done["out"], done["err"]) == ("hi\n", "")
    assert [(one["host"], one["port"]) for one in extra.proxied()] == [("db.test", 6379)]
    assert internet.names_asked() == []


WANTED = [("allowed.test", 80), ("allowed.test", 443)]
REFUSALS = [
    pytest.param(http(proxies.CONNECT_REFUSING), WANTED, id="HTTP, refused"),
    pytest.param(http(login="clerk:wrong"), WANTED, id="HTTP, wrong password"),
    pytest.param(socks(proxies.SOCKS_REFUSING), WANTED, id="SOCKS, refused"),
    pytest.param(socks(login="clerk:wrong@"), [], id="SOCKS, wrong password"),
    pytest.param(http(3999), [], id="HTTP, nobody there"),
    pytest.param(socks(3999), [], id="SOCKS, nobody there"),
]


@pytest.mark.parametrize(("url", "asked"), REFUSALS)
def test_a_proxy_that_refuses_is_a_quick_failure(
    url: str, asked: list[tuple[str, int]], internet: Internet, extra: Extra, start: Start, require: Require
) -> None:
    require("curl")
    sandbox = start(*RULES, environ={"HTTPS_PROXY": url, "HTTP_PROXY": url})
    found = sandbox.lines([*CURL, *URLS[:2]])
    _failed(found)
    # A client may try again, and by the other family.
    assert {(one["host"], one["port"]) for one in extra.proxied()} == set(asked)
    assert (internet.requests(), internet.names_asked()) == ([], [])
    ends = [one["end"] for one in sandbox.events("egress.close")]
    assert len(ends) >= 2
    assert all("proxy" in end for end in ends), ends
    unseen(sandbox)


@pytest.mark.parametrize("url", [http(), socks()], ids=["HTTP", "SOCKS"])
def test_what_is_denied_never_comes_to_the_proxy(
    url: str, internet: Internet, extra: Extra, start: Start, require: Require
) -> None:
    require("curl")
    sandbox = start(*RULES, environ={"ALL_PROXY": url})
    _failed(sandbox.lines([*CURL, "http://evil.test/", "https://evil.test/", f"https://{services.V4}/"]))
    fronted = sandbox.run(["curl", "-sS", "--connect-to", "::allowed.test:", "https://evil.test/"])
    assert (fronted["status"] != 0, fronted["seconds"] < QUICK_S) == (True, True)
    assert {one["host"] for one in extra.proxied()} == {"allowed.test"}
    assert (internet.requests(), internet.names_asked()) == ([], [])
    assert sandbox.denied() == {"evil.test", f"{services.V4}:443", "allowed.test:443"}


def _failed(found: list[Line]) -> None:
    assert [one for one in found if "error" not in one or one["seconds"] > QUICK_S] == []


def test_a_proxy_by_tls_stops_the_start(start: Start) -> None:
    sandbox = start(*RULES, environ={"HTTPS_PROXY": f"https://{LOGIN}@{services.INTERNET}:3128"})
    status, said = sandbox.finish()
    assert status == 125
    assert "proxy" in said
    assert proxies.PASSWORD not in said
