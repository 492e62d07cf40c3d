"""Which server a TLS connection of the bridge's may end at: its chain, its name, and where pinned its key.

A pin is held beside the chain, never in its place: a certificate that nobody has signed is given as the CA.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from hashlib import sha256

from sandbox.wire import der

PIN = "sha256:"


def context(authorities: str, pins: Sequence[str] = ()) -> ssl.SSLContext:
    """A client's context that trusts these certificates (PEM) and no file, and of pinned keys one.

    It is for connections over memory (`wrap_bio`, which asyncio has): a socket of its own is refused.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    # A company's intermediate may be all that somebody was given: it stands for itself then.
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    made.load_verify_locations(cadata=authorities)
    if pins:
        made.sslobject_class = _pinned(frozenset(pins))
        made.sslsocket_class = _Never
    return made


class _Never(ssl.SSLSocket):
    """Nothing here would look at its key."""

    def do_handshake(self, block: bool = False) -> None:
        raise ssl.SSLCertVerificationError(1, "pins are checked over memory alone")


def fingerprint(certificate: bytes) -> str:
    """How a pin names the key of a certificate (DER): it stays while the key does, through every renewal."""
    return PIN + sha256(der.public_key(certificate)).hexdigest()


def _pinned(pins: frozenset[str]) -> type[ssl.SSLObject]:
    """A connection that ends, as for a wrong chain, before a byte is sent to a key that is not pinned."""

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            # The leaf's key alone counts: what an authority signs is what pinning is held against.
            why = _not_pinned(self.getpeercert(binary_form=True), pins)
            if why:
                raise ssl.SSLCertVerificationError(1, why)

    return Pinned


def _not_pinned(certificate: bytes | None, pins: frozenset[str]) -> str:
    try:
        found = fingerprint(certificate or b"")
    except der.Malformed as why:
        return f"the server's certificate cannot be read: {why}"
    return "" if found in pins else f"the server's key is {found}, which is not pinned"
