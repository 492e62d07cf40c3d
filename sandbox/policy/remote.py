"""The URL of a server that runs elsewhere: one reading of it, and what may stand in its headers (P).

A URL that two parsers could read differently is refused: `hosts` has the one spelling of its host.
"""

from __future__ import annotations

import re

from sandbox.policy import hosts
from sandbox.records import dataclass

LONGEST = 2048
PORTS = {"https": 443, "http": 80}
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
"""Where a server may be spoken to without TLS: nothing but this machine hears it."""
NAMED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,127})\}", re.ASCII)
"""What stands for a secret or a variable in a header's value and in a URL behind its host."""
IN_URL = re.compile(r"\$?\{([A-Za-z_][A-Za-z0-9_]{0,127})\}", re.ASCII)
"""In a URL, which has no braces of its own, also without the dollar that clients would replace themselves."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_PARTS = re.compile(r"([^/?#]*)(/[^?#]*)?(\?[^#]*)?(#.*)?", re.DOTALL)
# Of the characters of RFC 9110 5.6.2 those that names have; one that begins with `-` would be an option.
_TOKEN = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}", re.ASCII)
_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?", re.ASCII)
# What says how a message is framed, and what the protocol itself sets: a profile has no say in those.
_OURS = frozenset(
    "host content-length content-type content-encoding transfer-encoding connection keep-alive upgrade te "
    "trailer expect accept accept-encoding last-event-id".split()
)
_CREDENTIAL = re.compile(
    r"(^|-)(auth|authorization|cookie|token|secret|password|credentials?|api-?key|key)($|-)"
)


@dataclass(frozen=True, slots=True)
class Url:
    """Where a remote server is found; `path` with its query, in which `${NAME}` may stand."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """Scheme, host and port, the usual port left out."""
        scheme = "https" if self.tls else "http"
        place = hosts.spelt(self.host, self.port)
        return f"{scheme}://{place.removesuffix(f':{PORTS[scheme]}')}"

    @property
    def shown(self) -> str:
        """The URL as it may be printed and logged: its query may hold a key, and is left out."""
        path, query, _ = self.path.partition("?")
        return f"{self.origin}{path}{'?…' if query else ''}"

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"


def is_url(word: str) -> bool:
    """Whether a word is spelt as a URL of any scheme; no command is."""
    return _URL.fullmatch(word) is not None


def parse(text: str) -> Url:
    """The one reading of a URL, or ValueError, which repeats no part of it that may be secret."""
    url = _URL.fullmatch(text)
    scheme = url[1].lower() if url else ""
    if url is None or scheme not in PORTS:
        raise ValueError("a remote server is named by a URL that begins with `https://`")
    if len(text) > LONGEST:
        raise ValueError(f"a URL has at most {LONGEST} characters")
    parts = _PARTS.fullmatch(url[2])
    assert parts is not None  # noqa: S101 - every text has this shape
    authority, path, query, fragment = (part or "" for part in parts.groups())
    _refuse_strange(authority, path + query, fragment)
    rule = hosts.parse(authority if _has_port(authority) else f"{authority}:{PORTS[scheme]}")
    if rule.host.startswith("*."):
        raise ValueError("a URL names one host, not `*`")
    if scheme == "http" and rule.host not in LOOPBACK:
        raise ValueError(
            f"`http://{rule.host}` is not encrypted: write `https://`; only loopback needs no TLS"
        )
    return Url(scheme == "https", rule.host, rule.port, (path or "/") + query)


def _refuse_strange(authority: str, path: str, fragment: str) -> None:
    if "@" in authority:
        raise ValueError("a login does not belong in a URL: give it as a header")
    if fragment:
        raise ValueError("a URL's `#` part is never sent: leave it out")
    if not all("!" <= char <= "~" and char not in '\\"<>^`{|}' for char in IN_URL.sub("", path)):
        raise ValueError("a URL's path holds a character that has to be written as `%XX`")
    if not authority:
        raise ValueError("the URL's host is missing")


def _has_port(authority: str) -> bool:
    return ":" in authority.rpartition("]")[2]


# --- headers -----------------------------------------------------------------------------------------


def header_name(text: str) -> str:
    """The name in lower case, which is the same name, or ValueError where it is not the profile's to set."""
    name = text.lower()
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"`{text.encode('unicode_escape').decode()[:80]}` is not the name of a header")
    if name in _OURS or name.startswith(("mcp-", "proxy-")):
        raise ValueError(f"`{name}` is set by mcp-sandbox itself")
    return name


def header_value(name: str, text: str) -> str:
    """The value as written, or ValueError: printable ASCII, and of a credential no more than where it is."""
    if not _VALUE.fullmatch(text) or len(text) > 8192:
        raise ValueError(f"the value of `{name}` is not printable ASCII without spaces at its ends")
    if names_a_credential(name) and not NAMED.search(text):
        raise ValueError(
            f"the credential in `{name}` is written down: name a secret, as in `Bearer ${{TOKEN}}`"
        )
    return text


def names_a_credential(name: str) -> bool:
    """Whether a header is called like one that holds a credential."""
    return _CREDENTIAL.search(name) is not None


def split(text: str) -> tuple[str, str]:
    """Name and value of `NAME: VALUE`, checked."""
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError("a header is written `NAME: VALUE`")
    name = header_name(name)
    return name, header_value(name, value.strip(" "))


def names(text: str, pattern: re.Pattern[str] = NAMED) -> tuple[str, ...]:
    """The variables that stand in a header's value, or with `IN_URL` in a path, each once."""
    return tuple(dict.fromkeys(pattern.findall(text)))
