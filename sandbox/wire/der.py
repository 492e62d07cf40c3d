"""The public key in a certificate's DER (X.690, RFC 5280 4.1): enough to tell one key from another (P)."""

from __future__ import annotations

LARGEST = 1 << 16
_SEQUENCE, _VERSION = 0x30, 0xA0
_BEFORE_THE_KEY = 5
"""serialNumber, signature, issuer, validity, subject."""


class Malformed(ValueError):
    """What was given is not the DER that belongs there."""


def public_key(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo, whole, as it stands in the certificate."""
    if len(certificate) > LARGEST:
        raise Malformed("a certificate of more than 64 KiB")
    whole = _content(certificate, 0, len(certificate), _SEQUENCE)
    at, end = _content(certificate, *whole, _SEQUENCE)
    if at < end and certificate[at] == _VERSION:
        at = element(certificate, at, end)[1]
    for _ in range(_BEFORE_THE_KEY):
        at = element(certificate, at, end)[1]
    if at >= end or certificate[at] != _SEQUENCE:
        raise Malformed("no public key where one belongs")
    return certificate[at : element(certificate, at, end)[1]]


def _content(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Where the content of the element at `at` begins and ends; its tag has to be `tag`."""
    if at >= end or data[at] != tag:
        raise Malformed("not the element that belongs there")
    return element(data, at, end)


def element(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Where the content of one element begins and ends, within `end`; lengths are in their shortest form."""
    if end - at < 2 or data[at] & 0x1F == 0x1F:
        raise Malformed("an element is cut off, or has a long tag")
    size, start = data[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        size = int.from_bytes(data[start : start + count], "big")
        if not 1 <= count <= 3 or size < 0x80 or size >> 8 * (count - 1) == 0:
            raise Malformed("a length is not in its shortest form")
        start += count
    if start + size > end:
        raise Malformed("an element is longer than what holds it")
    return start, start + size
