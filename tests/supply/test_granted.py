"""A profile's hash changes with what it grants, and with nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.policy.load import read
from sandbox.policy.model import (
    Env,
    Files,
    HostRule,
    Match,
    Network,
    Origin,
    PathRule,
    Policy,
    Quota,
    Secret,
    Server,
    Supply,
    Tools,
)
from sandbox.records import is_record, names, replace
from sandbox.supply.granted import granted, profile_digest

HERE, THERE = Origin("a.toml", 3), Origin("b.toml", 9)
BASE = Policy(
    "a",
    files=Files(read=(PathRule("~/x", None, HERE), PathRule("~/y", None, HERE))),
    network=Network((HostRule("api.example", 443, HERE), HostRule("b.example", 443, HERE))),
)


def test_of_the_least_policy_nothing_is_granted() -> None:
    assert granted(replace(Policy("other"), name="")) == {}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {"name": "b", "description": "x", "sources": (("f", "h"),)}, id="what it says of itself"
        ),
        pytest.param({"origins": (("files.read", THERE),)}, id="where a key was written"),
        pytest.param({"match": Match(packages=("npm:x",), versions=">=1")}, id="what it is for"),
        pytest.param({"files": Files(read=tuple(reversed(BASE.files.read)))}, id="the order of paths"),
        pytest.param(
            {"network": Network(tuple(replace(one, origin=THERE) for one in reversed(BASE.network.allow)))},
            id="the order of hosts",
        ),
    ],
)
def test_what_grants_nothing_changes_nothing(changes: dict[str, Any]) -> None:
    assert profile_digest(replace(BASE, **changes)) == profile_digest(BASE)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"files": replace(BASE.files, write=(PathRule("~/x"),))}, id="a writable path"),
        pytest.param({"files": Files(read=(PathRule("~/x", "/in"), PathRule("~/y")))}, id="another place"),
        pytest.param({"network": Network((HostRule("api.example", 443),))}, id="one host fewer"),
        pytest.param({"network": Network((*BASE.network.allow, HostRule("c", 443)))}, id="one host more"),
        pytest.param({"env": Env(passed=("TOKEN",))}, id="a variable"),
        pytest.param({"secrets": (Secret("TOKEN", "env"),)}, id="a secret"),
        pytest.param({"quota": Quota(memory=None)}, id="no limit"),
        pytest.param({"tools": Tools(pin="off")}, id="pins that are off"),
        pytest.param({"syscalls": "compat"}, id="a tier"),
        pytest.param({"server": Server(command=("a", "b"))}, id="a command"),
        pytest.param({"supply": Supply(scripts=("x",))}, id="install scripts"),
        pytest.param({"match": Match(paths="write")}, id="the command's paths"),
    ],
)
def test_what_grants_something_else_is_another(changes: dict[str, Any]) -> None:
    assert profile_digest(replace(BASE, **changes)) != profile_digest(BASE)


def test_the_order_of_a_command_counts() -> None:
    one, other = (replace(BASE, server=Server(command=words)) for words in (("a", "b"), ("b", "a")))
    assert profile_digest(one) != profile_digest(other)


def _leaves(record: Any, at: str = "") -> list[str]:
    found = []
    for name in names(record):
        value = getattr(record, name)
        found += _leaves(value, f"{at}{name}.") if is_record(value) else [f"{at}{name}"]
    return found


_SAID = {"name", "description", "sources", "origins", "match.packages", "match.versions"}


def _with(record: Any, key: str, value: object) -> Any:
    first, _, rest = key.partition(".")
    return replace(record, **{first: _with(getattr(record, first), rest, value) if rest else value})


def _counts(key: str) -> bool:
    return key not in _SAID and (not key.startswith("supply.") or key == "supply.scripts")


@pytest.mark.parametrize("key", [key for key in _leaves(Policy("")) if _counts(key)])
def test_every_key_of_a_policy_counts(key: str) -> None:
    assert profile_digest(_with(Policy(""), key, ("marked",))) != profile_digest(Policy(""))


@pytest.mark.parametrize("name", ["base", "filesystem", "github", "browser"])
def test_shipped_profiles_have_a_digest_that_is_the_same_each_time(name: str) -> None:
    first, again = (read(name, environ={}, cwd="/", trusted_only=True) for _ in range(2))
    assert profile_digest(first) == profile_digest(again)
