"""The public key of a certificate, as another reader of certificates finds it."""

from __future__ import annotations

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.wire.der import LARGEST, Malformed, public_key

AUTHORITY = trustme.CA()
KINDS = (trustme.KeyType.ECDSA, trustme.KeyType.RSA)
LEAVES = [AUTHORITY.issue_cert("a.example", "*.b.example", "127.0.0.1", key_type=kind) for kind in KINDS]


def certificate(leaf: trustme.LeafCert) -> x509.Certificate:
    return x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())


@pytest.mark.parametrize("leaf", LEAVES, ids=["ECDSA", "RSA"])
def test_the_key_is_found(leaf: trustme.LeafCert) -> None:
    read = certificate(leaf)
    expected = read.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert public_key(read.public_bytes(Encoding.DER)) == expected


GOOD = certificate(LEAVES[0]).public_bytes(Encoding.DER)


@pytest.mark.parametrize("end", range(0, len(GOOD), 7))
def test_what_is_cut_off_is_malformed(end: int) -> None:
    with pytest.raises(Malformed):
        public_key(GOOD[:end])


@given(st.binary(max_size=300))
@example(b"\x30\x80" + bytes(20))
@example(b"\x30\x84\xff\xff\xff\xff")
@example(b"\x30\x82\x00\x10" + bytes(16))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    try:
        assert public_key(data) in data
    except Malformed:
        pass


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_an_altered_certificate_gives_a_part_of_itself_or_nothing(at: int, byte: int) -> None:
    altered = GOOD[:at] + bytes([byte]) + GOOD[at + 1 :]
    try:
        assert public_key(altered) in altered
    except Malformed:
        pass


def test_a_large_one_is_refused() -> None:
    with pytest.raises(Malformed, match="64 KiB"):
        public_key(bytes(LARGEST + 1))
