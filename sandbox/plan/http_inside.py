"""A server inside that speaks HTTP: where the bridge finds it, and what cannot hold for it."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.plan.rows import Row, duration
from sandbox.plan.spec import Endpoint
from sandbox.policy.model import Origin, Policy, Server

HOST = "127.0.0.1"
PATH = "/mcp"
READY_S = 30.0
_DNS = 53


def endpoint(server: Server) -> Endpoint:
    """The server's own loopback, which nobody outside of the sandbox reaches."""
    ready = READY_S if server.ready is None else server.ready
    return Endpoint(HOST, server.port or 0, server.path or PATH, ready=ready)


def unenforceable(policy: Policy) -> Iterator[tuple[str, str, Origin | None]]:
    """Key and reason: no port, one that our own listeners have, or no socket to listen with."""
    port = policy.server.port
    if port is None:
        yield "server.transport", "is `http`, and no `server.port` says where the server listens", None
    elif port in {_DNS, *(rule.port for rule in policy.network.allow)}:
        why = "is a port of `network.allow`" if port != _DNS else "is that of the sandbox's own name service"
        yield "server.port", f"{why}, where we listen ourselves: let the server listen on another", None
    if policy.syscalls == "strict":
        why = 'is `http`, and `syscalls.tier = "strict"` leaves no socket to listen with'
        yield "server.transport", why, None
    if policy.isolation.runtime == "gvisor":
        why = "is `http`, which is carried out of no gVisor sandbox: its network is not this kernel's"
        yield "server.transport", why, None


def rows(policy: Policy) -> Iterator[Row]:
    """What `plan` says of it."""
    if policy.server.transport != "http":
        return
    found = endpoint(policy.server)
    what = f"speaks HTTP at {HOST}:{found.port}{found.path} of its network, within {duration(found.ready)}"
    how = "a bridge in front, which the client sees as stdin and stdout; no port outside"
    yield Row("process", what, how, "server.port")
