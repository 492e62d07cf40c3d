"""Where the front listens, what may be asked of it there, and what a URL of it looks like; pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from sandbox.errors import UsageError
from sandbox.records import dataclass

DEFAULT = "127.0.0.1:8808"
PATH_MAX = 107
"""Bytes of a unix socket's path (unix(7))."""
_HINT = f"`--listen {DEFAULT}`, `--listen localhost:0` for any free port, or `--listen unix:PATH`"
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+))?:([0-9]{1,5})")
_NAMED = re.compile(r"(?:\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[1-9][0-9]{0,4})?")
_ORIGIN = re.compile(r"https?://(?:\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[1-9][0-9]{0,4})?")
_ITSELF = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Address:
    """`path` of a unix socket, or `host` (an address without brackets, or `localhost`) and `port`."""

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine reaches it."""
        return bool(self.path) or self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    @property
    def is_every(self) -> bool:
        """Whether it is every address of this machine, so that it says nothing of its name."""
        return not self.path and self.host != "localhost" and ipaddress.ip_address(self.host).is_unspecified


def parse(text: str) -> Address:
    """What `--listen` says."""
    if text.startswith("unix:"):
        return _socket(text.removeprefix("unix:"))
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[3]) > 0xFFFF:
        raise UsageError("bad-address", f"`{text}` is no address to listen on", hint=_HINT)
    host = found[1] or found[2] or "127.0.0.1"
    if host != "localhost" and not _is_literal(host):
        # A name is looked up, by whoever answers; which of its addresses is meant is for the person to say.
        raise UsageError("bad-address", f"`{host}` is a name; listen on one of its addresses", hint=_HINT)
    return Address(host=host, port=int(found[3]))


def _socket(path: str) -> Address:
    if not path or "\0" in path:
        raise UsageError("bad-address", "`unix:` is followed by a path", hint=_HINT)
    if len(path.encode(errors="surrogateescape")) > PATH_MAX:
        raise UsageError("bad-address", f"`{path}` is longer than {PATH_MAX} bytes", hint=_HINT)
    return Address(path=path)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def hosts(address: Address, port: int, named: Iterable[str], *, tls: bool) -> frozenset[str] | None:
    """What Host may say, in small letters; None where no name is asked for, over a unix socket."""
    if address.path:
        return None
    names = set(_ITSELF if address.is_local else ())
    if not address.is_every and address.host != "localhost":
        names.add(bracketed(address.host))
    found = {spelt for name in names for spelt in _with_port(name, port, tls=tls)}
    for name in named:
        if not _NAMED.fullmatch(name.lower()):
            raise UsageError(
                "bad-host", f"`{name}` is no host of a URL", hint="`--allow-host mcp.example.org`"
            )
        found.add(name.lower())
        if not _NAMED.fullmatch(name.lower())[2]:  # type: ignore[index]  # just matched
            found.add(f"{name.lower()}:{port}")
    if not found:
        what = "who listens on every address has no name of its own, and would answer to any that leads here"
        raise UsageError("no-host", what, hint="name it: `--allow-host mcp.example.org`")
    return frozenset(found)


def _with_port(name: str, port: int, *, tls: bool) -> list[str]:
    usual = port == (443 if tls else 80)
    return [f"{name}:{port}", *([name] if usual else [])]


def origins(named: Iterable[str]) -> frozenset[str]:
    """The pages that may ask, in small letters."""
    found = frozenset(one.lower().rstrip("/") for one in named)
    for one in found:
        if not _ORIGIN.fullmatch(one):
            hint = "`--allow-origin https://inspector.example.org`"
            raise UsageError("bad-origin", f"`{one}` is no origin of a page", hint=hint)
    return found


def bracketed(host: str) -> str:
    """A host as a URL has it."""
    return f"[{host}]" if ":" in host else host


def url(address: Address, port: int, route: str, *, tls: bool) -> str:
    """Where a client finds a route."""
    path = f"/{route}/mcp" if route else "/mcp"
    if address.path:
        return f"unix:{address.path} {path}"
    return f"{'https' if tls else 'http'}://{bracketed(address.host)}:{port}{path}"


def require_cover(address: Address, *, tls: bool, waived: bool) -> None:
    """Refuses to send tokens in clear over a network, unless that was said in so many words."""
    if address.is_local or tls or waived:
        return
    what = f"`{address.host}` is reached over a network, where tokens and answers could be read and changed"
    hint = "`--tls-cert PATH --tls-key PATH`, or `--insecure-http` behind a proxy that has TLS"
    raise UsageError("no-tls", what, rule="never weaker than asked", hint=hint)
