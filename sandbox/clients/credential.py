"""Which variables and arguments of a server are credentials, by name and by look (P)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sandbox.inspect.credentials import shipped
from sandbox.inspect.entropy import looks_random, made_up, stands_for_another

MASK: Final = "•••"
_NAME: Final = re.compile(
    r"passw(?:or)?d|passphrase|secret|credential|api_?key|access_?key|private_?key|signing_?key|master_?key"
    r"|encryption_?key|token|cookie|bearer|(?:^|_)(?:key|pass|pwd|pat|auth|jwt|dsn|webhook)(?:_|$)"
    r"|(?:connection_?string|database_?ur[il]|(?:postgres|mongo|redis|mysql)\w*_ur[il])$",
    re.IGNORECASE,
)
_HARMLESS: Final = re.compile(
    r"(?:max|min|num|count|limit)_?tokens?|tokens?_?(?:limit|count|max|budget)|tokenizer|public_?key"
    r"|key_?(?:id|name|file|path|prefix)$|auth_?(?:type|mode|method|url|enabled)$",
    re.IGNORECASE,
)
_PLAIN: Final = re.compile(r"true|false|yes|no|on|off|none|null|[+-]?\d{1,9}(?:\.\d+)?", re.IGNORECASE)
_VARIABLE: Final = re.compile(r"\$\{[^}]*\}+|\$[A-Za-z_]\w*|%[A-Za-z_]\w*%|\{env:[^}]*\}|\{file:[^}]*\}")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_USERINFO: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:([^/\s@]{3,})@", re.IGNORECASE)
_OPTION: Final = re.compile(r"--?([A-Za-z][\w-]*)(?:=(.*))?", re.DOTALL)
_HEADER: Final = re.compile(
    r"[\w-]*(?:auth|token|key)[\w-]*:\s*(?:(?:bearer|basic|token)\s+)?(\S.*)", re.IGNORECASE
)
_OUR_OPTIONS: Final = frozenset(
    ("--secret", "--allow-env", "--name", "--profile", "--only-tools", "-e", "--env")
)
"""What follows these is a name."""
_ASSIGNED: Final = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


def is_secret(name: str, value: str = "") -> bool:
    """Whether a variable is to be kept out of every log: by its name, else by its value's look.

    A value that is no secret whatever its name says (a flag, a number, a path) is none.
    """
    if literal(value) and _no_secret(value):
        return False
    spelt = _CAMEL.sub("_", name).replace("-", "_")
    return bool(_NAME.search(spelt) and not _HARMLESS.search(spelt)) or bool(looked(value))


def in_plain_text(name: str, value: str) -> bool:
    """Whether the value itself stands there, and not a reference, an example or nothing."""
    data = value.encode(errors="replace")
    if not literal(value) or made_up(data) or stands_for_another(data):
        return bool(looked(value))
    return is_secret(name, value)


def literal(value: str) -> bool:
    """Whether the client puts nothing in its place."""
    return bool(value) and _VARIABLE.search(value) is None


def looked(text: str) -> list[str]:
    """Every part of the text that looks like a credential, or is the password of an address."""
    found = [one[1] for one in _USERINFO.finditer(text) if literal(one[1])]
    data = text.encode(errors="replace")
    rules = shipped()
    worth, _, _ = rules.worth(rules.match(data))
    found += [data[hit.start : hit.end].decode(errors="replace") for hit in rules.find(data, sorted(worth))]
    return [one for one in found if not made_up(one.encode(errors="replace"))]


def in_arguments(words: Sequence[str]) -> list[str]:
    """The credentials among a command's words, each as it stands there."""
    found: list[str] = []
    before = ""
    for word in words:
        found += looked(word)
        found += [value for name, value in _named(before, word) if _is_value(name, value)]
        before = word
    return list(dict.fromkeys(found))


def _named(before: str, word: str) -> list[tuple[str, str]]:
    """What a word is called by its option, its header or its own `NAME=`."""
    pairs = []
    option = _OPTION.fullmatch(word)
    if option:
        return [(option[1], option[2])] if option[2] else []
    if (header := _HEADER.fullmatch(word)) is not None:
        pairs.append(("token", header[1]))
    if (assigned := _ASSIGNED.fullmatch(word)) is not None:
        pairs.append((assigned[1], assigned[2]))
    named = _OPTION.fullmatch(before)
    if named and named[2] is None and not pairs and before not in _OUR_OPTIONS:
        pairs.append((named[1], word))
    return pairs


def _is_value(name: str, value: str) -> bool:
    return in_plain_text(name, value) and not _no_secret(value)


def _no_secret(value: str) -> bool:
    if len(value) < 6 or _PLAIN.fullmatch(value):
        return True
    path = value.startswith(("/", "~/", "./", "../")) or re.match(r"[A-Za-z]:\\", value)
    return bool(path) and not looks_random(value.encode(errors="replace"))


def masked(words: Sequence[str]) -> list[str]:
    """The words as they may be shown."""
    secrets = sorted(in_arguments(words), key=len, reverse=True)
    return [_hidden(word, secrets) for word in words]


def _hidden(word: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        word = word.replace(secret, MASK)
    return word
