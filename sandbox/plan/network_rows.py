"""The network of a sandbox as rows: each host that it reaches, each budget, each behaviour watched for."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.plan.egress import key_of
from sandbox.plan.rows import Row, size
from sandbox.plan.spec import Spec
from sandbox.policy import hosts
from sandbox.policy.model import Behaviour, HostBudget, HostRule, Network, Policy

_LOCAL = ("localhost", "127.0.0.1", "::1")
_COUNTED = "the gateway counts, then breach"
_ANSWER = {
    "off": "none: not looked for",
    "log": "events of the gateway, logged",
    "breach": "events of the gateway, then breach",
}


def network_rows(spec: Spec, policy: Policy) -> Iterator[Row]:
    """Nothing, or one row a rule; then what bounds and watches it."""
    if spec.network == "host":
        why = "none: a build sandbox fetches packages"
        yield Row("network", "the host's own network", why, enforced=False)
        return
    if not spec.egress.allow:
        seen = "network namespace with lo alone, attempts seen by the trap"
        yield Row("network", "nothing: no name resolves, no address connects", seen, "network.allow")
    for rule in spec.egress.allow:
        what = f"connect to {hosts.spelt(rule.host, rule.port)}"
        yield Row("network", what, _mechanism(rule), key_of(rule, policy), str(rule.origin))
    yield from _budgets(spec.egress)
    yield from _behaviour(spec.egress.behaviour, idle=not spec.egress.allow)


def _mechanism(rule: HostRule) -> str:
    if rule.host in _LOCAL:
        how = "the host's own port, by the gateway"
    elif hosts.literal(rule.host):
        how = "this address alone"
    else:
        checked = "" if rule.opaque else "SNI and Host checked, "
        how = f"name by our DNS, {checked}address pinned{', private ones too' if rule.private else ''}"
    return f"trap and gateway: {how}{'; what is said is not checked: opaque' if rule.opaque else ''}"


def _budgets(network: Network) -> Iterator[Row]:
    for name in ("upload", "download", "connections"):
        limit = getattr(network, name)
        if limit is not None:
            yield Row("network", f"{name}: {_amount(name, limit)} in all", _COUNTED, f"network.{name}")
    for budget in network.budgets:
        yield from _budget(budget)


def _budget(budget: HostBudget) -> Iterator[Row]:
    host = hosts.spelt(budget.host, budget.port)
    for name, way in (("upload", "to"), ("download", "from"), ("connections", "to")):
        limit = getattr(budget, name)
        if limit is not None:
            what = f"{name} {way} {host}: {_amount(name, limit)}"
            yield Row("network", what, _COUNTED, f'network.budget."{host}".{name}')


def _amount(name: str, limit: int) -> str:
    return str(limit) if name == "connections" else size(limit)


def _behaviour(watched: Behaviour, *, idle: bool) -> Iterator[Row]:
    """With no host allowed only denied attempts can be seen."""
    alike = f"{watched.beacon_count} intervals to one host, jitter at most {watched.beacon_jitter:.4g}"
    patterns = (
        ("idle", "traffic while no request is open", watched.idle),
        ("denied", f"{watched.denied_streak} denied attempts in a row", watched.denied),
        ("beacon", alike, watched.beacon),
    )
    for name, what, answer in patterns:
        if name == "denied" or not idle:
            key = f"network.behaviour.{name}"
            yield Row("network", what, _ANSWER[answer], key, enforced=answer != "off")
