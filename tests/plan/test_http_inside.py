"""A server inside that speaks HTTP: where it is found, what the plan refuses of it, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.errors import CannotEnforce, UsageError
from sandbox.plan.describe import rows
from sandbox.plan.plan import plan
from sandbox.plan.spec import Endpoint
from sandbox.policy.flagged import add
from sandbox.policy.flags import Flags
from tests.plan.world import facts, policy, survey

HTTP = {"transport": "http", "port": 3000}


def endpoint(server: dict[str, Any]) -> Endpoint | None:
    return plan(policy({"server": server}), facts(), survey({})).endpoint


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        pytest.param({}, None, id="over stdin and stdout"),
        pytest.param(HTTP, Endpoint("127.0.0.1", 3000, "/mcp", ready=30.0), id="a port"),
        pytest.param(HTTP | {"path": "/"}, Endpoint("127.0.0.1", 3000, "/"), id="a path"),
        pytest.param(HTTP | {"ready": 2.5}, Endpoint("127.0.0.1", 3000, "/mcp", ready=2.5), id="a deadline"),
    ],
)
def test_where_it_is_found(server: dict[str, Any], expected: Endpoint | None) -> None:
    assert endpoint(server) == expected


@pytest.mark.parametrize(
    ("port", "words"),
    [(443, "network.allow"), (8443, "network.allow"), (53, "name service")],
)
def test_the_trap_has_no_port_of_the_servers(port: int, words: str) -> None:
    table = {"server": HTTP | {"port": port}, "network": {"allow": ["a.example", "b.example:8443"]}}
    with pytest.raises(CannotEnforce) as caught:
        plan(policy(table), facts(), survey({}))
    assert caught.value.what.startswith("`server.port` (web.toml:")
    assert words in caught.value.what


@pytest.mark.parametrize(
    ("text", "table", "words"),
    [
        ("443", {}, "--http PORT, from 1024 on"),
        ("8443", {"network": {"allow": ["b.example:8443"]}}, "--http PORT, from 1024 on"),
        ("3000", {"syscalls": "strict"}, "--profile base"),
    ],
)
def test_the_hint_is_about_the_port_and_not_about_leaving_it_out(
    text: str, table: dict[str, Any], words: str
) -> None:
    with pytest.raises(CannotEnforce) as caught:
        plan(add(policy(table), Flags(http=text)), facts(), survey({}))
    assert words in caught.value.hint
    assert "leave" not in caught.value.hint


def test_any_other_port_may_be_the_servers_beside_a_network() -> None:
    table = {"server": HTTP, "network": {"allow": ["a.example"]}}
    assert plan(policy(table), facts(), survey({})).endpoint is not None


def test_the_plan_says_so() -> None:
    given = policy({"server": HTTP | {"ready": 5.0}})
    found = [row for row in rows(plan(given, facts(), survey({})), facts(), given) if "HTTP" in row.what]
    assert [row.what for row in found] == ["speaks HTTP at 127.0.0.1:3000/mcp of its network, within 5 s"]
    assert found[0].enforced
    assert found[0].origin.startswith("web.toml:")


# --- the option ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("3000", (3000, None), id="a port"),
        pytest.param("3000/", (3000, "/"), id="the root"),
        pytest.param("65535/a/b?c=d", (65535, "/a/b?c=d"), id="a path"),
    ],
)
def test_the_option_says_port_and_path(text: str, expected: tuple[int, str | None]) -> None:
    server = add(policy(), Flags(http=text)).server
    assert (server.transport, server.port, server.path) == ("http", *expected)


def test_the_option_takes_the_place_of_the_profiles_port_and_keeps_its_path() -> None:
    made = add(policy({"server": HTTP | {"path": "/x", "ready": 2.0}}), Flags(http="4000"))
    assert (made.server.port, made.server.path, made.server.ready) == (4000, "/x", 2.0)
    assert made.origin("server.port").file == "--http"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "65536",
        "999999",
        "x",
        "3000 ",
        " 3000",
        "3000mcp",
        "3000/a b",
        "3000/\x1b[0m",
        "٣٠٠٠",
        "+1",
        "localhost:3000",
    ],
)
def test_what_is_no_port_is_a_mistake(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        add(policy(), Flags(http=text))
    assert "--http" in caught.value.what
    assert "\x1b" not in caught.value.what
