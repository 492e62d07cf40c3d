"""Every decision about outbound traffic, from values alone: where a connection goes, what it must show (P).

Deny is the last line of each. `Denied` carries what a person is told: the rule, the reason, and the
`--allow-net` argument that would grant exactly this, where one exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sandbox.egress.names import NO_ONES
from sandbox.egress.words import DEFAULT_DENY
from sandbox.policy import hosts
from sandbox.policy.model import HostRule
from sandbox.records import dataclass

PINNED = "SNI and Host name the host that was looked up"
WEB_PORTS = frozenset(
    map(
        int,
        "80 443 591 2052 2053 2082 2083 2086 2087 2095 2096 3128 4443 8000 8008 8080 8443 "
        "8880 8888 9443".split(),
    )
)
"""Ports behind which many hosts share one address: nothing passes there whose host cannot be seen."""

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Target:
    """Where a connection may go: a looked-up `name`, a listed `literal`, or a `local` port of the host's."""

    kind: Literal["name", "literal", "local"]
    host: str
    port: int
    rule: HostRule

    @property
    def named(self) -> str:
        """The host as the rule names it."""
        return self.rule.host if self.kind == "local" else self.host

    @property
    def where(self) -> str:
        """`host:port` as a profile writes it."""
        return hosts.spelt(self.named, self.port)


@dataclass(frozen=True, slots=True)
class Denied:
    """Why something does not pass; `grant` is what `--allow-net` would take, empty where nothing helps."""

    host: str
    port: int
    reason: str
    rule: str = DEFAULT_DENY
    grant: str = ""

    @property
    def where(self) -> str:
        """`host:port`, or the host alone where no port is known."""
        return hosts.spelt(self.host, self.port) if self.port else self.host


def lookup(rules: Sequence[HostRule], name: str | None) -> Denied | None:
    """None where the name may be known to the server; a name is allowed whatever the port of its rule."""
    if name is not None and name and hosts.named(rules, name):
        return None
    why = "the name is not allowed: it does not exist for the server"
    return Denied(name or ".", 0, why, grant=_name_grant(name or ""))


def route(rules: Sequence[HostRule], address: str, port: int, name: str | None) -> Target | Denied:
    """Where a connection to `address` goes, whose `name` is known if our own DNS made the address up."""
    if name is not None:
        rule = hosts.match(rules, name, port)
        if rule is not None:
            return Target("name", name, port, rule)
        return Denied(name, port, "the host is not allowed on this port", grant=hosts.spelt(name, port))
    if address in ("127.0.0.1", "::1"):
        rule = hosts.match(rules, "localhost", port) or hosts.match(rules, address, port)
        if rule is not None:
            return Target("local", address, port, rule)
        why = "a port of this machine's own, which is not allowed"
        return Denied("localhost", port, why, grant=f"localhost:{port}")
    rule = hosts.match(rules, address, port)
    if rule is not None:
        return Target("literal", address, port, rule)
    why = "an address that no allowed name was looked up for"
    return Denied(address, port, why, grant=_grant(address, port))


def stray(protocol: str, address: str, port: int, name: str | None) -> Denied:
    """What to say of an attempt that found no listener and went nowhere."""
    if protocol == "tcp":
        host = name or ("localhost" if address in ("127.0.0.1", "::1") else address)
        return Denied(host, port, "nothing is allowed on this port", grant=_grant(host, port))
    return Denied(name or address, port, f"no {protocol} leaves the sandbox", rule="TCP and our DNS alone")


def _grant(host: str, port: int) -> str:
    try:
        found = hosts.parse(hosts.spelt(host, port)).host
    except ValueError:
        return ""
    return "" if hosts.literal(found) and _better_not(found) else hosts.spelt(host, port)


def _better_not(address: str) -> bool:
    """An address of our own making is nobody's, and who means a cloud's metadata needs no advice of ours."""
    from ipaddress import ip_address  # 3 ms, of use only here

    from sandbox.egress.addresses import kind

    return address.startswith(NO_ONES) or kind(ip_address(address)) == "metadata"


def _name_grant(name: str) -> str:
    # A dotless name, a reverse lookup or an underscore is asked for by machinery, not by a person.
    if "." not in name or name.endswith(".arpa") or name.startswith("_") or "._" in name or "*" in name:
        return ""
    try:
        rule = hosts.parse(name)
    except ValueError:
        return ""
    return name if rule.host == name and not hosts.literal(name) else ""


# --- what a connection shows ------------------------------------------------------------------------


def tls(target: Target, sni: str | None, *, ech: bool) -> Denied | None:
    """Whether a ClientHello may pass: its SNI is the host's name, and nothing in it is encrypted (ECH)."""
    if target.rule.opaque:
        return None
    if ech:
        return _unseen(target, "encrypted ClientHello hides which host is meant")
    if sni is None:
        # An address has no name to show (RFC 6066 section 3).
        return _unseen(target, "no SNI says which host is meant") if target.kind == "name" else None
    return None if _is(target, sni) else _differs(target, "SNI", sni)


Authority = tuple[str, int | None]
"""A host and, where one is written, a port."""


def http(target: Target, method: str, host: Authority | None, authority: Authority | None) -> Denied | None:
    """Whether a request may pass: its one Host (None: none, or several) and its target name the host."""
    if method.upper() == "CONNECT":
        return Denied(target.named, target.port, "CONNECT is not served: connect to the host itself", PINNED)
    if target.rule.opaque:
        return None
    if host is None:
        return _unseen(target, "not exactly one Host field says which host is meant")
    for what, one in (("Host", host), ("the request's target", authority)):
        if one is not None and not (_is(target, one[0]) and one[1] in (None, target.port)):
            shown = one[0] if one[1] is None else hosts.spelt(one[0], one[1])
            return _differs(target, what, shown)
    return None


def bare(target: Target, what: str) -> Denied | None:
    """Whether bytes that are neither TLS nor HTTP/1 may pass: not where hosts share an address."""
    if target.rule.opaque:
        return None
    if what == "http2":
        return _unseen(target, "HTTP/2 without TLS hides which host is meant")
    if target.port in WEB_PORTS:
        return _unseen(target, f"neither TLS nor HTTP on port {target.port}")
    return None


def _is(target: Target, shown: str) -> bool:
    if not shown.isascii():
        return False  # a client sends the `xn--` form; what a server makes of anything else is its own affair
    try:
        name = hosts.canonical(shown)
    except ValueError:
        return False
    return name in _LOOPBACK_NAMES if target.kind == "local" else name == target.host


def _unseen(target: Target, why: str) -> Denied:
    return Denied(target.named, target.port, f"{why}; `opaque` in [network] waives the check", PINNED)


def _differs(target: Target, what: str, shown: str) -> Denied:
    said = shown.encode("unicode_escape").decode()[:253]
    why = f"{what} says `{said}`, not the host that was looked up"
    return Denied(target.named, target.port, why, PINNED)
