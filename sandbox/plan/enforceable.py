"""What this version and this host cannot enforce is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sandbox.errors import CannotEnforce
from sandbox.plan.facts import HostFacts, Probe
from sandbox.policy.model import Inspect, Isolation, Origin, Policy, Tools

_TOOLS, _INSPECT, _ISOLATION = Tools(), Inspect(), Isolation()


def _network(policy: Policy) -> Iterator[tuple[str, str]]:
    # A budget without `allow` holds as it is: nothing passes at all.
    if policy.network.allow:
        hosts = ", ".join(f"`{rule.host}:{rule.port}`" for rule in policy.network.allow)
        yield "network.allow", f"lets the server connect to {hosts}; there is no egress gateway yet"


def _secrets(policy: Policy) -> Iterator[tuple[str, str]]:
    for secret in policy.secrets:
        if secret.inject:
            yield f"secrets.{secret.name}.inject", "needs the egress gateway, which does not exist yet"


def _traffic(policy: Policy) -> Iterator[tuple[str, str]]:
    for name in ("rate", "concurrency", "timeout"):
        if getattr(policy.traffic, name) is not None:
            yield f"traffic.{name}", "is not counted yet"


def _tools(policy: Policy) -> Iterator[tuple[str, str]]:
    for name in ("allow", "deny", "ask", "pin", "arguments"):
        if getattr(policy.tools, name) != getattr(_TOOLS, name):
            yield f"tools.{name}", "needs the inspection of tool calls, which does not exist yet"


def _inspect(policy: Policy) -> Iterator[tuple[str, str]]:
    for name in ("poison", "secrets", "protocol"):
        if getattr(policy.inspect, name) != getattr(_INSPECT, name):
            yield f"inspect.{name}", "needs an inspector that does not exist yet"


def _isolation(policy: Policy) -> Iterator[tuple[str, str]]:
    if policy.isolation.runtime != _ISOLATION.runtime:
        yield (
            "isolation.runtime",
            f"asks for `{policy.isolation.runtime}`; the native sandbox shares the kernel",
        )
    if policy.isolation.decoys:
        yield "isolation.decoys", "plants canaries that nothing looks for yet"


def _rest(policy: Policy) -> Iterator[tuple[str, str]]:
    if policy.server.transport != "stdio":
        yield "server.transport", f"is `{policy.server.transport}`; only `stdio` is carried yet"
    if policy.audit.payloads:
        yield "audit.payloads", "would log payloads that nothing redacts yet"


LATER: tuple[Callable[[Policy], Iterator[tuple[str, str]]], ...] = (
    _network,
    _secrets,
    _traffic,
    _tools,
    _inspect,
    _isolation,
    _rest,
)


def refuse_unenforceable(policy: Policy, facts: HostFacts) -> None:
    """Raises `CannotEnforce` for the first keys of the policy, or the first need of the host, we cannot meet."""
    findings = [finding for rule in LATER for finding in rule(policy)]
    if findings:
        raise _later(policy, findings)
    for name, probe in _needs(facts):
        if not probe.works:
            raise CannotEnforce(
                "host-cannot-enforce",
                f"{name} do not work here: {probe.detail or 'the probe failed'}",
                rule="the native backend needs them",
                hint=probe.hint or "mcp-sandbox doctor",
            )


def _needs(facts: HostFacts) -> tuple[tuple[str, Probe], ...]:
    return (
        ("user namespaces", facts.namespaces),
        ("mounts in a user namespace", facts.mounts),
        ("mounts of /proc in a pid namespace", facts.proc),
        ("system call filters", facts.seccomp),
    )


def _later(policy: Policy, findings: list[tuple[str, str]]) -> CannotEnforce:
    key, _ = findings[0]
    return CannotEnforce(
        "cannot-enforce",
        "\n".join(f"`{key}` ({key_origin(policy, key)}) {why}" for key, why in findings),
        rule="never weaker than asked",
        hint=_hint(policy, key),
    )


def _hint(policy: Policy, key: str) -> str:
    origin = key_origin(policy, key)
    if origin.file.startswith("--"):
        return f"leave `{origin}` out; the server then runs without that grant"
    return f"remove `{key}` from {origin}, if you accept what it asks for not to be enforced"


def key_origin(policy: Policy, key: str) -> Origin:
    """Where `key` or the nearest table above it was written."""
    while policy.origin(key).file == "default" and "." in key:
        key = key.rpartition(".")[0]
    return policy.origin(key)
