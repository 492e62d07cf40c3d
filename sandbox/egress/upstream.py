"""The host's own proxy, as its environment names one: which hosts go through it, and by which URL (P).

`HTTPS_PROXY`, `HTTP_PROXY` (for port 80) and `ALL_PROXY`, in lower case first, and `NO_PROXY`, as curl
reads them. The server never sees any of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from sandbox.errors import SandboxNotBuilt

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
SCHEMES = ("http", "socks5", "socks5h", "socks4", "socks4a")
_RULE = "allowed hosts are reached through the host's own proxy"
# User and password, a name or an address, a port: programs differ in which one an URL without a port means.
_PLACE = re.compile(
    r"(?:[^/?#\s]*@)?(?:\[(?P<six>[^\[\]]*)\]|[^/?#@:\[\]\s]+):(?P<port>[0-9]{1,5})/?", re.ASCII
)
_WITH_PORT = re.compile(r"(\[.*\]|[^:]*):([0-9]{1,5})", re.ASCII)


def settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables that are set, by their lower-case names; raises for a proxy we cannot speak to."""
    found = {}
    for name in VARIABLES:
        # HTTP_PROXY in capitals can be set by a request's header where a program runs as CGI; we never do.
        value = (environ.get(name) or environ.get(name.upper()) or "").strip()
        if value:
            found[name] = value if name == "no_proxy" else _url(name, value)
    return found


def proxy(settings: Mapping[str, str], host: str, port: int) -> str | None:
    """The URL of the proxy for `host` at `port`; None where it is reached directly."""
    special = settings.get("http_proxy") if port == 80 else settings.get("https_proxy")
    url = special or settings.get("all_proxy")
    if not url or _is_loopback(host) or excepted(settings.get("no_proxy", ""), host, port):
        return None
    return url


def excepted(no_proxy: str, host: str, port: int) -> bool:
    """Whether `NO_PROXY` names the host: `*`, a name and all below it, an address, a network, `name:port`."""
    return any(_names(entry, host, port) for entry in no_proxy.lower().replace(",", " ").split())


def _names(entry: str, host: str, port: int) -> bool:
    place = _WITH_PORT.fullmatch(entry)
    if place is not None:
        if int(place[2]) != port:
            return False
        entry = place[1]
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        suffix = entry.removeprefix("*").removeprefix(".").removesuffix(".")
        return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))


def _is_loopback(host: str) -> bool:
    """Whether `host` is an address of this machine's own: a proxy would take it for one of its own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _url(name: str, value: str) -> str:
    """The URL as python-socks takes it; no message repeats it, since it may hold a password."""
    url = value if "://" in value else f"http://{value}"
    scheme, _, rest = url.partition("://")
    spoken = scheme.lower()
    if spoken not in SCHEMES:
        raise SandboxNotBuilt(
            "proxy-not-spoken",
            f"`{name}` names a proxy by `{spoken[:16]}://`; only {', '.join(SCHEMES)} are spoken",
            rule=_RULE,
            hint=f"start it with `{name}` and `{name.upper()}` unset, or with an http:// or socks5:// one",
        )
    if not _is_place(rest):
        raise SandboxNotBuilt(
            "proxy-not-spoken",
            f"`{name}` is not the address of a proxy: host and port, before them perhaps user and password",
            rule=_RULE,
            hint=f"write `{name}` as in http://proxy.example:3128, and what is special in a password as %2F",
        )
    # python-socks knows socks5 and socks4 alone, and is asked to let the proxy resolve in any case.
    return f"{spoken.removesuffix('h').removesuffix('a')}://{rest}"


def _is_place(text: str) -> bool:
    place = _PLACE.fullmatch(text)
    if place is None or not 0 < int(place["port"]) < 65536:
        return False
    try:
        return place["six"] is None or ip_address(place["six"]).version == 6
    except ValueError:
        return False
