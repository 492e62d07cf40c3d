"""What is not fetched by HTTP works as well: names, databases, WebSockets, gRPC, servers that speak first."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.attacks.inside import PYTHON
from tests.conftest import Require
from tests.egress import services, sinks
from tests.egress.clients.conftest import Start
from tests.egress.clients.inside import QUICK_S, Line, Sandbox, begun
from tests.egress.clients.kit import PROGRAMS, Kit
from tests.egress.extra_services import HTTP2, Extra
from tests.egress.internet import Flow, Internet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OTHER4 = services.ZONE["other.test"][0]


# --- names ----------------------------------------------------------------------------------------

LOOKUPS = [
    pytest.param(["allowed.test", "A"], "NOERROR", "26.53.1.0", id="A"),
    pytest.param(["allowed.test", "AAAA"], "NOERROR", "3053:6278:0:1::100", id="AAAA"),
    pytest.param(["+tcp", "allowed.test", "A"], "NOERROR", "26.53.1.0", id="by TCP"),
    pytest.param(["@8.8.8.8", "allowed.test", "A"], "NOERROR", "26.53.1.0", id="of another resolver"),
    pytest.param(["@2001:4860:4860::8888", "allowed.test", "A"], "NOERROR", "26.53.1.0", id="of one by IPv6"),
    pytest.param(["+noedns", "allowed.test", "A"], "NOERROR", "26.53.1.0", id="without EDNS"),
    pytest.param(["allowed.test", "HTTPS"], "NOERROR", "", id="HTTPS"),
    pytest.param(["evil.test", "A"], "NXDOMAIN", "", id="a name that is not allowed"),
    pytest.param(["+tcp", "evil.test", "AAAA"], "NXDOMAIN", "", id="the same by TCP"),
    pytest.param(["@8.8.8.8", "evil.test", "A"], "NXDOMAIN", "", id="the same of another resolver"),
]


@pytest.mark.parametrize(("words", "status", "address"), LOOKUPS)
def test_dig(
    words: list[str], status: str, address: str, internet: Internet, start: Start, require: Require
) -> None:
    require("dig")
    sandbox = start("allowed.test")
    done = sandbox.run(["dig", "+tries=1", "+time=3", *words])
    assert (done["status"], f"status: {status}" in done["out"]) == (0, True), done["out"]
    assert done["seconds"] < QUICK_S
    answers = [line.split() for line in done["out"].splitlines() if line and not line.startswith(";")]
    assert [answer[-1] for answer in answers] == ([address] if address else [])
    assert sandbox.denied() == ({"evil.test"} if "evil.test" in words else set())
    assert internet.outside_packets() == []


# --- programs of one attempt each -----------------------------------------------------------------

LOGIN = f"user={services.POSTGRES_USER} dbname=postgres"
ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


def psql(host: str, settings: str) -> list[str]:
    return ["psql", "-XAtqw", "-c", ENCRYPTED, f"host={host} {LOGIN} {settings}"]


def redis(host: str) -> list[str]:
    return ["redis-cli", "-h", host, "echo", "hi"]


@dataclass(frozen=True)
class Attempt:
    """A program, what it says of a host that is allowed, and the same with hosts that are not."""

    allowed: list[str]
    said: str
    others: tuple[list[str], ...]
    port: int


ATTEMPTS = [
    *(
        pytest.param(
            Attempt(psql("db.test", mode), said, (psql("evil.test", mode), psql(services.V4, mode)), 5432),
            id=f"psql {mode.split()[0]}",
        )
        for mode, said in (
            ("sslmode=require", "t"), ("sslmode=verify-full", "t"), ("sslmode=prefer", "t"),
            ("sslmode=disable", "f"), ("sslmode=require sslsni=0", "t"),
        )
    ),
    pytest.param(
        Attempt(redis("db.test"), "hi", (redis("evil.test"), redis(services.V4)), 6379), id="redis-cli"
    ),
]  # fmt: skip


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_databases(attempt: Attempt, internet: Internet, start: Start, require: Require) -> None:
    require(attempt.allowed[0])
    sandbox = start(f"db.test:{attempt.port}", PGPASSWORD=services.POSTGRES_PASSWORD, PGCONNECT_TIMEOUT="10")
    done = sandbox.run(attempt.allowed)
    assert (done["out"], done["err"]) == (f"{attempt.said}\n", "")
    assert internet.names_asked() == ["db.test", "db.test"]
    flow = Flow("tcp", services.V4, attempt.port)
    assert any(map(flow.takes, internet.packets()))
    assert internet.outside_packets(flow, Flow("udp", services.INTERNET, 53)) == []
    before = internet.mark()
    for other in attempt.others:
        done = sandbox.run(other)
        assert (done["status"] in (1, 2), done["seconds"] < QUICK_S) == (True, True), done
    assert sandbox.denied() == {"evil.test", f"{services.V4}:{attempt.port}"}
    assert begun(internet, before) == []


# --- programs that try one place after the other --------------------------------------------------


def _tried(
    sandbox: Sandbox, argv: list[str], places: list[str], count: int, internet: Internet
) -> list[Line]:
    """The lines of the first `count` places, which are allowed; of the others nothing leaves."""
    found = sandbox.lines([*argv, *places[:count]])
    assert [one.get("body", one.get("error")) for one in found] == ["hello"] * count
    assert max(one["seconds"] for one in found) < QUICK_S
    before = internet.mark()
    refused = sandbox.lines([*argv, *places[count:]])
    assert [one for one in refused if "error" not in one or one["seconds"] > QUICK_S] == []
    assert begun(internet, before) == []
    return found


@pytest.mark.parametrize("part", ["pypi", "npm"])
def test_websockets(part: str, internet: Internet, start: Start, kit: Kit, require: Require) -> None:
    require("node")
    kit.need(part)
    argv = (
        [PYTHON, str(PROGRAMS / "websocket.py")]
        if part == "pypi"
        else ["node", str(PROGRAMS / "websocket.cjs")]
    )
    places = [
        "ws://allowed.test/plain", "wss://allowed.test/secure", "ws://evil.test/", "wss://evil.test/",
        f"ws://{services.V4}/", f"wss://{services.V4}/",
    ]  # fmt: skip
    sandbox = start("allowed.test:80", "allowed.test")
    _tried(sandbox, argv, places, 2, internet)
    seen = [(one["host"], one["sni"], one["path"]) for one in internet.requests()]
    assert seen == [("allowed.test", None, "/plain"), ("allowed.test", "allowed.test", "/secure")]
    assert sandbox.denied() == {"evil.test", f"{services.V4}:80", f"{services.V4}:443"}


def test_grpc(internet: Internet, extra: Extra, start: Start, kit: Kit) -> None:
    kit.need("pypi")
    argv = [PYTHON, str(PROGRAMS / "call.py"), "tls"]
    places = [f"{host}:{HTTP2}" for host in ("allowed.test", "v6only.test", "evil.test", services.V4)]
    sandbox = start(f"allowed.test:{HTTP2}", f"v6only.test:{HTTP2}")
    _tried(sandbox, argv, places, 2, internet)
    seen = [(one["authority"], one["sni"], one["path"]) for one in extra.http2()]
    assert seen == [(place, place.split(":")[0], "/test.Echo/Say") for place in places[:2]]
    assert sandbox.denied() == {"evil.test", f"{services.V4}:{HTTP2}"}


def test_servers_that_speak_first(internet: Internet, start: Start) -> None:
    argv = [PYTHON, str(PROGRAMS / "greeted.py")]
    places = [f"other.test:{port}" for port in services.SPEAKER_PORTS]
    places += ["evil.test:2222", f"{OTHER4}:2222", f"{OTHER4}:3306", "other.test:22"]
    sandbox = start(*places[:2])
    found = _tried(sandbox, argv, places, 2, internet)
    assert [one["banner"] for one in found] == [sinks.BANNER.decode()] * 2
    assert internet.heard() == b"hello" * 2
    assert sandbox.denied() == {"evil.test", f"{OTHER4}:2222", f"{OTHER4}:3306", "other.test:22"}
