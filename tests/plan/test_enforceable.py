"""What cannot be enforced yet, or here, is refused with the key and its line."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sandbox.errors import CannotEnforce
from sandbox.plan.plan import plan
from sandbox.policy.model import ArgumentRule, HostRule, Network, Origin, Policy
from tests.plan.world import facts, failing, policy, survey

LATER = [
    ({"network": ["api.example.org"]}, "network.allow"),
    ({"secrets": {"TOKEN": {"inject": ["api.example.org"]}}}, "secrets.TOKEN.inject"),
    ({"traffic": {"rate": 5.0}}, "traffic.rate"),
    ({"traffic": {"concurrency": 5}}, "traffic.concurrency"),
    ({"traffic": {"timeout": 5.0}}, "traffic.timeout"),
    ({"tools": {"allow": ("a",)}}, "tools.allow"),
    ({"tools": {"allow": ()}}, "tools.allow"),
    ({"tools": {"deny": ("a",)}}, "tools.deny"),
    ({"tools": {"ask": ("a",)}}, "tools.ask"),
    ({"tools": {"pin": "locked"}}, "tools.pin"),
    ({"tools": {"arguments": (ArgumentRule("a", "b", enum=("c",)),)}}, "tools.arguments"),
    ({"inspect": {"poison": "warn"}}, "inspect.poison"),
    ({"inspect": {"secrets": "log"}}, "inspect.secrets"),
    ({"inspect": {"protocol": "strict"}}, "inspect.protocol"),
    ({"isolation": {"runtime": "gvisor"}}, "isolation.runtime"),
    ({"isolation": {"decoys": True}}, "isolation.decoys"),
    ({"server": {"transport": "http"}}, "server.transport"),
    ({"audit": {"payloads": True}}, "audit.payloads"),
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
    table: dict[str, Any] = {"tools": {"deny": ("a",), "ask": ("b",)}, "inspect": {"poison": "warn"}}
    with pytest.raises(CannotEnforce) as caught:
        plan(policy(table), facts(), survey({}))
    assert [line.split("`")[1] for line in caught.value.what.splitlines()] == [
        "tools.deny",
        "tools.ask",
        "inspect.poison",
    ]


def test_a_flag_is_named_as_a_flag() -> None:
    flagged = Policy("base", network=Network((HostRule("x.org", 443, Origin("--allow-net")),)))
    with pytest.raises(CannotEnforce) as caught:
        plan(flagged, facts(), survey({}))
    assert "leave `--allow-net` out" in caught.value.hint


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
