"""The rules of `[network]` in words: where each was written, what it waives, and which cannot hold."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.plan.enforceable import key_origin
from sandbox.policy import hosts
from sandbox.policy.model import HostRule, Origin, Policy

MOST_PORTS = 120
"""Each port takes two listeners of the trap, whose descriptors travel in one message (253, unix(7))."""
_DNS = 53


def key_of(rule: HostRule, policy: Policy) -> str:
    """The list of the profile in which the rule was written first."""
    text = hosts.spelt(rule.host, rule.port)
    lists = (f"network.{name}" for name in ("allow", "opaque", "private"))
    return next((key for key in lists if policy.origin(f"{key}.{text}") == rule.origin), "network.allow")


def unchecked(policy: Policy) -> tuple[str, ...]:
    """A sentence per opaque host: the waivers of a policy's network."""
    return tuple(_unchecked(rule, policy) for rule in policy.network.allow if rule.opaque)


def _unchecked(rule: HostRule, policy: Policy) -> str:
    text = hosts.spelt(rule.host, rule.port)
    written = policy.origin(f"network.opaque.{text}")
    origin = rule.origin if written.file == "default" else written
    return f"what is said to `{text}` is not checked: opaque, {origin}"


def waiver_key(waiver: str, policy: Policy) -> str:
    """The key by which the profile waives that."""
    if waiver.startswith("the image "):
        return "server.unpinned"
    if waiver.startswith("`--trust-network`"):
        return "--trust-network"
    if waiver.startswith("the rule "):
        return "inspect.waive"
    return "network.opaque" if waiver in unchecked(policy) else "files.expose"


def unenforceable(policy: Policy) -> Iterator[tuple[str, str, Origin]]:
    """Key, reason and place of every rule that nothing of ours could make true."""
    rules = policy.network.allow
    if rules and policy.syscalls == "strict":
        tier = f'`syscalls.tier = "strict"` ({key_origin(policy, "syscalls.tier")})'
        why = f"lets the server connect, but {tier} leaves it no internet socket"
        yield key_of(rules[0], policy), why, rules[0].origin
    for rule in rules:
        if rule.port == _DNS:
            text = hosts.spelt(rule.host, rule.port)
            why = f"allows `{text}`, but port {_DNS} is answered by the sandbox's own name service"
            yield key_of(rule, policy), why, rule.origin
    ports = {rule.port for rule in rules}
    if len(ports) > MOST_PORTS:
        why = f"brings the ports allowed to {len(ports)}; the trap listens on at most {MOST_PORTS}"
        yield key_of(rules[-1], policy), why, rules[-1].origin
