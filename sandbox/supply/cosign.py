"""Signatures of images as cosign leaves them at a registry: read, and held against a public key.

A signature is over a small document that names the manifest's digest ("simple signing"); both lie at the
registry under a tag made of that digest. Everything read here comes from there.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from sandbox.records import dataclass

MOST_SIGNATURES = 64
MOST_BYTES = 1 << 20
TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_CERTIFICATE = "dev.sigstore.cosign/certificate"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature, and where the document is that it is over."""

    payload: str
    """`sha256:HEX` of the document, which is a blob of the same repository."""
    signature: bytes
    keyless: bool
    """It came with a certificate for an identity: a key of our own cannot have made it."""


def tag(digest: str) -> str:
    """The tag that holds the signatures of a manifest."""
    return digest.replace(":", "-") + ".sig"


def signatures(manifest: bytes) -> tuple[Signature, ...]:
    """The signatures that a manifest lists; what is none of cosign's is passed over."""
    try:
        layers = json.loads(manifest)["layers"][:MOST_SIGNATURES]
        found = [_signature(one) for one in layers if one.get("mediaType") == TYPE]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()
    return tuple(one for one in found if one is not None)


def _signature(layer: dict[str, Any]) -> Signature | None:
    said = layer.get("annotations") or {}
    try:
        signature = base64.b64decode(said[_SIGNATURE], validate=True)
    except (binascii.Error, KeyError, TypeError, ValueError):
        return None
    return Signature(str(layer["digest"]), signature, keyless=bool(said.get(_CERTIFICATE)))


def names(payload: bytes, digest: str) -> bool:
    """Whether the signed document is about the manifest of that digest and about nothing else."""
    try:
        said = json.loads(payload, object_pairs_hook=_once)["critical"]
        return bool(said["image"]["docker-manifest-digest"] == digest and "cosign" in said["type"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """No name comes twice: two readers would take two different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def signed_by(key: bytes, payload: bytes, signature: bytes) -> bool:
    """Whether the holder of a public key (PEM) signed the document; ValueError where it is no key."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    try:
        public = serialization.load_pem_public_key(key)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    try:
        if isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
        elif isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, payload)
        elif isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
        else:
            raise ValueError("cosign signs with ECDSA, Ed25519 or RSA")
    except InvalidSignature:
        return False
    return True
