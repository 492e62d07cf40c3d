"""A server that runs elsewhere: what its URL grants, and what the bridge in its place is given at a start."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence

from sandbox.backend.apart import asked_apart
from sandbox.backend.native.bridging import Carried
from sandbox.backend.native.orders import Orders
from sandbox.errors import CannotEnforce, SandboxNotBuilt, UsageError
from sandbox.plan.remote import LOGIN, with_login
from sandbox.plan.spec import Spec
from sandbox.policy import hosts, remote
from sandbox.policy.model import Behaviour, Files, HostRule, Origin, Policy
from sandbox.policy.remote import Url
from sandbox.records import replace

Pairs = tuple[tuple[str, str], ...]
"""Variables with their values."""


def named(command: Sequence[str]) -> Url | None:
    """The URL that a command line is; None where it is a command."""
    if not command or not remote.is_url(command[0]):
        return None
    if len(command) > 1:
        what = "a URL is a whole server: nothing is started that arguments could be for"
        raise UsageError("unknown-option", what, hint="mcp-sandbox run [options] URL")
    return read(command[0], "the command")


def read(text: str, where: str) -> Url:
    """A URL, or the error that says where it stands and what is wrong with it."""
    try:
        return remote.parse(text)
    except ValueError as why:
        raise UsageError("invalid-url", f"the URL of {where}: {why}") from None


def reached(policy: Policy, url: Url, origin: Origin) -> Policy:
    """The policy with the URL for its server: its host is allowed, and nothing of this machine is shown."""
    own = policy.server.url
    if own is not None and remote.parse(own).origin != url.origin:
        raise UsageError(
            "another-server",
            f"profile `{policy.name}` is for `{remote.parse(own).origin}`, and what it grants is not sent to "
            f"`{url.origin}`",
            hint="name the profile alone, or another one",
        )
    if policy.origin("server.transport").file == "--http":
        raise UsageError(
            "invalid-option", "`--http` is for a server that listens inside, and a URL is elsewhere"
        )
    at = policy.origin("server.url") if own == str(url) else origin
    server = replace(policy.server, url=str(url), command=(), transport="stdio", port=None, path=None)
    origins = {**dict(policy.origins), "server.url": at}
    network = replace(policy.network, allow=_allowed(policy, url, at), behaviour=_behaviour(policy))
    files = Files(home=policy.files.home, tmp=policy.files.tmp)
    return replace(policy, server=server, network=network, files=files, origins=tuple(origins.items()))


def here(policy: Policy) -> Policy:
    """The policy for a command in place of its URL: what it may do, and nobody to send headers to."""
    server = replace(policy.server, url=None, headers=(), ca=None, pin=())
    return replace(policy, server=server)


def _allowed(policy: Policy, url: Url, origin: Origin) -> tuple[HostRule, ...]:
    """A public host is granted by being named; what is of this machine or its network has to be listed."""
    rules = policy.network.allow
    asked = _asked(url)
    if hosts.match(rules, url.host, url.port) or hosts.match(rules, asked, url.port):
        return rules
    kind = "loopback" if asked == "localhost" else _kind(url.host)
    if kind != "public":
        raise CannotEnforce(
            "egress-denied",
            f"`{url.shown}` is of this machine or its own network ({kind}), which no URL grants by itself",
            rule=f"default deny, [network] allow; the URL: {origin}",
            # Who means a cloud's metadata needs no advice of ours.
            hint="" if kind == "metadata" else f"--allow-net {hosts.spelt(asked, url.port)}",
        )
    return hosts.inherited((*rules, HostRule(url.host, url.port, origin)))


def _asked(url: Url) -> str:
    return "localhost" if url.host in remote.LOOPBACK else url.host


def near(url: Url) -> str:
    """What has to be allowed besides, where the URL leads to this machine or its network."""
    asked = _asked(url)
    inner = asked == "localhost" or _kind(url.host) != "public"
    return hosts.spelt(asked, url.port) if inner else ""


def _kind(host: str) -> str:
    """What an address is; of a name that is known when it was resolved, by the gateway."""
    if not hosts.literal(host):
        return "public"
    from ipaddress import ip_address  # 3 ms, for an address in place of a name

    from sandbox.egress.addresses import kind

    return kind(ip_address(host))


def _behaviour(policy: Policy) -> Behaviour:
    """To a server elsewhere everything is sent over the network: when and how regularly is the client's."""
    kept = policy.network.behaviour
    written = dict(policy.origins)
    if "network.behaviour.idle" not in written:
        kept = replace(kept, idle="off")
    return kept if "network.behaviour.beacon" in written else replace(kept, beacon="off")


# --- at the start ------------------------------------------------------------------------------------


def logged_in(spec: Spec, secrets: Pairs, login: Callable[[], str | None]) -> tuple[Spec, Pairs]:
    """The same with the token of a login, where there is one and the profile says nothing else to send."""
    assert spec.endpoint is not None  # noqa: S101 - asked of servers elsewhere alone
    if "authorization" in dict(spec.endpoint.headers):
        return spec, secrets
    # The bridge is a fork of this process, and shall not have the refresh token too.
    token = asked_apart(lambda: login() or "")
    if not token:
        return spec, secrets
    return with_login(spec), (*secrets, (LOGIN, token))


def bridged(orders: Orders, spec: Spec, secrets: Pairs, environ: Mapping[str, str]) -> Orders:
    """The keeper's orders with what the bridge is to have, and what of ours it is to forget."""
    told = replace(orders, caller=environ)
    if spec.endpoint is None or not spec.endpoint.remote:
        return told
    return replace(told, carried=carried(spec, secrets, environ))


def carried(spec: Spec, secrets: Pairs, environ: Mapping[str, str]) -> Carried:
    """What is secret or of this host, resolved for the bridge."""
    endpoint, values = spec.endpoint, dict((*spec.env, *secrets))
    assert endpoint is not None  # noqa: S101 - asked of servers elsewhere alone
    authorities = ""
    if endpoint.tls:
        from sandbox.host.authorities import read as trusted

        authorities = trusted(endpoint.ca, environ)
    headers = [(name, _header(name, text, values)) for name, text in endpoint.headers if _known(text, values)]
    own = tuple((name, _own(text)) for name, text in headers)
    return Carried(_own(_path(endpoint.path, values)), own, authorities, _login(spec))


def _own(text: str) -> str:
    """An object of its own: what the caller's environment holds is overwritten where it lies (`forget`)."""
    return text.encode().decode()


def _login(spec: Spec) -> str:
    """What logs a person in; nothing where the profile has its own credential, which none replaces."""
    sent = dict(spec.endpoint.headers if spec.endpoint else ()).get("authorization", LOGIN)
    url = spec.argv[0].partition("?")[0]
    return f"mcp-sandbox login {shlex.quote(url)}" if LOGIN in sent else ""


def _known(text: str, values: Mapping[str, str]) -> bool:
    """A header whose optional secret is not set is left out."""
    return all(name in values for name in remote.names(text))


def _header(name: str, text: str, values: Mapping[str, str]) -> str:
    made = remote.NAMED.sub(lambda found: values[found[1]], text).strip(" \t\r\n")
    if not made or not all(" " <= char <= "~" for char in made):
        what = (
            f"the value for the header `{name}` is empty or holds what no header can: line ends, or not ASCII"
        )
        hint = f"look at what stands behind {', '.join(f'`{one}`' for one in remote.names(text))}"
        raise SandboxNotBuilt("header-malformed", what, rule=f"server.headers.{name}", hint=hint)
    return made


def _path(text: str, values: Mapping[str, str]) -> str:
    named = remote.names(text, remote.IN_URL)
    if missing := [name for name in named if name not in values]:
        what = f"the URL names `{missing[0]}`, which is not set"
        raise SandboxNotBuilt("secret-missing", what, rule="server.url", hint=f"export {missing[0]}=…")
    if not named:
        return text
    from urllib.parse import quote

    return remote.IN_URL.sub(lambda found: quote(values[found[1]], safe="", errors="surrogateescape"), text)
