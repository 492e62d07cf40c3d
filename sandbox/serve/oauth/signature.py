"""The cryptography of signatures: the one file that uses PyJWT, which is there with the extra `oauth`."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, Protocol

from sandbox.errors import CannotEnforce
from sandbox.serve.oauth.algorithms import ALGORITHMS
from sandbox.serve.oauth.compact import Compact

# The library has one name for all of Edwards's curves; the key says which it is.
_SPELT: Final = {"Ed25519": "EdDSA"}


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
        return get_algorithm_by_name(_SPELT.get(algorithm, algorithm)).from_jwk(dict(key))
    except (PyJWTError, ValueError, TypeError):
        return None


def verify(algorithm: str, key: Any, signed: bytes, signature: bytes) -> bool:
    """Whether the owner of the key has signed."""
    from jwt import get_algorithm_by_name

    if algorithm not in ALGORITHMS:
        return False
    try:
        found = get_algorithm_by_name(_SPELT.get(algorithm, algorithm))
        return bool(found.verify(signed, key, signature))
    except (ValueError, TypeError, AttributeError):
        return False


class Named(Protocol):
    """A key that is for one algorithm."""

    @property
    def algorithm(self) -> str:
        """Its name."""
        ...

    @property
    def prepared(self) -> Any:
        """The key as `prepare` made it."""
        ...


class Checked:
    """Signatures that held: a client sends its token with every request, and the arithmetic is the dear part.

    What is remembered is the key itself, so that a key which was fetched again or withdrawn starts anew.
    """

    MOST: Final = 4096

    def __init__(self) -> None:
        self._held: dict[bytes, Named] = {}

    def holds(self, key: Named, read: Compact) -> bool:
        """Whether the key's owner has signed the token."""
        digest = sha256(read.signed + b"." + read.signature).digest()
        if self._held.get(digest) is key:
            return True
        if not verify(key.algorithm, key.prepared, read.signed, read.signature):
            return False
        if len(self._held) >= self.MOST:
            self._held.clear()
        self._held[digest] = key
        return True
