"""Proof of possession (RFC 9449): a token that is bound to a key is taken only with that key's signature."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sandbox.serve.oauth import compact, place, signature
from sandbox.serve.oauth.algorithms import PUBLIC, fits, public
from sandbox.serve.oauth.claims import SKEW
from sandbox.serve.oauth.compact import encoded
from sandbox.serve.oauth.faults import Fault

LONGEST: Final = 4096
_LONGEST_ID: Final = 256
_CODE: Final = "dpop-proof"


def thumbprint(key: Mapping[str, str]) -> str:
    """The name of a public key by what it is (RFC 7638)."""
    members = {name: key[name] for name in PUBLIC[key["kty"]]}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return encoded(hashlib.sha256(text.encode()).digest())


def check(
    proof: str, token: str, bound: str, method: str, url: str, algorithms: Sequence[str], now: float
) -> str:
    """The proof's id, if it proves for this token, this request and this moment; Fault otherwise.

    The id may have been used before: `Seen` knows.
    """
    read = _read(proof)
    if read.header.get("typ") != "dpop+jwt":
        raise Fault(_CODE, "the proof is not a `dpop+jwt`")
    _check_key(read, bound, algorithms)
    claims = read.claims
    _check_place(claims, method, url)
    if claims.get("ath") != encoded(hashlib.sha256(token.encode()).digest()):
        raise Fault(_CODE, "the proof is for another token")
    made = claims.get("iat")
    if made is None or type(made) not in (int, float) or abs(now - made) > SKEW:
        raise Fault(_CODE, "the proof is not of this moment")
    name = claims.get("jti")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID:
        raise Fault(_CODE, "the proof has no `jti`")
    return name


def _read(proof: str) -> compact.Compact:
    try:
        return compact.read(proof, LONGEST)
    except Fault as fault:
        raise Fault(_CODE, fault.why.replace("the token", "the proof")) from None


def _check_key(read: compact.Compact, bound: str, algorithms: Sequence[str]) -> None:
    jwk = read.header.get("jwk")
    key = public(jwk) if isinstance(jwk, dict) else None
    if key is None or read.algorithm not in algorithms or not fits(read.algorithm, key):
        raise Fault(_CODE, "the proof has no public key for an allowed algorithm")
    if thumbprint(key) != bound:
        raise Fault(_CODE, "the proof is by another key than the token is bound to")
    prepared: Any = signature.prepare(read.algorithm, key)
    if prepared is None or not signature.verify(read.algorithm, prepared, read.signed, read.signature):
        raise Fault(_CODE, "the proof's signature does not hold")


def _check_place(claims: Mapping[str, Any], method: str, url: str) -> None:
    where = claims.get("htu")
    named = where.partition("#")[0].partition("?")[0] if isinstance(where, str) else ""
    if claims.get("htm") != method or not _is_same(named, url):
        raise Fault(_CODE, "the proof is for another request")


def _is_same(one: str, other: str) -> bool:
    """However the host is spelt, and with the scheme's own port or without (RFC 9449, 4.3)."""
    try:
        found, wanted = place.parse(one), place.parse(other)
    except ValueError:
        return False
    return (found.origin, found.path) == (wanted.origin, wanted.path)


class Seen:
    """Ids of proofs, for as long as a proof is good; only those of good tokens come here."""

    MOST_OF_ONE: Final = 20_000
    MOST: Final = 200_000

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._count: dict[str, int] = {}

    def add(self, name: str, key: str, now: float) -> None:
        """Remembers the id; Fault for one that was used, or where no more can be remembered."""
        self._forget(now)
        digest = hashlib.sha256(f"{key} {name}".encode()).digest()
        if digest in self._until:
            raise Fault(_CODE, "the proof was used before")
        if len(self._until) >= self.MOST or self._count.get(key, 0) >= self.MOST_OF_ONE:
            raise Fault(_CODE, "more proofs than can be remembered")
        # Twice: a proof of a clock ahead of ours by all of the skew stays good for so long.
        self._until[digest] = (now + 2 * SKEW, key)
        self._count[key] = self._count.get(key, 0) + 1

    def _forget(self, now: float) -> None:
        while self._until:
            digest, (until, key) = next(iter(self._until.items()))
            if until >= now:
                return
            del self._until[digest]
            self._count[key] -= 1
            if not self._count[key]:
                del self._count[key]
