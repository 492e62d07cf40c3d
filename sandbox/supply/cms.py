"""A detached CMS signature (RFC 5652), as it stands behind a bundle: read strictly, in DER (P)."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.records import dataclass
from sandbox.wire.der import Malformed as Malformed
from sandbox.wire.der import element

LARGEST = 1 << 18
_SEQUENCE, _SET, _OID, _INTEGER, _OCTETS, _CONTEXT0 = 0x30, 0x31, 0x06, 0x02, 0x04, 0xA0
_SIGNED_DATA = "1.2.840.113549.1.7.2"
_DATA = "1.2.840.113549.1.7.1"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_DIGESTS = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_MOST_CERTIFICATES = 16
_MOST_ATTRIBUTES = 32


@dataclass(frozen=True, slots=True)
class Signature:
    """One signer's word about a content that is elsewhere."""

    certificates: tuple[bytes, ...]
    issuer: bytes
    """DER of the name that issued the signer's certificate."""
    serial: int
    algorithm: str
    """`sha256`, `sha384` or `sha512`, of the content and of what is signed."""
    digest: bytes
    """Of the content, as the signer has it."""
    signed: bytes
    """What the signature is over: the attributes, as a SET."""
    value: bytes


@dataclass(frozen=True, slots=True)
class _Element:
    tag: int
    whole: bytes
    content: bytes


def read(data: bytes) -> Signature:
    """The one signature in the bytes."""
    if len(data) > LARGEST:
        raise Malformed("it is too large")
    outer = _children(_only(data, _SEQUENCE))
    if _oid(_next(outer, _OID)) != _SIGNED_DATA:
        raise Malformed("it is no signature")
    fields = _children(_only(_next(outer, _CONTEXT0).content, _SEQUENCE))
    _next(fields, _INTEGER)
    _next(fields, _SET)
    _refuse_content(_next(fields, _SEQUENCE))
    return _signer(*_after_content(fields))


def _refuse_content(element: _Element) -> None:
    inside = list(_children(element))
    if len(inside) != 1 or _oid(inside[0]) != _DATA:
        raise Malformed("it is about a content of its own")


def _after_content(fields: Iterator[_Element]) -> tuple[tuple[bytes, ...], _Element]:
    certificates: tuple[bytes, ...] = ()
    signers: _Element | None = None
    for field in fields:
        if field.tag == _CONTEXT0:
            certificates = tuple(one.whole for one in _children(field) if one.tag == _SEQUENCE)
        elif field.tag == _SET:
            signers = field
    if signers is None or not 0 < len(certificates) <= _MOST_CERTIFICATES:
        raise Malformed("it has no signer, or no certificate")
    return certificates, _only(signers.content, _SEQUENCE)


def _signer(certificates: tuple[bytes, ...], info: _Element) -> Signature:
    fields = _children(info)
    _next(fields, _INTEGER)
    identifier = _children(_next(fields, _SEQUENCE))
    issuer, serial = _next(identifier, _SEQUENCE).whole, _next(identifier, _INTEGER)
    algorithm = _DIGESTS.get(_oid(_next(_children(_next(fields, _SEQUENCE)), _OID)))
    if algorithm is None:
        raise Malformed("its digest is none of SHA-256, SHA-384 and SHA-512")
    attributes = _next(fields, _CONTEXT0)  # without them a signature would be over the content itself
    _next(fields, _SEQUENCE)
    value = _next(fields, _OCTETS).content
    # Signed as the SET that they are, whatever tag they have in here (RFC 5652, 5.4).
    signed = bytes([_SET]) + attributes.whole[1:]
    number = int.from_bytes(serial.content, "big", signed=True)
    return Signature(certificates, issuer, number, algorithm, _digest(attributes), signed, value)


def _digest(attributes: _Element) -> bytes:
    found: dict[str, _Element] = {}
    for number, attribute in enumerate(_children(attributes)):
        fields = _children(attribute)
        name = _oid(_next(fields, _OID))
        if name in found or number >= _MOST_ATTRIBUTES:
            raise Malformed("it says something twice, or very much")
        found[name] = _next(fields, _SET)
    if _CONTENT_TYPE not in found or _oid(_only(found[_CONTENT_TYPE].content, _OID)) != _DATA:
        raise Malformed("it is not about data")
    if _MESSAGE_DIGEST not in found:
        raise Malformed("it has no digest")
    return _only(found[_MESSAGE_DIGEST].content, _OCTETS).content


def _next(elements: Iterator[_Element], tag: int) -> _Element:
    found = next(elements, None)
    if found is None or found.tag != tag:
        raise Malformed("an element is missing")
    return found


def _only(data: bytes, tag: int) -> _Element:
    found = list(_elements(data))
    if len(found) != 1 or found[0].tag != tag:
        raise Malformed("an element is missing, or is there twice")
    return found[0]


def _children(element: _Element) -> Iterator[_Element]:
    return _elements(element.content)


def _elements(data: bytes) -> Iterator[_Element]:
    """The elements one behind the other; lengths are in their shortest form (X.690, 10.1)."""
    start = 0
    while start < len(data):
        at, end = element(data, start, len(data))
        yield _Element(data[start], data[start:end], data[at:end])
        start = end


def _oid(element: _Element) -> str:
    """An object identifier as dotted numbers."""
    if element.tag != _OID or not element.content or element.content[-1] & 0x80 or len(element.content) > 64:
        raise Malformed("an identifier is malformed")
    numbers, value = [], 0
    for byte in element.content:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
