"""Whether one argument of a tool call keeps its rule: what cannot be judged beyond doubt is a fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sandbox.patterns import regex
from sandbox.policy.model import ArgumentRule, HostRule
from sandbox.policy.paths import below

LONGEST_SUBJECT: Final = 64 << 10
MOST_VALUES: Final = 1000
MOST_TEXT: Final = 256 << 10

Real = Callable[[str], str | None]
"""Where an absolute path inside leads, its links followed; None where that cannot be told."""

_SCHEME = regex(r"[A-Za-z][A-Za-z0-9+.-]*:", re.ASCII)
_PORTS: Final = {
    "https": 443, "http": 80, "wss": 443, "ws": 80, "ssh": 22, "sftp": 22, "git": 9418,
    "ftp": 21, "ftps": 990, "postgres": 5432, "postgresql": 5432, "mysql": 3306, "redis": 6379,
    "rediss": 6379, "mongodb": 27017, "amqp": 5672, "amqps": 5671, "ldap": 389, "ldaps": 636,
}  # fmt: skip
"""By scheme. Any other may lead elsewhere than to its host: `file:` has one that nobody asks."""


def fault(rule: ArgumentRule, arguments: Mapping[str, object], cwd: str, real: Real) -> str:
    """What is wrong with the argument that the rule is about; empty where it keeps the rule."""
    folded = rule.argument.casefold()
    if any(name != rule.argument and name.casefold() == folded for name in arguments):
        # Go's decoder takes `Path` for `path`, and of several the last.
        return "is given in another spelling"
    if rule.argument not in arguments:
        # What a server takes instead is its own choice, which no rule has seen.
        return "" if rule.optional else "is missing"
    value = arguments[rule.argument]
    values = value if isinstance(value, list) else [value]
    if not values:
        return "is empty"
    if len(values) > MOST_VALUES or sum(len(one) for one in values if type(one) is str) > MOST_TEXT:
        return "holds too much to judge"
    return next((found for one in values if (found := _value_fault(rule, one, cwd, real))), "")


def _value_fault(rule: ArgumentRule, value: object, cwd: str, real: Real) -> str:
    if rule.minimum is not None or rule.maximum is not None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return "is not a number"
        # Written so that NaN, for which every comparison is false, is refused.
        if not (_or(rule.minimum, value) <= value <= _or(rule.maximum, value)):
            return "is out of range"
    if not _of_text(rule):
        return ""
    if not isinstance(value, str):
        return "is not text"
    return _text_fault(rule, value, cwd, real)


def _of_text(rule: ArgumentRule) -> bool:
    lengths = (rule.min_length, rule.max_length)
    return bool(rule.pattern is not None or rule.enum or rule.within or rule.hosts) or lengths != (None, None)


def _text_fault(rule: ArgumentRule, value: str, cwd: str, real: Real) -> str:
    if not (_or(rule.min_length, len(value)) <= len(value) <= _or(rule.max_length, len(value))):
        return f"has {len(value)} characters"
    if not (rule.enum or rule.pattern is not None or rule.within or rule.hosts):
        return ""
    if len(value) > LONGEST_SUBJECT:
        return "is too long to judge"
    if rule.enum and value not in rule.enum:
        return "is none of the values allowed"
    if rule.pattern is not None and not _matches(rule.pattern, value):
        return f"does not match `{rule.pattern}`"
    if rule.within and not lies_within(value, rule.within, cwd, real):
        return f"lies outside {', '.join(f'`{root}`' for root in rule.within)}"
    if rule.hosts and not leads_to(value, rule.hosts):
        return f"leads to none of {', '.join(f'`{host}`' for host in rule.hosts)}"
    return ""


def _matches(pattern: str, value: str) -> bool:
    from sandbox.policy.patterns import matches  # with RE2, for the first rule that needs it

    return matches(pattern, value)


def _or(limit: float | None, value: float) -> float:
    return value if limit is None else limit


# --- paths -------------------------------------------------------------------------------------------


def lies_within(value: str, roots: Iterable[str], cwd: str, real: Real) -> bool:
    """Whether a path, as a server would read it, lies in one of these directories, its links followed.

    What servers read differently is refused rather than read: `..`, `~`, `$`, blanks at the ends, control
    characters, and any URI but `file:`.
    """
    plain = _plain_path(value)
    if plain is None:
        return False
    path = plain if plain.startswith("/") else f"{cwd}/{plain}"
    normal = "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
    led = real(normal) if any(below(normal, root) for root in roots) else None
    return led is not None and any(below(led, root) for root in roots)


def _plain_path(value: str) -> str | None:
    if value != value.strip() or value.startswith(("~", "$")) or not value:
        return None
    if _SCHEME.match(value):
        return _file_path(value)
    return None if _is_odd(value) else value


def _is_odd(path: str) -> bool:
    """Whether two programs may read the path differently: one that knows `\\`, one that stops at NUL."""
    return ".." in path.replace("\\", "/").split("/") or any(ord(char) < 32 for char in path)


def _file_path(uri: str) -> str | None:
    """The absolute path of a `file:` URI of this host (RFC 8089), read once."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "file" or not rest.startswith("//") or "?" in rest or "#" in rest:
        return None
    host, slash, path = rest[2:].partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        return None
    from urllib.parse import unquote

    try:
        plain = "/" + unquote(path, errors="strict")
    except UnicodeDecodeError:
        return None
    # Decoded once more it would be another path: to a server that does so.
    return None if _is_odd(plain) or unquote(plain) != plain else plain


# --- hosts -------------------------------------------------------------------------------------------


def leads_to(value: str, allowed: Iterable[str]) -> bool:
    """Whether a URL, or a host with or without port, names one of these, beyond doubt (RFC 3986 3.2)."""
    from sandbox.policy import hosts

    try:
        at = _destination(value)
        return hosts.match([hosts.parse(text) for text in allowed], at.host, at.port) is not None
    except ValueError:
        return False


def _destination(value: str) -> HostRule:
    from sandbox.policy import hosts

    if "\\" in value or any(char.isspace() or not char.isprintable() for char in value):
        raise ValueError("read differently by different parsers")
    scheme, colon, rest = value.partition("://")
    authority = re.split(r"[/?#]", rest if colon else value, maxsplit=1)[0]
    if "*" in authority:
        raise ValueError("a pattern is no host")
    port = _PORTS.get(scheme.lower())
    if colon and port is None:
        raise ValueError("a scheme that is not known to lead to its host")
    # `parse` takes a host without a port for one of HTTPS.
    named = not colon or _has_port(authority)
    return hosts.parse(authority if named else f"{authority}:{port}")


def _has_port(authority: str) -> bool:
    return ":" in authority.rpartition("]")[2]
