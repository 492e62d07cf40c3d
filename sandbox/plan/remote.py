"""A server that runs elsewhere: where the bridge finds it, by what it is trusted, what cannot hold for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sandbox.errors import CannotEnforce
from sandbox.plan.rows import Row
from sandbox.plan.spec import Endpoint, Spec
from sandbox.policy import paths, remote
from sandbox.policy.model import Origin, Policy
from sandbox.records import replace

READY_S = 3.0
"""What is refused looks like a server that does not answer yet; a network that comes back takes this long."""
LOGIN = "MCP_SANDBOX_LOGIN"
"""What stands for the token of a login; no profile may have a secret of that name for this."""


def endpoint(policy: Policy, *, home: str, cwd: str, environ: Mapping[str, str]) -> Endpoint:
    """The endpoint at the profile's URL; a name in it that nothing stands behind stops the start."""
    server = policy.server
    url = remote.parse(server.url or "")
    _refuse_unknown(policy, url)
    ca = paths.expand(server.ca, home=home, cwd=cwd, environ=environ) if server.ca else ""
    return Endpoint(
        url.host, url.port, url.path, url.tls, server.headers, remote=True, ca=ca, pins=server.pin,
        ready=READY_S if server.ready is None else server.ready,
    )  # fmt: skip


def with_login(spec: Spec) -> Spec:
    """The same, sent the token of a login."""
    assert spec.endpoint is not None  # noqa: S101 - asked of servers elsewhere alone
    headers = (*spec.endpoint.headers, ("authorization", f"Bearer ${{{LOGIN}}}"))
    return replace(spec, endpoint=replace(spec.endpoint, headers=headers))


def _refuse_unknown(policy: Policy, url: remote.Url) -> None:
    known = {*policy.env.passed, *dict(policy.env.fixed), *(one.name for one in policy.secrets)}
    named = {"url": remote.names(url.path, remote.IN_URL)}
    named |= {f"headers.{name}": remote.names(value) for name, value in policy.server.headers}
    for key, names in named.items():
        for name in names:
            if name not in known:
                raise CannotEnforce(
                    "secret-missing",
                    f"`server.{key}` ({policy.origin(f'server.{key}')}) names `{name}`, which is neither a "
                    "secret nor a variable of the profile",
                    rule="a remote server is sent what is granted, and nothing else",
                    hint=f"add `--secret {name}`, or `[secrets.{name}]` to the profile",
                )


def unenforceable(policy: Policy) -> Iterator[tuple[str, str, Origin | None]]:
    """Key and reason: what belongs to a remote server and there is none, or the other way round."""
    server = policy.server
    if server.url is None:
        for name in ("headers", "ca", "pin"):
            if getattr(server, name):
                at = next(iter(dict(server.headers)), "") if name == "headers" else ""
                key = f"server.{name}.{at}" if at else f"server.{name}"
                yield key, "is for a server that runs elsewhere, and no `server.url` names one", None
        return
    if (server.ca or server.pin) and not remote.parse(server.url).tls:
        key = "server.pin" if server.pin else "server.ca"
        yield key, "means nothing for `http://`, where nobody shows a certificate", None
    if policy.syscalls == "strict":
        yield "server.url", 'is reached over the network; `syscalls.tier = "strict"` leaves no socket', None


def rows(policy: Policy) -> Iterator[Row]:
    """What `plan` says of it; of headers the names."""
    server = policy.server
    if server.url is None:
        return
    url = remote.parse(server.url)
    yield Row(
        "process",
        f"speaks HTTP to {url.shown}",
        "a bridge in its place; nothing of it runs here",
        "server.url",
    )
    if url.tls:
        trusted = f"certificates of {server.ca}" if server.ca else "the system's certificates"
        yield Row("process", f"trusts {trusted}", "TLS 1.2 or later, chain and name checked", "server.ca")
    for pin in server.pin:
        yield Row("process", f"trusts the key {pin}", "checked before a byte is sent", "server.pin")
    for name, _ in server.headers:
        yield Row("process", f"sends the header {name}", "to that origin alone", f"server.headers.{name}")
