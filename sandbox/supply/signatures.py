"""A registry's own signatures over what it serves: ECDSA P-256 of `name@version:integrity` (npm)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sandbox.records import dataclass
from sandbox.supply import public
from sandbox.supply.resolved import Signature

Outcome = Literal["valid", "forged", "expired", "unknown", "missing"]


@dataclass(frozen=True, slots=True)
class Key:
    """A registry's public key."""

    keyid: str
    spki: str
    """SubjectPublicKeyInfo, DER, in Base64."""
    expires: str | None = None
    """RFC 3339; None: it does not."""
    owner: str = ""
    """Whose it is: the registry's host."""


# The public registry's, as its documents and node's own corepack have them. A mirror passes on what they
# signed, and none can put another key in their place.
BUILT_IN = (
    Key(
        "SHA256:jl3bwswu80PjjokCgh0o2w5c2U4LhQAE57gj9cz1kzA",
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1Olb3zMAFFxXKHiIkQO5cJ3Yhl5i6UPp+IhuteBJbuHcA5UogKo0EWtlWwW6KSaKoT"
        "NEYL7JlCQiVnkhBktUgg==",
        "2025-01-29T00:00:00.000Z",
        public.NPM,
    ),
    Key(
        "SHA256:DhQ8wR5APBvFHLF/+Tc+AYvPOdTpcIDqOhxsBHRwC7U",
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEY6Ya7W++7aUPzvMTrezH6Ycx3c+HOKYCcNGybJZSCJq/fd7Qa8uuAKtdIkUQtQiEKE"
        "RhAmE5lMMJhP8OkDOa2g==",
        None,
        public.NPM,
    ),
)
_MOST = 32
_LONGEST = 1024


def keys_of(content: bytes, owner: str) -> tuple[Key, ...]:
    """The keys that a registry serves at `/-/npm/v1/keys`; ValueError for anything else."""
    try:
        listed = json.loads(content)["keys"]
        return tuple(_key(one, owner) for one in listed[:_MOST])
    except (KeyError, TypeError, RecursionError, AttributeError) as error:
        raise ValueError(f"no list of keys: {error}") from None


def _key(one: Mapping[str, Any], owner: str) -> Key:
    keyid, spki, expires = one["keyid"], one["key"], one.get("expires")
    texts = (keyid, spki, *(() if expires is None else (expires,)))
    if not all(isinstance(text, str) and 0 < len(text) <= _LONGEST for text in texts):
        raise ValueError("a key is not of the form that registries use")
    return Key(keyid, spki, expires, owner)


def check(
    name: str,
    version: str,
    integrity: Sequence[str],
    signatures: Sequence[Signature],
    keys: Sequence[Key],
    published: str = "",
) -> tuple[Outcome, Key | None]:
    """The worst of what one version's signatures are, and the key of it; those of unknown keys prove nothing.

    A signature counts for one of the digests that the tree was built from.
    """
    known = {key.keyid: key for key in reversed((*BUILT_IN, *keys))}  # ours stand before any that was fetched
    pairs = [(known[one.keyid], one.sig) for one in signatures[:_MOST] if one.keyid in known]
    if not pairs:
        return ("unknown" if signatures else "missing"), None
    for key, sig in pairs:
        if not any(verified(key, sig, f"{name}@{version}:{each}".encode()) for each in integrity):
            return "forged", key
    for key, _ in pairs:
        # A key that has ended vouches for what it signed before its end, as far as the registry's word goes.
        if key.expires is not None and not (published and published[:19] < key.expires[:19]):
            return "expired", key
    return "valid", pairs[0][0]


def verified(key: Key, sig: str, message: bytes) -> bool:
    """Whether the key made this signature (DER, in Base64) over the message."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        public = load_der_public_key(base64.b64decode(key.spki, validate=True))
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
            return False
        public.verify(base64.b64decode(sig[:_LONGEST], validate=True), message, ec.ECDSA(SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, binascii.Error):
        return False
    return True
