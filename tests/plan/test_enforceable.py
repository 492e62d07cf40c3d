"""What cannot be enforced yet, or here, is refused with the key and its line."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sandbox.errors import CannotEnforce
from sandbox.plan.egress import MOST_PORTS, waiver_key
from sandbox.plan.plan import plan
from sandbox.policy.model import ArgumentRule, HostRule, Network, Origin
from tests.plan.world import facts, failing, policy, survey

LATER = [
    ({"secrets": {"TOKEN": {"inject": ["api.example.org"]}}}, "secrets.TOKEN.inject"),
    ({"tools": {"repeat": 10_001}}, "tools.repeat"),
    ({"tools": {"answer": 5.0}}, "tools.answer"),
    ({"tools": {"ask_at": "terminal"}}, "tools.ask_at"),
    ({"tools": {"ask_tainted": ("a",)}, "inspect": {"poison": "off"}}, "tools.ask_tainted"),
    ({"isolation": {"runtime": "gvisor"}}, "isolation.runtime"),
    ({"server": {"transport": "http"}}, "server.transport"),
    ({"server": {"transport": "http", "port": 3000}, "isolation": {"runtime": "gvisor"}}, "server.transport"),
    ({"server": {"transport": "http", "port": 3000}, "syscalls": "strict"}, "server.transport"),
    ({"server": {"transport": "http", "port": 53}}, "server.port"),
    ({"server": {"transport": "http", "port": 80}}, "server.port"),
]


@pytest.mark.parametrize(
    ("table", "key"), [pytest.param(table, key, id=f"{key} {table}") for table, key in LATER]
)
@pytest.mark.threat("K7", proves="a key that nothing enforces yet stops the start and is named")
def test_a_key_whose_part_comes_later_is_refused(table: dict[str, Any], key: str) -> None:
    with pytest.raises(CannotEnforce) as caught:
        plan(policy(table), facts(), survey({}, environ={"TOKEN": "x"}))
    assert f"`{key}` (web.toml:" in caught.value.what
    assert caught.value.exit_status == 125
    assert caught.value.hint


def test_every_key_at_fault_is_named_at_once() -> None:
    table: dict[str, Any] = {
        "tools": {"repeat": 10_001, "answer": 5.0},
        "server": {"transport": "http"},
    }
    with pytest.raises(CannotEnforce) as caught:
        plan(policy(table), facts(), survey({}))
    assert [line.split("`")[1] for line in caught.value.what.splitlines()] == [
        "tools.repeat",
        "tools.answer",
        "server.transport",
    ]


HELD = [
    {"allow": ("a",), "deny": ("b*",), "ask": ("c",), "answer": 5.0},
    {"arguments": (ArgumentRule("a", "b", enum=("c",)),)},
    {"arguments": (ArgumentRule("a", "b", within=("/tmp", "~/src", "/home/u/src/deep")),)},
]


@pytest.mark.parametrize("tools", HELD)
def test_what_a_profile_says_of_calls_is_held(tools: dict[str, Any]) -> None:
    files = {"read": ["~/src"]}
    plan(policy({"tools": tools, "files": files}), facts(), survey({"/home/u/src": "dir"}))


@pytest.mark.parametrize("place", ["~/other", "/home/u", "/work"])
@pytest.mark.threat("K7", proves="an argument rule about what is not mounted stops the start and is named")
def test_a_directory_that_is_not_mounted_bounds_no_argument(place: str) -> None:
    tools = {"arguments": (ArgumentRule("a", "b", within=("~/src", place)),)}
    given = policy({"tools": tools, "files": {"read": ["~/src"]}})
    with pytest.raises(CannotEnforce) as caught:
        plan(given, facts(), survey({"/home/u/src": "dir", "/home/u/other": "dir"}))
    assert caught.value.what.startswith("`tools.arguments.a.b.within` (web.toml")
    assert caught.value.hint == f"mount it: `--allow-read {place}`"


# --- the network ---------------------------------------------------------------------------------

REACHED = [
    pytest.param({"allow": ["api.example.org"]}, id="a name"),
    pytest.param({"allow": ["*.example.org:8443", "10.0.0.5:443", "localhost:5432"]}, id="others"),
    pytest.param({"opaque": ["db.example.org:5432"], "private": ["*.corp.example"]}, id="with marks"),
    pytest.param({"allow": [f"a.example:{port}" for port in range(1000, 1000 + MOST_PORTS)]}, id="120 ports"),
]


@pytest.mark.parametrize("network", REACHED)
def test_hosts_and_their_marks_are_part_of_the_spec(network: dict[str, Any]) -> None:
    given = policy({"network": network})
    spec = plan(given, facts(), survey({}))
    assert given.network.allow
    assert (spec.network, spec.egress) == ("trap", given.network)


def test_the_build_sandbox_alone_has_the_hosts_network() -> None:
    assert plan(policy(), facts(), survey({}), network="host").network == "host"


STRICT = {"syscalls": "strict"}
CONTRADICTIONS = [
    pytest.param(
        {**STRICT, "network": {"allow": ["a.example"]}},
        '`network.allow` (web.toml:10) lets the server connect, but `syscalls.tier = "strict"` (web.toml:30) '
        "leaves it no internet socket",
        id="no internet socket, and a host",
    ),
    pytest.param(
        {**STRICT, "network": {"private": ["a.example"]}},
        "`network.private` (web.toml:12) lets",
        id="private",
    ),
    pytest.param(
        {**STRICT, "network": {"opaque": ["a.example"]}}, "`network.opaque` (web.toml:11) lets", id="opaque"
    ),
    pytest.param(
        {"network": {"allow": ["a.example"], "opaque": ["dns.example:53"]}},
        "`network.opaque` (web.toml:11) allows `dns.example:53`, but port 53 is answered by the",
        id="a name service of its own",
    ),
    pytest.param(
        {"network": {"allow": [f"a.example:{port}" for port in range(1000, 1001 + MOST_PORTS)]}},
        "`network.allow` (web.toml:10) brings the ports allowed to 121; the trap listens on at most 120",
        id="more ports than the trap has",
    ),
]


@pytest.mark.parametrize(("table", "says"), CONTRADICTIONS)
@pytest.mark.threat("K7", proves="hosts that the rest of the profile makes unreachable stop the start")
def test_hosts_that_cannot_be_reached_are_refused(table: dict[str, Any], says: str) -> None:
    with pytest.raises(CannotEnforce) as caught:
        plan(policy(table), facts(), survey({}))
    assert caught.value.what.startswith(says)
    assert caught.value.hint.startswith("remove `network.")


def test_the_plan_refuses_exactly_what_the_trap_cannot_hold() -> None:
    from sandbox import trap

    assert MOST_PORTS == trap.MOST_PORTS
    # Two families, DNS over UDP in each, and the observer travel in one message (unix(7), SCM_MAX_FD).
    assert 2 * (MOST_PORTS + 1) + 2 + 1 <= 253


def test_without_hosts_the_strict_tier_holds() -> None:
    assert plan(policy(STRICT), facts(), survey({})).syscalls == "strict"


def test_a_flag_is_named_as_a_flag() -> None:
    allowed = Network((HostRule("x.org", 443, Origin("--allow-net")),))
    flagged = dataclasses.replace(policy(STRICT | {"network": {"upload": 1}}), network=allowed)
    with pytest.raises(CannotEnforce) as caught:
        plan(flagged, facts(), survey({}))
    assert caught.value.what.startswith("`network.allow` (--allow-net) lets the server connect")
    assert "leave `--allow-net` out" in caught.value.hint


def test_every_opaque_host_is_waived_with_its_line() -> None:
    table = {
        "allow": ["db.example:5432"],
        "opaque": ["db.example:5432", "x.example"],
        "private": ["p.example"],
    }
    found = plan(policy({"network": table}), facts(), survey({}))
    assert found.waivers == (
        "what is said to `db.example:5432` is not checked: opaque, web.toml:11",
        "what is said to `x.example:443` is not checked: opaque, web.toml:11",
    )


def test_a_waiver_knows_the_key_that_waives_it() -> None:
    given = policy({"network": {"opaque": ["db.example:5432"]}})
    (waiver,) = plan(given, facts(), survey({})).waivers
    assert waiver_key(waiver, given) == "network.opaque"
    assert waiver_key("/home/u/.ssh shows /home/u/.ssh: keys (web.toml:5)", given) == "files.expose"


def test_budgets_without_hosts_hold_as_they_are() -> None:
    budgets = dataclasses.replace(policy(), network=Network(upload=1, download=1, connections=1))
    assert plan(budgets, facts(), survey({})).network == "trap"


@pytest.mark.parametrize("probe", ["namespaces", "mounts", "proc", "seccomp"])
def test_a_host_that_lacks_what_we_stand_on_is_refused_with_the_probes_hint(probe: str) -> None:
    host = facts(**{probe: failing("EPERM", "do this")})
    with pytest.raises(CannotEnforce, match="EPERM") as caught:
        plan(policy(), host, survey({}))
    assert caught.value.hint == "do this"
    assert caught.value.exit_status == 125
