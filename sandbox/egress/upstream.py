"""The host's own proxy, as its environment names one: which hosts go through it, and by which URL (P).

`HTTPS_PROXY`, `HTTP_PROXY` (for port 80) and `ALL_PROXY`, in lower case first, and `NO_PROXY`, as curl
reads them. The server never sees any of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from sandbox.errors import SandboxNotBuilt

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
SCHEMES = ("http", "socks5", "socks5h", "socks4", "socks4a")


def settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables that are set, by their lower-case names; raises for a proxy we cannot speak to."""
    found = {}
    for name in VARIABLES:
        # HTTP_PROXY in capitals can be set by a request's header where a program runs as CGI; we never do.
        value = environ.get(name) or environ.get(name.upper()) or ""
        if value:
            found[name] = value if name == "no_proxy" else _url(name, value)
    return found


def proxy(settings: Mapping[str, str], host: str, port: int) -> str | None:
    """The URL of the proxy for `host` at `port`; None where it is reached directly."""
    special = settings.get("http_proxy") if port == 80 else settings.get("https_proxy")
    url = special or settings.get("all_proxy")
    if not url or excepted(settings.get("no_proxy", ""), host, port):
        return None
    return url


def excepted(no_proxy: str, host: str, port: int) -> bool:
    """Whether `NO_PROXY` names the host: `*`, a name and all below it, an address, a network, `name:port`."""
    return any(_names(entry.strip().lower(), host, port) for entry in no_proxy.split(",") if entry.strip())


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, colon, number = entry.rpartition(":")
    if colon and number.isdigit() and ":" not in name:
        if int(number) != port:
            return False
        entry = name
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        suffix = entry.removeprefix("*").removeprefix(".")
        return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))


def _url(name: str, value: str) -> str:
    url = value if "://" in value else f"http://{value}"
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise SandboxNotBuilt(
            "proxy-not-spoken",
            f"`{name}` names a proxy by `{scheme}://`; only {', '.join(SCHEMES)} are spoken",
            rule="allowed hosts are reached through the host's own proxy",
            hint=f"start it with `{name}` and `{name.upper()}` unset, or with an http:// or socks5:// one",
        )
    # python-socks knows socks5 and socks4 alone, and is asked to let the proxy resolve in any case.
    return scheme.removesuffix("h").removesuffix("a") + url[len(scheme) :]
