"""What this version and this host cannot enforce is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sandbox.errors import CannotEnforce
from sandbox.plan.facts import HostFacts, Probe
from sandbox.policy.model import Isolation, Origin, Policy, Tools

Finding = tuple[str, str, Origin | None]
"""A key, why it cannot be enforced, and where it was written, unless that is where the policy says."""

MOST_REPEATS = 10_000
"""More moments of one call are not remembered."""

FIRST_PORT = 1024
"""The first on which one may listen without a capability in a new network namespace (ip-sysctl)."""

_TOOLS, _ISOLATION = Tools(), Isolation()


def _network(policy: Policy) -> Iterator[Finding]:
    if policy.network.allow:
        # Imported with the parser of host names, which a start without a network saves.
        from sandbox.plan import egress

        yield from egress.unenforceable(policy)


def _secrets(policy: Policy) -> Iterator[Finding]:
    for secret in policy.secrets:
        if secret.inject:
            why = "needs TLS that ends in the egress gateway, which does not exist yet"
            yield f"secrets.{secret.name}.inject", why, None


def _tools(policy: Policy) -> Iterator[Finding]:
    if policy.tools.ask_tainted and policy.inspect.poison == "off":
        yield "tools.ask_tainted", 'asks about nothing while `inspect.poison = "off"` finds nothing', None
    if (policy.tools.repeat or 0) > MOST_REPEATS:
        yield "tools.repeat", f"counts at most {MOST_REPEATS} of the same call", None
    # Here and not in the file's own check: a parent may bring the other key.
    if policy.tools.cost and policy.tools.budget is None:
        yield "tools.cost", "bounds nothing without `tools.budget`", None
    if policy.tools.window != _TOOLS.window and policy.tools.repeat is None:
        yield "tools.window", "bounds nothing without `tools.repeat`", None
    for name in ("answer", "ask_at"):
        if getattr(policy.tools, name) != getattr(_TOOLS, name) and not _asks(policy):
            yield f"tools.{name}", "means nothing: no tool, and nothing of `[client]`, is asked about", None


def _asks(policy: Policy) -> bool:
    tools, client = policy.tools, policy.client
    return bool(tools.ask or tools.ask_tainted) or "ask" in (client.sampling, client.elicitation)


def _natively(policy: Policy) -> Iterator[Finding]:
    """What a container engine alone can do."""
    if policy.isolation.runtime != _ISOLATION.runtime:
        why = f"asks for `{policy.isolation.runtime}`; the native sandbox shares the kernel"
        yield "isolation.runtime", why, None
    if policy.server.image is not None:
        yield "server.image", f"names the image `{policy.server.image}`; the native sandbox has none", None
    if policy.server.transport == "http" and 0 < (policy.server.port or 0) < FIRST_PORT:
        why = f"is below {FIRST_PORT}, where the native sandbox lets no server listen"
        yield "server.port", why, None


def _http(policy: Policy) -> Iterator[Finding]:
    if policy.server.transport == "http":
        from sandbox.plan import http_inside  # for the few servers that listen

        yield from http_inside.unenforceable(policy)
    if policy.server.url is not None or policy.server.headers or policy.server.ca or policy.server.pin:
        from sandbox.plan import remote

        yield from remote.unenforceable(policy)


_RULES: tuple[Callable[[Policy], Iterator[Finding]], ...] = (
    _network,
    _secrets,
    _tools,
    _http,
)


def unenforceable(policy: Policy, *, natively: bool = False) -> list[tuple[str, str, Origin]]:
    """Every key of the policy that no host could enforce: the key, why, and where it was written."""
    rules = (*_RULES, _natively) if natively else _RULES
    found = (finding for rule in rules for finding in rule(policy))
    return [(key, why, origin or key_origin(policy, key)) for key, why, origin in found]


def refuse_unenforceable(policy: Policy, facts: HostFacts | None) -> None:
    """Raises `CannotEnforce` naming every key of the policy, or the need of ours, that cannot be met.

    `facts`: of the host where the native backend realises it, None where an engine does.
    """
    if placed := unenforceable(policy, natively=facts is not None):
        raise _refused(placed)
    for name, probe in _needs(facts) if facts is not None else ():
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
        ("routes and listeners in a network namespace", facts.trap),
    )


def _refused(placed: list[tuple[str, str, Origin]]) -> CannotEnforce:
    key, _, origin = placed[0]
    return CannotEnforce(
        "cannot-enforce",
        "\n".join(f"`{key}` ({origin}) {why}" for key, why, origin in placed),
        rule="never weaker than asked",
        hint=_hint(key, origin),
    )


def _hint(key: str, origin: Origin) -> str:
    if key == "server.port":
        option = "--http PORT" if origin.file == "--http" else f"`{key}` in {origin}"
        return f"let the server listen elsewhere: {option}, from {FIRST_PORT} on and not in `network.allow`"
    if origin.file == "--http":
        return 'a profile under which it may listen: `--profile base`, or one with `syscalls.tier = "net"`'
    if origin.file.startswith("--"):
        return f"leave `{origin}` out; the server then runs without that grant"
    return f"remove `{key}` from {origin}, if the server may run without it"


def key_origin(policy: Policy, key: str) -> Origin:
    """Where `key` or the nearest table above it was written."""
    while policy.origin(key).file == "default" and "." in key:
        key = key.rpartition(".")[0]
    return policy.origin(key)
