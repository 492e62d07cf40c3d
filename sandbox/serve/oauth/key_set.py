"""An issuer's public keys, as its JWKS document has them (RFC 7517)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sandbox.records import dataclass
from sandbox.serve.oauth import signature
from sandbox.serve.oauth.algorithms import ALGORITHMS, fits, public
from sandbox.wire.strict import Refusal, read_object

MOST_KEYS: Final = 64
LONGEST_KID: Final = 256


@dataclass(frozen=True, slots=True)
class Key:
    """A key for one algorithm."""

    kid: str | None
    algorithm: str
    prepared: Any


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys that can be used; a key without `alg` stands here once for each algorithm it fits."""

    keys: tuple[Key, ...] = ()

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The one key that the token names; of two that could be meant neither is."""
        fit = [one for one in self.keys if one.algorithm == algorithm and (kid is None or one.kid == kid)]
        return fit[0] if len(fit) == 1 else None


def read(document: bytes) -> KeySet:
    """The keys of a document; ValueError says why it is none that can be used."""
    try:
        listed = read_object(document).get("keys")
    except Refusal as why:
        raise ValueError(f"is not strict JSON: {why.reason}") from None
    if not isinstance(listed, list):
        raise ValueError("has no list of `keys`")
    if len(listed) > MOST_KEYS:
        raise ValueError(f"has more than {MOST_KEYS} keys")
    found = tuple(key for one in listed if isinstance(one, dict) for key in _keys(one))
    if not found:
        raise ValueError("has no public key that signs tokens")
    return KeySet(found)


def _keys(jwk: dict[str, Any]) -> Iterator[Key]:
    """What the key is good for, nothing where it is for something else or cannot be read."""
    key, kid = public(jwk), jwk.get("kid")
    if key is None or not _is_for_signatures(jwk) or not _is_kid(kid):
        return
    for algorithm in ALGORITHMS:
        if fits(algorithm, key) and jwk.get("alg", algorithm) == algorithm:
            prepared = signature.prepare(algorithm, key)
            if prepared is not None:
                yield Key(kid, algorithm, prepared)


def _is_for_signatures(jwk: dict[str, Any]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _is_kid(kid: Any) -> bool:
    return kid is None or (isinstance(kid, str) and 0 < len(kid) <= LONGEST_KID)
