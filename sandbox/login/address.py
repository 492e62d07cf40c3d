"""The addresses of a login, all but one chosen by strangers: what is no plain https URL goes nowhere (P).

Stricter than RFC 3986: of the characters that mean something to a shell only `&` and `?` are left, and
these in a query alone, since one of the addresses is given to a program that opens a browser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from sandbox.login.refused import LoginRefused, shown

LONGEST = 2048
PORTS = {"https": 443, "http": 80}
_ESCAPED = "%[0-9A-Fa-f]{2}"
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    rf"(?P<path>(?:/(?:[A-Za-z0-9._~+@:=,-]|{_ESCAPED})*)*)"
    rf"(?:\?(?P<query>(?:[A-Za-z0-9._~+@:=,/?&-]|{_ESCAPED})*))?",
    re.ASCII | re.IGNORECASE,
)
_USER = re.compile(r"//[^/?#]*@")
_RULE = "an address of a login is a plain https:// one, without user, fragment and special characters"


@dataclass(frozen=True, slots=True)
class Reach:
    """Where else than to public addresses a login may lead; the person who types the URL decides that."""

    loopback: bool = False
    private: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """A checked URL; `host` is in lower case and without brackets, `path` is empty or begins with `/`."""

    scheme: str
    host: str
    port: int
    path: str
    query: str | None = None

    @property
    def authority(self) -> str:
        """Host and port as a `Host` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port (RFC 6454)."""
        return f"{self.scheme}://{self.authority}"

    @property
    def target(self) -> str:
        """What a request line asks for."""
        return (self.path or "/") + ("" if self.query is None else f"?{self.query}")

    @property
    def name(self) -> str:
        """The one spelling under which a login is kept: no path and the path `/` are one (RFC 3986 6.2.3)."""
        return str(self) if self.path or self.query is not None else f"{self.origin}/"

    @property
    def loopback(self) -> bool:
        """Whether it names this machine in so many words; what a name resolves to is not asked."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"{self.origin}{self.path}" + ("" if self.query is None else f"?{self.query}")


def typed(text: str) -> Address:
    """The address of a server as a person typed it: https, or http where it lies on this machine."""
    found = _parsed(text, "the server's URL")
    return _encrypted(found, "the server's URL", Reach(loopback=True))


def checked(text: object, what: str, reach: Reach, *, most: int = LONGEST) -> Address:
    """An address that a stranger chose, or `LoginRefused`; `what` says whose it is."""
    return _encrypted(_parsed(text, what, most), what, reach)


def _bare(text: object) -> object:
    """The text without a password that somebody wrote into it."""
    return _USER.sub("//…@", text[:LONGEST]) if isinstance(text, str) else text


def _parsed(text: object, what: str, most: int = LONGEST) -> Address:
    match = _URL.fullmatch(text) if isinstance(text, str) and len(text) <= most else None
    if match is None:
        raise LoginRefused("login-address", f"{what} is refused: `{shown(_bare(text))}`", rule=_RULE)
    scheme, path = match["scheme"].lower(), match["path"]
    port = int(match["port"] or PORTS[scheme])
    host = (match["six"] or match["host"]).lower()
    if not 0 < port < 65536 or not _whole(path) or not _host(host, six=match["six"] is not None):
        raise LoginRefused("login-address", f"{what} is refused: `{shown(_bare(text))}`", rule=_RULE)
    return Address(scheme, host, port, path, match["query"])


def _encrypted(found: Address, what: str, reach: Reach) -> Address:
    if found.scheme == "http" and not (reach.loopback and found.loopback):
        raise LoginRefused(
            "login-unencrypted",
            f"{what} is not encrypted: `{shown(found)}`",
            rule="https, but for a server on this very machine",
        )
    return found


def _host(host: str, *, six: bool) -> bool:
    if not six:
        return ".." not in host
    try:
        return ip_address(host).version == 6
    except ValueError:
        return False


def _whole(path: str) -> bool:
    """Whether no part of it is a step up, however it is written: others would read another path."""
    return not any(part.lower().replace("%2e", ".") in (".", "..") for part in path.split("/"))
