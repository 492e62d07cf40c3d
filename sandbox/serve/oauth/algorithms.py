"""Signatures that count, all of a key pair (RFC 7518, 8037, 9864), and the keys that can make them (P).

There is no `none` and no HMAC here, so no setting can allow one: with an HMAC the published key would be
the secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sandbox.serve.oauth.compact import decoded

ALGORITHMS: Final[Mapping[str, tuple[str, str]]] = {
    "RS256": ("RSA", ""),
    "RS384": ("RSA", ""),
    "RS512": ("RSA", ""),
    "PS256": ("RSA", ""),
    "PS384": ("RSA", ""),
    "PS512": ("RSA", ""),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
"""The kind of key and its curve."""
PUBLIC: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("e", "kty", "n"),
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
}
"""The members that a public key consists of, in the order of its thumbprint (RFC 7638, RFC 8037)."""
PRIVATE: Final = frozenset("d p q dp dq qi oth k".split())
RSA_BITS: Final = range(2048, 8193)
_LONGEST: Final = 2048
_LONGEST_EXPONENT: Final = 4


def public(jwk: Mapping[str, Any]) -> dict[str, str] | None:
    """The key's public members and no others, or None for a key that verifies nothing here."""
    names = PUBLIC.get(jwk.get("kty") if isinstance(jwk.get("kty"), str) else "")  # type: ignore[arg-type]
    # Whoever publishes a private key has no secret any more.
    if names is None or PRIVATE & jwk.keys():
        return None
    found = {name: jwk.get(name) for name in names}
    made = {name: one for name, one in found.items() if isinstance(one, str) and len(one) <= _LONGEST}
    return made if len(made) == len(names) and _is_strong(made) else None


def _is_strong(key: Mapping[str, str]) -> bool:
    if key["kty"] != "RSA":
        return True
    modulus, exponent = decoded(key["n"]), decoded(key["e"])
    if modulus is None or exponent is None or len(exponent) > _LONGEST_EXPONENT:
        return False
    return int.from_bytes(modulus).bit_length() in RSA_BITS


def fits(algorithm: str, key: Mapping[str, str]) -> bool:
    """Whether a key is of the kind and curve that the algorithm is for."""
    return ALGORITHMS.get(algorithm) == (key["kty"], key.get("crv", ""))
