"""`WWW-Authenticate`: what a server that wants a login says about it (RFC 9110 11.6.1, RFC 6750 3) (P)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

LONGEST = 8192
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the grammar of a word
_NEXT = re.compile(rf"[ \t,]*({_TOKEN})")
_PARAM = re.compile(rf'[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))(?=[ \t]*(?:,|$))', re.DOTALL)
# The other form of credentials, a single word padded with `=`: of no use here, and to be passed over.
_WORD68 = re.compile(r"[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")


def bearer(values: Iterable[str]) -> dict[str, str]:
    """The parameters of the first `Bearer` challenge, names in lower case; what cannot be read ends it."""
    for value in values:
        for scheme, params in _challenges(value[:LONGEST]):
            if scheme == "bearer":
                return params
    return {}


def _challenges(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    scheme, params = "", dict[str, str]()
    at = 0
    while word := _NEXT.match(text, at):
        at = word.end()
        if value := _PARAM.match(text, at):
            at = value.end()
            quoted = value[1]
            # The first one counts: one that follows may have come from somebody else's text.
            params.setdefault(word[1].lower(), value[2] if quoted is None else _unescaped(quoted))
            continue
        if scheme:
            yield scheme, params
        scheme, params = word[1].lower(), {}
        if single := _WORD68.match(text, at):
            at = single.end()
    if scheme:
        yield scheme, params


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
