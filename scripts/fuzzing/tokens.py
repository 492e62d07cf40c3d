"""Access tokens and key sets are fuzzed: what anybody writes is read in one way, or refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from fuzzing.promises import Broken
from sandbox.serve.oauth import claims, compact, dpop, key_set
from sandbox.serve.oauth.compact import Compact
from sandbox.serve.oauth.faults import Fault

_NOW = 1_800_000_000.0
_GOOD = {
    "iss": "https://a.example", "aud": "https://b.example/mcp", "sub": "ann", "scope": "read",
    "exp": _NOW + 60,
}  # fmt: skip


def tokens(data: bytes) -> None:
    """A token that is read says the same to the standard library, and grants words or is a fault."""
    header, _, said = data.partition(b"\n")
    for text in (data.decode("latin-1"), ".".join(map(compact.encoded, (header, said, b"x")))):
        with suppress(Fault):
            _hold(text, compact.read(text))
    with suppress(Fault):
        dpop.check(data.decode("latin-1"), "t", "k", "POST", "https://b.example/mcp", ["ES256"], _NOW)
    with suppress(ValueError):
        key_set.read(data)


def _hold(text: str, read: Compact) -> None:
    parts = text.split(".")
    if [compact.encoded(compact.decoded(part) or b"") for part in parts] != parts:
        raise Broken("a token that has two spellings")
    if [json.loads(compact.decoded(part) or b"") for part in parts[:2]] != [read.header, read.claims]:
        raise Broken("a token that another parser reads otherwise")
    with suppress(Fault):
        claims.check_type(read.header)
    for given in (
        read.claims,
        {**_GOOD, **read.claims},
        {**read.claims, "iss": _GOOD["iss"], "aud": _GOOD["aud"]},
    ):
        with suppress(Fault):
            _hold_grant(claims.judge(given, _GOOD["iss"], [_GOOD["aud"]], _NOW), given)


def _hold_grant(granted: claims.Granted, given: dict[str, Any]) -> None:
    if not (granted.name.isascii() and granted.name.isprintable() and " " not in granted.name):
        raise Broken("a name that is not fit for a log")
    if not all(isinstance(one, str) and one for one in granted.scopes):
        raise Broken("a scope that is no word")
    if (
        granted.until + claims.SKEW <= _NOW
        or given["iss"] != _GOOD["iss"]
        or (given.get("cnf") and not granted.bound)
    ):
        raise Broken("a grant that the claims do not make")
