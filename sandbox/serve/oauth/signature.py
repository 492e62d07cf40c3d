"""The cryptography of signatures: the one file that uses PyJWT, which is there with the extra `oauth`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.errors import CannotEnforce
from sandbox.serve.oauth.algorithms import ALGORITHMS


def require() -> None:
    """Raises where the library is missing."""
    try:
        from jwt.algorithms import has_crypto
    except ImportError:
        has_crypto = False
    if not has_crypto:
        raise CannotEnforce(
            "no-oauth",
            "`--oauth` needs a library that checks signatures, which is not installed",
            rule="a token is believed only after its signature",
            hint="pip install 'mcp-sandbox[oauth]'",
        )


def prepare(algorithm: str, key: Mapping[str, str]) -> Any | None:
    """The public key as the library wants it, or None where it is none (a point that is not on its curve)."""
    from jwt import get_algorithm_by_name
    from jwt.exceptions import PyJWTError

    try:
        return get_algorithm_by_name(algorithm).from_jwk(dict(key))
    except (PyJWTError, ValueError, TypeError):
        return None


def verify(algorithm: str, key: Any, signed: bytes, signature: bytes) -> bool:
    """Whether the owner of the key has signed."""
    from jwt import get_algorithm_by_name

    if algorithm not in ALGORITHMS:
        return False
    try:
        return bool(get_algorithm_by_name(algorithm).verify(signed, key, signature))
    except (ValueError, TypeError, AttributeError):
        return False
