"""The URLs of the settings and of an issuer's metadata, spelt as all parsers read them alike (P)."""

from __future__ import annotations

import re

from sandbox.records import dataclass

LONGEST = 1024
# No user, no `\`, no `#`: what stands around those is the host for one parser and not for another.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
    r"(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?",
    re.ASCII,
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Place:
    """An absolute URL, taken apart; `host` is in small letters and without brackets."""

    url: str
    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """What two URLs of one server have in common."""
        return self.scheme, self.host, self.port

    @property
    def base(self) -> str:
        """The URL as far as its path."""
        end = len(self.url) - len(self.path) - len(self.query)
        return self.url[:end]


def parse(url: str) -> Place:
    """The URL taken apart; ValueError says why it is none of ours."""
    found = _URL.fullmatch(url) if len(url) <= LONGEST else None
    if found is None:
        raise ValueError("is not a plain URL: `https://host[:port][/path]`")
    port = int(found["port"] or (443 if found["scheme"] == "https" else 80))
    if port > 0xFFFF:
        raise ValueError("has a port above 65535")
    host = found["host"].strip("[]").lower()
    return Place(url, found["scheme"], host, port, found["path"] or "", found["query"] or "")


def secure(url: str) -> Place:
    """The same for what has to be fetched from the one who is meant: https alone."""
    place = parse(url)
    if place.scheme != "https":
        raise ValueError("is not an `https://` URL")
    return place


def issuer(url: str) -> Place:
    """The same for an issuer's name, which has no query (RFC 8414, section 2)."""
    place = secure(url)
    if place.query:
        raise ValueError("has a query, which the name of an issuer has not")
    return place


def resource(url: str) -> Place:
    """The same for the URL that clients know the front by; without TLS only on this machine."""
    place = parse(url)
    if place.scheme != "https" and place.host not in _LOOPBACK:
        raise ValueError("is not an `https://` URL; `http://` is for this machine's own clients alone")
    if place.query or place.path.endswith("/"):
        raise ValueError("ends in a query or a `/`; the paths of the routes are added to it")
    return place
