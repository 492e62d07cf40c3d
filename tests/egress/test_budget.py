"""Budgets: what exceeds one is refused before it passes, and only what passed is counted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.egress.budget import Budget, Excess, Usage
from sandbox.policy.model import HostBudget, HostRule, Network

API = HostRule("api.example.com", 443)
WILD = HostRule("*.example.org", 8443)
SIX = HostRule("2001:db8::1", 443)
RULES = (API, WILD, SIX)
API_KEY = 'network.budget."api.example.com:443"'

Call = tuple[str, HostRule, int]


def ask(budget: Budget, call: Call) -> Excess | None:
    method, rule, count = call
    if method == "connect":
        return budget.connect(rule)
    return budget.up(rule, count) if method == "up" else budget.down(rule, count)


def network(**limits: int) -> Network:
    return Network(RULES, **limits)


def host(**limits: int) -> Network:
    return Network(RULES, budgets=(HostBudget("api.example.com", 443, **limits),))


@dataclass(frozen=True)
class Case:
    network: Network
    passing: tuple[Call, ...]
    last: Call
    quota: str
    what: str
    host: str
    used: int
    limit: int


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            Case(network(upload=100), (("up", API, 60), ("up", WILD, 40)), ("up", SIX, 1),
                 "network.upload", "upload", "", 101, 100),
            id="the session's upload is that of all hosts together",
        ),
        pytest.param(
            Case(network(download=100), (("up", API, 500),), ("down", API, 101),
                 "network.download", "download", "", 101, 100),
            id="what went up is not what came down",
        ),
        pytest.param(
            Case(network(connections=2), (("connect", API, 1), ("connect", WILD, 1)), ("connect", API, 1),
                 "network.connections", "connections", "", 3, 2),
            id="connections are those ever made",
        ),
        pytest.param(
            Case(host(upload=10), (("up", API, 10), ("up", WILD, 99)), ("up", API, 1),
                 f"{API_KEY}.upload", "upload", "api.example.com:443", 11, 10),
            id="a host's own budget, to the last byte",
        ),
        pytest.param(
            Case(host(download=10), (("down", WILD, 99),), ("down", API, 4096),
                 f"{API_KEY}.download", "download", "api.example.com:443", 4096, 10),
            id="the first read may be too much already",
        ),
        pytest.param(
            Case(host(connections=1), (("connect", API, 1), ("connect", WILD, 1)), ("connect", API, 1),
                 f"{API_KEY}.connections", "connections", "api.example.com:443", 2, 1),
            id="a host's connections",
        ),
        pytest.param(
            Case(Network(RULES, upload=10, budgets=(HostBudget("api.example.com", 443, upload=10),)),
                 (("up", API, 10),), ("up", API, 1),
                 f"{API_KEY}.upload", "upload", "api.example.com:443", 11, 10),
            id="of two exceeded budgets the host's is named",
        ),
        pytest.param(
            Case(Network(RULES, budgets=(HostBudget("2001:db8::1", 443, upload=0),)), (), ("up", SIX, 1),
                 'network.budget."[2001:db8::1]:443".upload', "upload", "[2001:db8::1]:443", 1, 0),
            id="an address of IPv6 is written in brackets",
        ),
        pytest.param(
            Case(Network(RULES, budgets=(HostBudget("*.example.org", 8443, upload=5),)),
                 (("up", API, 9),), ("up", WILD, 6),
                 'network.budget."*.example.org:8443".upload', "upload", "*.example.org:8443", 6, 5),
            id="all names behind a wildcard share its budget",
        ),
    ],
)  # fmt: skip
def test_what_would_exceed_a_limit_is_refused_and_named(case: Case) -> None:
    budget = Budget(case.network)
    assert [ask(budget, call) for call in case.passing] == [None] * len(case.passing)
    excess = ask(budget, case.last)
    assert excess is not None
    named = (excess.quota, excess.what, excess.host, excess.used, excess.limit)
    assert named == (case.quota, case.what, case.host, case.used, case.limit)
    assert case.quota in excess.why
    # It did not pass, so it is asked about again, and refused again.
    assert ask(budget, case.last) == excess


@pytest.mark.parametrize(
    ("limits", "call", "why"),
    [
        pytest.param(
            {"upload": 1 << 20},
            ("up", API, (1 << 20) + 512),
            "upload of the session would reach 1 MiB, 512 B more than the 1M of `network.upload`",
            id="a size is shown in its unit, and what is too much to the byte",
        ),
        pytest.param(
            {"connections": 0},
            ("connect", API, 1),
            "connection 1 of the session: `network.connections` allows 0",
            id="connections are counted, not measured",
        ),
    ],
)
def test_the_reason_can_be_read(limits: dict[str, int], call: Call, why: str) -> None:
    excess = ask(Budget(network(**limits)), call)
    assert excess is not None
    assert excess.why == why


def test_without_limits_everything_passes_and_is_counted() -> None:
    budget = Budget(network())
    for call in (("connect", API, 1), ("up", API, 1 << 40), ("down", WILD, 1 << 40)):
        assert ask(budget, call) is None
    assert budget.total == Usage(1 << 40, 1 << 40, 1)
    assert budget.hosts() == (
        ("api.example.com:443", Usage(1 << 40, 0, 1)),
        ("*.example.org:8443", Usage(0, 1 << 40, 0)),
    )


def test_what_no_rule_allows_is_not_counted_but_an_error() -> None:
    with pytest.raises(KeyError):
        Budget(network()).up(HostRule("example.net", 443), 1)


calls = st.tuples(st.sampled_from(["connect", "up", "down"]), st.sampled_from(RULES), st.integers(0, 70))
limits = st.one_of(st.none(), st.integers(0, 100))


@given(st.lists(calls, max_size=40), limits, limits, limits, limits)
def test_no_limit_is_ever_passed_and_the_sums_agree(
    asked: list[Call], upload: int | None, connections: int | None, own: int | None, down: int | None
) -> None:
    bounds = (HostBudget("api.example.com", 443, upload=own, download=down),)
    budget = Budget(Network(RULES, upload=upload, connections=connections, budgets=bounds))
    passed = [call for call in asked if ask(budget, call) is None]
    uploads = [count for method, _, count in passed if method == "up"]
    assert budget.total.upload == sum(uploads)
    assert budget.total.connections == sum(method == "connect" for method, _, _ in passed)
    hosts = dict(budget.hosts())
    for name in ("upload", "download", "connections"):
        assert getattr(budget.total, name) == sum(getattr(usage, name) for usage in hosts.values())
    api = hosts.get("api.example.com:443", Usage())
    assert upload is None or budget.total.upload <= upload
    assert connections is None or budget.total.connections <= connections
    assert own is None or api.upload <= own
    assert down is None or api.download <= down
