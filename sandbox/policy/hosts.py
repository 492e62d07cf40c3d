"""Host rules: one canonical spelling of every host and port, and the question whether a rule allows one.

Whatever could be spelt in two ways is refused, not guessed: an allowlist that two parsers read
differently is a hole (RFC 1123 2.1 for names, RFC 5952 for IPv6, the URL standard for IPv4 spellings).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sandbox.patterns import regex
from sandbox.policy.model import HostRule, Origin
from sandbox.records import replace

if TYPE_CHECKING:
    from ipaddress import IPv6Address

DEFAULT_PORT = 443

_LABEL = regex(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_PORT = regex(r"[1-9][0-9]{0,4}", re.ASCII)
_NUMERIC = regex(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_UNICODE_DOTS = frozenset("\u3002\uff0e\uff61\u2024\ufe52")
# IDNA 2003 and 2008 read these differently (UTS 46 section 7): no single answer, so none is given.
_DEVIATIONS = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")
# Second-level registries: `*.co.uk` would allow a whole country.
_REGISTRIES = frozenset("ac co com edu gob gov gouv go mil ne net nom or org sch".split())


def parse(text: str, origin: Origin = Origin("default")) -> HostRule:  # noqa: B008 - frozen, so shared safely
    """The rule that `host`, `host:port`, `*.host` or `[v6]:port` means; port 443 unless said."""
    _refuse_strange(text)
    host, port = _split_port(text)
    if host.lower().removesuffix(".").endswith(".localhost"):
        # Resolvers answer all of them with the loopback address (RFC 6761 6.3): two names for one port.
        raise ValueError(f"`{text}` is this host's own loopback: write `localhost` and the port")
    if host.startswith("*."):
        return HostRule(f"*.{_wildcard_suffix(host[2:])}", port, origin)
    if "*" in host:
        raise ValueError(f"`{text}`: `*` stands only for whole leading labels, as in `*.example.com`")
    return HostRule(canonical(host), port, origin)


def canonical(host: str) -> str:
    """The one spelling of a name or address (lower case, ASCII, no final dot), or ValueError."""
    _refuse_strange(host)
    if ":" in host:
        return _ipv6(host.removeprefix("[").removesuffix("]") if host.startswith("[") else host)
    name = (_ascii(host) if not host.isascii() else host).lower().removesuffix(".")
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        return _ipv4(host, labels)
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"`{host}` is not a host name")
    return name


def match(rules: Iterable[HostRule], host: str, port: int) -> HostRule | None:
    """The most specific rule that allows `host` at `port`; None, which means deny, for all else."""
    name = _asked(host)
    found: HostRule | None = None
    for rule in rules:
        if rule.port == port and _names(rule.host, name):
            if rule.host == name:
                return rule
            if found is None or len(rule.host) > len(found.host):
                found = rule
    return found


def named(rules: Iterable[HostRule], host: str) -> bool:
    """True where a rule allows the name `host` on any port; an address is not a name."""
    name = _asked(host)
    return not literal(name) and any(_names(rule.host, name) for rule in rules)


def literal(host: str) -> bool:
    """True where a canonical host is an address: no name has a colon, or a number at its end."""
    return ":" in host or host.rpartition(".")[2].isdigit()


def spelt(host: str, port: int) -> str:
    """`host:port` as a profile writes it, an IPv6 address in brackets; `parse` reads it back."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def spelling(text: str) -> str:
    """The one spelling of a rule as somebody wrote it, with its port."""
    rule = parse(text)
    return spelt(rule.host, rule.port)


def inherited(rules: Iterable[HostRule]) -> tuple[HostRule, ...]:
    """The rules, each `private` too where a private wildcard covers it: naming a host again takes nothing."""
    every = tuple(rules)
    wide = [rule for rule in every if rule.private and rule.host.startswith("*.")]
    return tuple(_under(wide, rule) for rule in every)


def _under(wide: list[HostRule], rule: HostRule) -> HostRule:
    covered = any(one.port == rule.port and _names(one.host, rule.host) for one in wide)
    return replace(rule, private=True) if covered and not rule.private else rule


def _asked(host: str) -> str:
    """The canonical spelling of what is asked for, and nothing, which no rule names, where it has none."""
    try:
        return canonical(host)
    except ValueError:
        return ""


def _names(pattern: str, name: str) -> bool:
    # The dot belongs to the suffix: `*.a.b` covers `x.a.b`, neither `a.b` nor `xa.b`.
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern


def _refuse_strange(text: str) -> None:
    shown = text.encode("unicode_escape").decode()
    if not text:
        raise ValueError("a host is missing")
    if any(char.isspace() or not char.isprintable() for char in text):
        raise ValueError(f"`{shown}` holds a space or a control character")
    if "://" in text:
        raise ValueError(f"`{shown}` is a URL: write the host and port alone, such as `example.com:443`")
    if any(char in "/\\@%?#,;" for char in text):
        raise ValueError(f"`{shown}` is not `host` or `host:port`")
    if _UNICODE_DOTS & set(text):
        raise ValueError(f"`{shown}` holds a dot that is not a full stop")


def _split_port(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or ":" not in host:
            raise ValueError(f"`{text}` is not `[address]:port`")
        return host, _port(text, rest[1:]) if rest else DEFAULT_PORT
    if text.count(":") > 1:
        return text, DEFAULT_PORT
    host, colon, port = text.partition(":")
    return host, _port(text, port) if colon else DEFAULT_PORT


def _port(text: str, port: str) -> int:
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError(f"`{text}`: a port is a number from 1 to 65535")
    return int(port)


def _wildcard_suffix(suffix: str) -> str:
    name = canonical(suffix) if "*" not in suffix else ""
    labels = name.split(".")
    if not name or ":" in name or labels[-1].isdigit():
        raise ValueError(f"`*.{suffix}`: `*` stands only for whole leading labels of a name")
    if len(labels) < 2 or (len(labels) == 2 and len(labels[1]) == 2 and labels[0] in _REGISTRIES):
        raise ValueError(f"`*.{suffix}` would allow a whole top-level domain")
    return name


def _ascii(host: str) -> str:
    """IDNA, only where encoding and decoding give the very same name back: look-alikes do not."""
    if _DEVIATIONS & set(host):
        raise ValueError(f"`{host}` is ambiguous in IDNA: write its `xn--` form")
    try:
        encoded = host.lower().encode("idna")
        decoded = encoded.decode("idna")
    except UnicodeError:
        raise ValueError(f"`{host}` is not a host name") from None
    if decoded != host.lower():
        raise ValueError(f"`{host}` is another spelling of `{encoded.decode()}`: write that")
    return encoded.decode()


def _ipv4(host: str, labels: list[str]) -> str:
    # `0x7f.1`, `2130706433` and `0177.0.0.1` are all 127.0.0.1 to some resolver: only four decimals are read.
    octets = [label for label in labels if _is_octet(label)]
    if len(labels) != 4 or len(octets) != 4 or host.endswith("."):
        raise ValueError(f"`{host}` is not an IPv4 address of four decimal numbers")
    address = ".".join(octets)
    if address in ("0.0.0.0", "255.255.255.255") or int(octets[0]) >= 224:  # noqa: S104 - refused, not bound
        raise ValueError(f"`{host}` is not the address of one host")
    return address


def _is_octet(label: str) -> bool:
    return label.isdigit() and len(label) <= 3 and int(label) < 256 and (label == "0" or label[0] != "0")


def _ipv6(host: str) -> str:
    import ipaddress  # 3 ms, and rarely needed

    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        raise ValueError(f"`{host}` is not an IPv6 address") from None
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"`{host}` is not the address of one host")
    if _embeds_ipv4(address):
        raise ValueError(f"`{host}` spells an IPv4 address: write that")
    return address.compressed


def _embeds_ipv4(address: IPv6Address) -> bool:
    import ipaddress

    # Mapped, compatible, NAT64 (RFC 6052, 8215), 6to4, Teredo: each reaches an IPv4 host past an IPv4 rule.
    smuggle = ("::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
    if any(address in ipaddress.IPv6Network(net) for net in smuggle):
        return True
    return address in ipaddress.IPv6Network("::/96") and str(address) != "::1"
