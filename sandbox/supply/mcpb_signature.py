"""The signature behind a bundle (`MCPB_SIG_V1`): whose it is, and whether it is about these bytes.

The archive, then `MCPB_SIG_V1`, the length in four bytes (little-endian), a detached PKCS#7 signature of
the archive, `MCPB_SIG_END`; as the bundles' own tool writes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from sandbox.records import dataclass
from sandbox.supply import cms
from sandbox.supply.cms import Malformed

if TYPE_CHECKING:
    import datetime

    from cryptography.x509 import Certificate

_HEADER, _FOOTER = b"MCPB_SIG_V1", b"MCPB_SIG_END"
_AROUND = len(_HEADER) + 4 + len(_FOOTER)
TAIL = cms.LARGEST + _AROUND
"""Bytes at the end of a file in which a whole signature stands."""
_CODE_SIGNING = "1.3.6.1.5.5.7.3.3"
_LONGEST_CHAIN = 8

Standing = Literal["authority", "self-signed", "unknown"]


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed a bundle; a signature that is not about its bytes has none."""

    name: str
    issuer: str
    fingerprint: str
    """SHA-256 of the certificate, in hex."""
    standing: Standing
    """Whether its certificate leads to an authority of this machine's; anybody writes a self-signed one."""

    def words(self) -> str:
        """The same as a person is told."""
        by = f"`{self.name}` (certificate {self.fingerprint[:16]}…)"
        if self.standing == "authority":
            return f"signed by {by}, as `{self.issuer}` says"
        if self.standing == "self-signed":
            return f"signed by {by}, whose certificate is its own word alone"
        return f"signed by {by}, whose issuer `{self.issuer}` is no authority of this machine's"


def cut(tail: bytes, size: int) -> tuple[int, bytes | None]:
    """Where the archive ends in a file of `size` bytes that ends with `tail`, and the signature behind it."""
    if not tail.endswith(_FOOTER):
        return size, None
    at = len(tail) - len(_FOOTER)
    while (at := tail.rfind(_HEADER, 0, at)) >= 0:
        start = at + len(_HEADER) + 4
        length = int.from_bytes(tail[start - 4 : start], "little")
        if start + length + len(_FOOTER) == len(tail):
            return size - (len(tail) - at), tail[start : start + length]
    raise Malformed("its signature is cut off")


def verify(
    der: bytes, content: Callable[[str], bytes], authorities: Iterable[bytes], now: datetime.datetime
) -> Signer:
    """The signer of the content whose digest `content` gives by algorithm; Malformed where it is not his."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        read = cms.read(der)
    except Malformed as error:
        raise Malformed(f"its signature is not understood: {error}") from None
    if content(read.algorithm) != read.digest:
        raise Malformed("its signature is about other bytes: it was changed after it was signed")
    try:
        chain = [_loaded(one) for one in read.certificates]
        own = _own(chain, read)
        _check(own, read)
        # Of these fields each may be malformed, and is read late.
        return Signer(
            name=_called(own.subject),
            issuer=_called(own.issuer),
            fingerprint=hashlib.sha256(read.certificates[chain.index(own)]).hexdigest(),
            standing=_standing(own, chain, authorities, now),
        )
    except InvalidSignature:
        raise Malformed("its signature is not by the key that it names") from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed("its signature has a certificate that cannot be read") from None


def _loaded(der: bytes) -> Certificate:
    from cryptography import x509

    with _quiet():
        try:
            return x509.load_der_x509_certificate(der)
        except x509.InvalidVersion as error:
            raise ValueError(str(error)) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's word about what it will no longer read some day."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _own(chain: Sequence[Certificate], read: cms.Signature) -> Certificate:
    with _quiet():
        for one in chain:
            if one.serial_number == read.serial and one.issuer.public_bytes() == read.issuer:
                return one
    raise Malformed("its signature has no certificate of the one who signed")


def _check(own: Certificate, read: cms.Signature) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    by = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}[read.algorithm]
    key = own.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        key.verify(read.value, read.signed, padding.PKCS1v15(), by)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(read.value, read.signed, ec.ECDSA(by))
    else:
        raise Malformed("its signature is by a key that is too short, or of a kind that is not understood")


def _called(name: object) -> str:
    """The common name, else the whole; short, and without what a terminal would obey."""
    from cryptography.x509 import Name
    from cryptography.x509.oid import NameOID

    assert isinstance(name, Name)  # noqa: S101 - of a certificate that was read
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(found[0].value) if found else name.rfc4514_string()
    return "".join(
        char if char.isprintable() and char != "`" else "\N{REPLACEMENT CHARACTER}" for char in text[:100]
    )


def _standing(
    own: Certificate, chain: Sequence[Certificate], authorities: Iterable[bytes], now: datetime.datetime
) -> Standing:
    roots = []
    for der in authorities:
        try:
            roots.append(_loaded(der))
        except ValueError:
            continue  # of the system's own some are older than the rules
    if _signs_code(own) and _leads(own, chain, roots, now, _LONGEST_CHAIN):
        return "authority"
    if own.issuer != own.subject:
        return "unknown"
    own.verify_directly_issued_by(own)  # else even its name is somebody else's word
    return "self-signed"


def _leads(
    one: Certificate,
    chain: Sequence[Certificate],
    roots: Sequence[Certificate],
    now: datetime.datetime,
    left: int,
) -> bool:
    """Whether one authority of `roots` stands at the end, each on the way valid now and able to issue."""
    if not one.not_valid_before_utc <= now <= one.not_valid_after_utc or not left:
        return False
    if any(_issued(one, root) and root.not_valid_after_utc >= now for root in roots):
        return True
    above = [each for each in chain if each is not one and _issued(one, each)]
    return any(_leads(each, chain, roots, now, left - 1) for each in above[:2])


def _issued(one: Certificate, by: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.x509 import BasicConstraints, ExtensionNotFound

    try:
        one.verify_directly_issued_by(by)
        return by.extensions.get_extension_for_class(BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, ExtensionNotFound):
        return False


def _signs_code(own: Certificate) -> bool:
    from cryptography.x509 import ExtendedKeyUsage, ExtensionNotFound

    try:
        usage = own.extensions.get_extension_for_class(ExtendedKeyUsage).value
    except (ValueError, ExtensionNotFound):
        return False
    return any(one.dotted_string == _CODE_SIGNING for one in usage)
