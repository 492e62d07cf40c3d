"""A signed token in its compact form (RFC 7515, 7.1), read so that no other parser reads it otherwise (P)."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Any, Final

from sandbox.records import dataclass
from sandbox.serve.oauth.faults import Fault
from sandbox.wire.strict import Refusal, read_object

LONGEST: Final = 8192
"""Characters of a token; the whole head of a request has little more."""
_PART = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Compact:
    """What a token says, of which nothing is believed before its signature is checked."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    @property
    def algorithm(self) -> str:
        """The name of the algorithm, empty where the header has none."""
        found = self.header.get("alg")
        return found if isinstance(found, str) else ""


def read(token: str, longest: int = LONGEST) -> Compact:
    """The token taken apart; Fault for what is no signed token."""
    if len(token) > longest:
        raise Fault("token-size", f"the token has more than {longest} characters")
    parts = token.split(".")
    if len(parts) != 3:
        raise Fault("token-form", "not a signed token: three parts with dots between them")
    header, claims, signature = (decoded(part) for part in parts)
    if header is None or claims is None or signature is None:
        raise Fault("token-form", "a part of the token is not base64url")
    made = Compact(_object(header), _object(claims), token.rpartition(".")[0].encode(), signature)
    if "crit" in made.header or "b64" in made.header:
        raise Fault("token-form", "the token's header has an extension that is not understood")
    return made


def decoded(text: str) -> bytes | None:
    """The bytes of unpadded base64url in its one spelling, or None."""
    if not _PART.fullmatch(text):
        return None
    try:
        found = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (Error, ValueError):
        return None
    # Bits behind the last byte may be anything for most decoders: one token would have several spellings.
    return found if encoded(found) == text else None


def encoded(content: bytes) -> str:
    """Unpadded base64url."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _object(content: bytes) -> dict[str, Any]:
    try:
        return read_object(content)
    except Refusal as why:
        raise Fault("token-form", f"a part of the token is not strict JSON: {why.reason}") from None
