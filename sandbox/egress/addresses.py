"""What kind of address a name resolved to: only an ordinary public one is reached without being listed (P).

Our own table of the IANA special-purpose registries (RFC 6890) and of what was added since, because
`ipaddress.is_global` is true of NAT64's loopback and of multicast.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

Kind = Literal[
    "public", "private", "loopback", "link-local", "metadata", "multicast", "reserved", "embedding", "own"
]
Address = IPv4Address | IPv6Address
NOWHERE: frozenset[Kind] = frozenset({"metadata", "link-local", "multicast", "embedding"})
"""Kinds that no name may lead to, whoever configured it."""

# Services of a cloud that hand out credentials, wherever their address lies: AWS (EC2, ECS, EKS), Azure,
# Alibaba, Oracle, Scaleway, Tencent; by IPv6 Google, Oracle, Scaleway, Akamai, Alibaba, OpenStack.
METADATA = frozenset(
    map(
        ip_address,
        "169.254.169.254 169.254.170.2 169.254.170.23 168.63.129.16 100.100.100.200 192.0.0.192 "
        "169.254.42.42 169.254.0.23 fd20:ce::254 fd00:c1::a9fe:a9fe fd00:42::42 fd00:a9fe:a9fe::1 "
        "fd00:100::100:200 fe80::a9fe:a9fe".split(),
    )
)
_FOUR: tuple[tuple[Kind, str], ...] = (
    ("loopback", "127.0.0.0/8"),
    ("private", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10"),
    ("link-local", "169.254.0.0/16"),
    ("multicast", "224.0.0.0/4"),
    (
        # The last one is what we make addresses up from (`names`): no name outside may lead there.
        "reserved",
        "0.0.0.0/8 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.175.48.0/24 "
        "198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 26.53.0.0/16",
    ),
)
_SIX: tuple[tuple[Kind, str], ...] = (
    ("loopback", "::1/128"),
    ("metadata", "fd00:ec2::/32"),  # all of AWS's own services: credentials, names, time
    ("private", "fc00::/7"),
    ("link-local", "fe80::/10"),
    ("multicast", "ff00::/8"),
    # Each reaches an IPv4 host past an IPv4 rule: compatible, mapped, translated, local NAT64, Teredo, 6to4.
    ("embedding", "::/96 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b:1::/48 2001::/32 2002::/16"),
    # Of the AS112 servers' two blocks one lies in 2001::/23; 3ffe::/16 was the 6bone's (RFC 3701).
    (
        "reserved",
        "2001::/23 2001:db8::/32 2620:4f:8000::/48 3ffe::/16 3fff::/20 5f00::/16 fec0::/10 "
        "3053:6278:0:1::/64",
    ),
)
_TABLE_4 = [(kind, IPv4Network(net)) for kind, nets in _FOUR for net in nets.split()]
_TABLE_6 = [(kind, IPv6Network(net)) for kind, nets in _SIX for net in nets.split()]
_NAT64 = IPv6Network("64:ff9b::/96")
# The end of an ISATAP address (RFC 5214, 6.1), below any prefix; two bits of it may be either.
_ISATAP, _ISATAP_MASK = 0x0000_5EFE, 0xFCFF_FFFF
_GLOBAL_UNICAST = IPv6Network("2000::/3")


def kind(address: Address) -> Kind:
    """The kind of one address; of NAT64's well-known prefix (RFC 6052) that of the IPv4 address in it."""
    if address in METADATA:
        return "metadata"
    if isinstance(address, IPv4Address):
        return next((kind for kind, net in _TABLE_4 if address in net), "public")
    if address.scope_id:
        return "link-local"
    if address in _NAT64:
        inner = kind(_translated(address))
        return inner if inner == "public" else "embedding"
    if (int(address) >> 32) & _ISATAP_MASK == _ISATAP:
        return "embedding"
    found: Kind | None = next((kind for kind, net in _TABLE_6 if address in net), None)
    return found or ("public" if address in _GLOBAL_UNICAST else "reserved")


def reachable(
    found: Address,
    *,
    private: bool,
    listed: Callable[[str], bool],
    own: Callable[[Address], bool],
    anywhere: bool = False,
) -> Kind | None:
    """None where a connection may go to `found`, else the kind that forbids it.

    `listed` says whether the profile allows the literal itself, `own` whether it is this machine's address,
    `anywhere` that the name is a registry's (`HostRule.anywhere`).
    """
    if listed(found.compressed):
        return None
    what = kind(found)
    if anywhere:
        return what if what in NOWHERE else None
    if what not in ("public", "private"):
        return what
    translated = isinstance(found, IPv6Address) and found in _NAT64 and own(_translated(found))
    if translated or own(found):
        return "own"
    return None if what == "public" or private else what


def _translated(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)
