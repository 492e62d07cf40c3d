"""What a person, a client and the log are told of an attempt: once, where it says so, and how to allow it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.inside import RUN, World
from tests.egress.battery import Sandboxed, heard, new_word
from tests.egress.internet import Internet

pytestmark = pytest.mark.backends(docker="user")

PROFILE = '[network]\nallow = ["allowed.test:443", "private.test:4444"]\n'
LINE = 5  # of `allow`, behind the profile's head
GET = "GET /@ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"

# A call that is denied, what it is told of, and the `--allow-net` that would have let it.
DENIED: list[Any] = [
    pytest.param("tls.tell", {"host": "other.test", "port": 443, "sni": "other.test", "word": "@"},
                 "other.test", "other.test", "the name is not allowed", id="a name"),
    pytest.param("streams.tell", {"host": "allowed.test", "port": 80, "word": GET.format("allowed.test")},
                 "allowed.test:80", "allowed.test:80", "nothing is allowed on this port", id="a port"),
    pytest.param("streams.tell", {"host": "allowed.test", "port": 4444, "word": "@\n"},
                 "allowed.test:4444", "allowed.test:4444", "not allowed on this port", id="another's port"),
    pytest.param("streams.tell", {"host": "203.0.113.5", "port": 9001, "word": "@\n"},
                 "203.0.113.5:9001", "203.0.113.5:9001", "nothing is allowed on this port", id="an address"),
    pytest.param("tls.tell", {"host": "203.0.113.6", "port": 443, "sni": None, "word": "@"},
                 "203.0.113.6:443", "203.0.113.6:443", "no allowed name was looked up", id="an address, 443"),
    pytest.param("streams.tell", {"host": "2001:db8::5", "port": 9001, "word": "@\n"},
                 "[2001:db8::5]:9001", "[2001:db8::5]:9001", "nothing is allowed", id="an IPv6 address"),
    pytest.param("streams.tell", {"host": "127.0.0.1", "port": 18001, "word": "@\n"},
                 "localhost:18001", "localhost:18001", "nothing is allowed", id="a port of the host's"),
    pytest.param("streams.tell", {"host": "private.test", "port": 4444, "word": "@\n"},
                 "private.test:4444", "10.77.0.2:4444", "10.77.0.2 (private)", id="where a name leads"),
]  # fmt: skip


@pytest.fixture
def inside(internet: Internet, world: World) -> Iterator[Sandboxed]:
    """A sandbox that allows little."""
    one = Sandboxed(internet, world, PROFILE)
    yield one
    one.close()


def filled(asked: dict[str, Any], word: str) -> dict[str, Any]:
    """The call with its word."""
    return {
        key: value.replace("@", word) if isinstance(value, str) else value for key, value in asked.items()
    }


@pytest.mark.threat(
    "D3", backend="native", proves="a denied call says which rule and line denied it, and what allows it"
)
@pytest.mark.parametrize(("name", "asked", "where", "grant", "reason"), DENIED)
def test_a_denied_call(
    name: str, asked: dict[str, Any], where: str, grant: str, reason: str,
    inside: Sandboxed, internet: Internet, world: World,
) -> None:  # fmt: skip
    word = new_word()
    asked = filled(asked, word)
    for _ in range(2):
        result = inside.call(name, honest=True, **asked)
        assert result["isError"] is True
        told = result["content"][-1]["text"]
        assert told.startswith(f"mcp-sandbox: denied `{where}` to `{world.name}`")
        assert reason in told
        assert f"{inside.profile.name}:{LINE}" in told or "addresses after resolution" in told
        # Whoever reads this may be able to edit the configuration: the option is for a person.
        assert "--allow-net" not in told
        assert len(result["content"]) == 2
    assert not heard(internet, word)
    status, said = inside.attacker.finish()
    lines = [line for line in said.splitlines() if line.startswith("mcp-sandbox: denied")]
    assert (status, lines) == (0, [f"{told}; allow it with `--allow-net {grant}`"])
    _with(grant, name, asked, word, internet, world)


def _with(grant: str, name: str, asked: dict[str, Any], word: str, internet: Internet, world: World) -> None:
    """What the words advise, pasted, is what was missing."""
    allowed = Sandboxed(internet, world, PROFILE, "--allow-net", grant)
    try:
        result = allowed.call(name, honest=True, **asked)
        assert result["isError"] is False, result
        assert len(result["content"]) == 1
        assert heard(internet, word)
        status, said = allowed.attacker.finish()
        assert (status, "denied" in said) == (0, False), said
    finally:
        allowed.close()


def test_a_call_that_failed_by_itself_is_told_nothing(inside: Sandboxed) -> None:
    result = inside.call("own.tell_unix", path="/nowhere", word="x", honest=True)
    assert (result["isError"], len(result["content"])) == (True, 1)
    result = inside.call("own.heard", honest=True)
    assert (result["isError"], len(result["content"])) == (False, 1)


def test_a_call_that_succeeds_all_the_same_is_left_as_it_is(inside: Sandboxed) -> None:
    result = inside.call("dns.ask", labels=["other", "test"], server="8.8.8.8", honest=True)
    assert (result["isError"], len(result["content"])) == (False, 1)


@pytest.mark.threat(
    "S7", backend="native", proves="every denied lookup and connection is shown, and the chain holds"
)
def test_the_log_shows_every_attempt(inside: Sandboxed, world: World) -> None:
    for number in range(5):
        inside.call("dns.ask", labels=[f"n{number}", "evil", "test"], server="8.8.8.8")
        inside.call("streams.tell", host=f"203.0.113.{number}", port=443, word="x")
        inside.call("datagrams.tell", address=f"203.0.113.{number}", port=443, word="x")
    assert inside.attacker.finish()[0] == 0

    def audit(*words: str) -> str:
        command = [*world.prefix(), sys.executable, "-c", RUN, "audit", *words]
        done = subprocess.run(
            command, env=world.environ, cwd="/", capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout

    shown = [
        json.loads(line) for line in audit("show", str(inside.log), "--kind", "dns", "--json").splitlines()
    ]
    assert [one["detail"]["host"] for one in shown] == [f"n{number}.evil.test" for number in range(5)]
    shown = [
        json.loads(line) for line in audit("show", str(inside.log), "--kind", "egress", "--json").splitlines()
    ]
    told = [
        (one["detail"]["host"], one["detail"]["protocol"]) for one in shown if one["kind"] == "egress.deny"
    ]
    addresses = [f"203.0.113.{number}" for number in range(5)]
    assert sorted(told) == sorted((address, kind) for address in addresses for kind in ("tcp", "udp"))
    assert all(inside.profile.name in one["rule"] for one in shown if one["detail"].get("protocol") == "tcp")
    audit("verify", str(inside.log))
