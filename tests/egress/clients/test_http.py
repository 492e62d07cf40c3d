"""Every HTTP client works with hosts that are allowed, unaware of the sandbox, and with no other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.attacks.inside import PYTHON, World
from tests.conftest import Require
from tests.egress import services
from tests.egress.clients.conftest import Start
from tests.egress.clients.inside import QUICK_S, Line, Sandbox, begun
from tests.egress.clients.kit import PROGRAMS, Kit
from tests.egress.extra_services import DEAD, HALF, HTTP2, HTTP2_PLAIN, LOCAL, Extra
from tests.egress.internet import Internet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Client:
    """A program that fetches URLs: what it needs, and how it is started."""

    name: str
    part: str
    needs: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return self.name

    def argv(self, kit: Kit) -> list[str]:
        return [word.format(kit=kit.place, programs=PROGRAMS) for word in self.words]


def python(name: str, needs: str = "") -> Client:
    return Client(
        name, "" if needs or name == "urllib" else "pypi", needs, (PYTHON, "{programs}/fetch.py", name)
    )


def node(name: str) -> Client:
    return Client(name, "" if name == "fetch" else "npm", "node", ("node", "{programs}/fetch.cjs", name))


CLIENTS = (
    *(python(name, "curl") for name in ("curl", "curl --http2")),
    *map(python, ("urllib", "requests", "httpx", "aiohttp")),
    *map(node, ("fetch", "undici", "axios")),
    Client("java", "java", "javac", ("java", "-cp", "{kit}/java", "Fetch")),
    Client("go", "go", "go", ("{kit}/go/fetch",)),
)
each_client = pytest.mark.parametrize("client", CLIENTS, ids=str)

ALLOWED = (
    "http://allowed.test", "https://allowed.test", "http://www.allowed.test", "https://www.allowed.test:8443",
    "http://cdn.test", "https://cdn.test", "http://v6only.test", "https://v6only.test",
    "http://multi.test", "https://multi.test", f"http://{HALF}", f"http://localhost:{LOCAL}",
)  # fmt: skip
RULES = (
    "allowed.test:80", "allowed.test", "*.allowed.test:80", "*.allowed.test:8443", "cdn.test:80", "cdn.test",
    "v6only.test:80", "v6only.test", "multi.test:80", "multi.test", f"{HALF}:80", f"localhost:{LOCAL}",
)  # fmt: skip
# evil.test has the address of allowed.test and cdn.test.
DENIED = {
    "http://evil.test": "evil.test",
    "https://evil.test": "evil.test",
    f"http://{services.V4}": f"{services.V4}:80",
    f"https://{services.V4}": f"{services.V4}:443",
    f"http://[{services.V6}]": f"{services.V6}:80",
    "http://allowed.test:8080": "allowed.test:8080",
    f"http://localhost:{services.HOST_PORTS[0]}": f"localhost:{services.HOST_PORTS[0]}",
}


@pytest.fixture
def fetching(client: Client, kit: Kit, require: Require) -> list[str]:
    """The client's command line, once it is there."""
    if client.needs:
        require(client.needs)
    kit.need(client.part)
    return client.argv(kit)


def with_paths(places: Sequence[str]) -> list[str]:
    """URLs that the web server's log can be searched for."""
    return [f"{place}/{n}" for n, place in enumerate(places)]


@each_client
def test_allowed_hosts_answer_and_no_others(
    client: Client, fetching: list[str], internet: Internet, extra: Extra, start: Start
) -> None:
    sandbox = start(*RULES)
    urls = with_paths(ALLOWED)
    _answered(sandbox.lines([*fetching, *urls]), urls)
    _served(urls, internet, extra)
    assert set(internet.names_asked()) == {urlsplit(url).hostname for url in urls} - {"localhost"}
    assert any(one["dst"] == DEAD for one in internet.packets())
    _refused(sandbox, [*fetching, *with_paths(tuple(DENIED))], internet)


@pytest.mark.parametrize("client", [python(f"curl -{family}", "curl") for family in "46"], ids=str)
def test_one_family_inside_is_enough_for_both_outside(
    client: Client, fetching: list[str], internet: Internet, extra: Extra, start: Start
) -> None:
    urls = with_paths([url for url in ALLOWED if "localhost" not in url])
    _answered(start(*RULES).lines([*fetching, *urls]), urls)
    _served(urls, internet, extra)


@pytest.mark.parametrize("client", [client for client in CLIENTS if client.name == "java"], ids=str)
def test_a_wish_for_http2_that_the_host_does_not_have_is_in_nobodys_way(
    client: Client, fetching: list[str], internet: Internet, start: Start
) -> None:
    (found,) = start("allowed.test:80").lines([*fetching, "http://allowed.test/wish"])
    assert (found["status"], found["version"]) == (200, "HTTP_1_1")
    (asked,) = internet.requests()
    assert asked["headers"]["upgrade"] == "h2c"


def _answered(found: list[Line], urls: list[str]) -> None:
    bodies = [(one["url"], one.get("status", one.get("error")), one.get("body")) for one in found]
    assert bodies == [(url, 200, f"hello {urlsplit(url).netloc}\n") for url in urls]
    assert max(one["seconds"] for one in found) < QUICK_S


def _served(urls: list[str], internet: Internet, extra: Extra) -> None:
    """The web server saw each request once, by its name and from the family that the name has."""
    families = {"v6only.test": "fd77::1", HALF: "fd77::1", "cdn.test": "10.77.0.1"}
    seen = {}
    for asked in internet.requests():
        host = asked["host"].split(":")[0]
        assert asked["sni"] == (host if asked["port"] in (443, 8443) else None)
        assert asked["peer"] == families.get(host, asked["peer"])
        assert seen.setdefault((asked["host"], asked["path"]), asked) is asked
    wanted = [(urlsplit(url).netloc, urlsplit(url).path) for url in urls]
    assert list(seen) == [one for one in wanted if not one[0].startswith("localhost")]
    assert [(one["host"], one["path"]) for one in extra.local()] == [
        one for one in wanted if one[0].startswith("localhost")
    ]


def _refused(sandbox: Sandbox, argv: list[str], internet: Internet) -> None:
    """Each URL fails soon, each has an event, and nothing whatever left the test host."""
    before = internet.mark()
    found = sandbox.lines(argv)
    assert [one["url"].rpartition("/")[0] for one in found] == list(DENIED)
    assert [one for one in found if "error" not in one or one["seconds"] > QUICK_S] == []
    assert set(DENIED.values()) <= sandbox.denied()
    assert internet.requests(before) == []
    assert begun(internet, before) == []
    assert internet.host_connections() == []


@each_client
def test_without_a_sandbox_the_others_answer_too(
    client: Client, fetching: list[str], internet: Internet, world: World, kit: Kit
) -> None:
    urls = ["http://evil.test/outside", f"http://{services.V4}/outside"]
    environ = {**world.environ, **kit.environ()}
    done = internet.run([*world.prefix(), *fetching, *urls], env=environ)
    assert [json.loads(line).get("status") for line in done.stdout.splitlines()] == [200, 200], done.stderr
    assert [one["path"] for one in internet.requests()] == ["/outside"] * 2


# --- HTTP/2 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "version"),
    [(CLIENTS[1], "2"), (CLIENTS[-2], "HTTP_2"), (CLIENTS[-1], "HTTP/2.0")],
    ids=["curl", "java", "go"],
)
def test_http2_is_agreed_on_inside_tls(
    client: Client, version: str, fetching: list[str], internet: Internet, extra: Extra, start: Start
) -> None:
    sandbox = start(f"allowed.test:{HTTP2}")
    urls = [f"https://allowed.test:{HTTP2}/two", f"https://evil.test:{HTTP2}/two"]
    good, bad = sandbox.lines([*fetching, *urls])
    assert (good["version"], good["body"]) == (version, f"hello allowed.test:{HTTP2}\n")
    assert (bad["error"] != "", bad["seconds"] < QUICK_S, sandbox.denied()) == (True, True, {"evil.test"})
    (asked,) = extra.http2()
    assert (asked["sni"], asked["path"]) == ("allowed.test", "/two")


def test_http2_without_tls_needs_a_waiver(
    internet: Internet, extra: Extra, start: Start, require: Require
) -> None:
    require("curl")
    sandbox = start(f"cdn.test:{HTTP2_PLAIN}", opaque=(f"allowed.test:{HTTP2_PLAIN}",))
    urls = [f"http://{host}:{HTTP2_PLAIN}/two" for host in ("allowed.test", "cdn.test")]
    good, bad = sandbox.lines([PYTHON, PROGRAMS / "fetch.py", "curl --http2-prior-knowledge", *urls])
    assert (good["version"], good["status"]) == ("2", 200)
    assert (bad["error"] != "", bad["seconds"] < QUICK_S) == (True, True)
    assert sandbox.denied() == {f"cdn.test:{HTTP2_PLAIN}"}
    assert [one["authority"] for one in extra.http2()] == [f"allowed.test:{HTTP2_PLAIN}"]


# --- under another name ---------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_allowed_address_shows_no_other_host(
    scheme: str, internet: Internet, start: Start, require: Require
) -> None:
    """`evil.test` is behind the same address, and the connection to that address is allowed."""
    require("curl")
    sandbox = start("allowed.test:80", "allowed.test")
    done = sandbox.run(["curl", "-sS", "--connect-to", "::allowed.test:", f"{scheme}://evil.test/fronted"])
    assert (done["status"] != 0, done["seconds"] < QUICK_S) == (True, True)
    assert sandbox.denied() == {f"allowed.test:{443 if scheme == 'https' else 80}"}
    assert internet.requests() == []
    outside = ["curl", "-sSk", "--connect-to", "::allowed.test:", f"{scheme}://evil.test/fronted"]
    assert internet.run(outside).stdout == "hello evil.test\n"
