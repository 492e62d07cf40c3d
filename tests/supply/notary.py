"""A Sigstore of our own: an authority, a log of certificates, a log of signatures, and what they attest."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

WHEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
WORKFLOW = "https://github.com/acme/tool/.github/workflows/release.yml@refs/tags/v1"
GITHUB = "https://token.actions.githubusercontent.com"
IN_TOTO = "application/vnd.in-toto+json"
_FULCIO = "1.3.6.1.4.1.57264.1."
_SCTS = "1.3.6.1.4.1.11129.2.4.2"


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _sign(key: ec.EllipticCurvePrivateKey, content: bytes) -> bytes:
    return key.sign(content, ec.ECDSA(SHA256()))


def _id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_spki(key)).digest()


def _text(text: str) -> bytes:
    """A UTF8String in DER."""
    body = text.encode()
    return (b"\x0c" + (bytes([len(body)]) if len(body) < 128 else b"\x81" + bytes([len(body)]))) + body


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@dataclass
class Notary:
    """Whoever trusts `root()` believes what it signs."""

    authority: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    certificates: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    log: ec.EllipticCurvePrivateKey = field(default_factory=_key)

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "notary")])
        self._name = name
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self._ca = (
            self._builder(self.authority, name)
            .not_valid_after(WHEN + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(self._issuer(x509.SubjectKeyIdentifier), critical=False)
            .add_extension(usage, critical=True)
            .sign(self.authority, SHA256())
        )

    def _builder(self, key: ec.EllipticCurvePrivateKey, name: x509.Name) -> x509.CertificateBuilder:
        built = x509.CertificateBuilder().subject_name(name).issuer_name(self._name)
        return (
            built.public_key(key.public_key()).serial_number(7).not_valid_before(WHEN - timedelta(minutes=5))
        )

    def _issuer(self, kind: Any) -> Any:
        key = self.authority.public_key()
        named = kind is x509.SubjectKeyIdentifier
        return kind.from_public_key(key) if named else kind.from_issuer_public_key(key)

    def root(self) -> dict[str, Any]:
        """The trusted root, as the library reads one from a file."""

        def log(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
            public = {
                "rawBytes": _b64(_spki(key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": "2020-01-01T00:00:00Z"},
            }
            return {
                "baseUrl": "https://log.invalid",
                "hashAlgorithm": "SHA2_256",
                "publicKey": public,
                "logId": {"keyId": _b64(_id(key))},
            }

        chain = {"certificates": [{"rawBytes": _b64(self._ca.public_bytes(Encoding.DER))}]}
        authority = {
            "subject": {"organization": "notary", "commonName": "notary"},
            "uri": "https://ca.invalid",
            "certChain": chain,
            "validFor": {"start": "2020-01-01T00:00:00Z"},
        }
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.log)],
            "certificateAuthorities": [authority],
            "ctlogs": [log(self.certificates)],
            "timestampAuthorities": [],
        }

    def _certificate(self, key: ec.EllipticCurvePrivateKey, workflow: str, issuer: str) -> x509.Certificate:
        """For a workflow, recorded by the log of certificates (RFC 6962, 3.2)."""
        uri = workflow.partition("/.github/")[0]
        claims = {8: issuer, 12: uri, 14: workflow.partition("@")[2], 18: workflow}
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        built = (
            self._builder(key, x509.Name([]))
            .not_valid_after(WHEN + timedelta(minutes=5))
            .add_extension(self._issuer(x509.AuthorityKeyIdentifier), critical=False)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(workflow)]), critical=True
            )
        )
        for number, text in claims.items():
            oid = x509.ObjectIdentifier(f"{_FULCIO}{number}")
            built = built.add_extension(x509.UnrecognizedExtension(oid, _text(text)), critical=False)
        before = built.sign(self.authority, SHA256()).tbs_certificate_bytes
        time = struct.pack(">Q", int(WHEN.timestamp() * 1000))
        entry = hashlib.sha256(_spki(self.authority)).digest() + len(before).to_bytes(3, "big") + before
        signature = _sign(self.certificates, b"\0\0" + time + b"\0\1" + entry + b"\0\0")
        sct = b"\0" + _id(self.certificates) + time + b"\0\0" + b"\4\3"
        sct += struct.pack(">H", len(signature)) + signature
        listed = struct.pack(">HH", len(sct) + 2, len(sct)) + sct
        octets = b"\x04" + (bytes([len(listed)]) if len(listed) < 128 else b"\x81" + bytes([len(listed)]))
        scts = x509.UnrecognizedExtension(x509.ObjectIdentifier(_SCTS), octets + listed)
        return built.add_extension(scts, critical=False).sign(self.authority, SHA256())

    def bundle(
        self, statement: bytes, *, workflow: str = WORKFLOW, issuer: str = GITHUB, kind: str = IN_TOTO
    ) -> dict[str, Any]:
        """A statement, signed by a workflow and recorded in a log of one entry (DSSE, Rekor 0.0.1)."""
        key = _key()
        certificate = self._certificate(key, workflow, issuer)
        framed = f"DSSEv1 {len(kind)} {kind} {len(statement)} ".encode() + statement
        signature = _sign(key, framed)
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": _b64(certificate.public_bytes(Encoding.DER))},
                "tlogEntries": [self._entry(statement, signature, certificate)],
            },
            "dsseEnvelope": {
                "payload": _b64(statement),
                "payloadType": kind,
                "signatures": [{"sig": _b64(signature)}],
            },
        }

    def _entry(self, statement: bytes, signature: bytes, certificate: x509.Certificate) -> dict[str, Any]:
        def digest(content: bytes) -> dict[str, str]:
            return {"algorithm": "sha256", "value": hashlib.sha256(content).hexdigest()}

        pem = _b64(certificate.public_bytes(Encoding.PEM))
        spec = {
            "envelopeHash": digest(b"envelope"),
            "payloadHash": digest(statement),
            "signatures": [{"signature": _b64(signature), "verifier": pem}],
        }
        body = _canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        at = int(WHEN.timestamp())
        promise = {"body": _b64(body), "integratedTime": at, "logID": _id(self.log).hex(), "logIndex": 0}
        top = hashlib.sha256(b"\0" + body).digest()
        note = f"log.invalid\n1\n{_b64(top)}\n"
        line = _b64(_id(self.log)[:4] + _sign(self.log, note.encode()))
        proof = {
            "checkpoint": {"envelope": f"{note}\n\N{EM DASH} log.invalid {line}\n"},
            "hashes": [],
            "logIndex": "0",
            "rootHash": _b64(top),
            "treeSize": "1",
        }
        return {
            "logIndex": "0",
            "logId": {"keyId": _b64(_id(self.log))},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(at),
            "inclusionPromise": {"signedEntryTimestamp": _b64(_sign(self.log, _canonical(promise)))},
            "inclusionProof": proof,
            "canonicalizedBody": _b64(body),
        }


def statement(kind: str, *subjects: tuple[str, dict[str, str]]) -> bytes:
    """An in-toto statement about what `subjects` name."""
    about = [{"name": name, "digest": digest} for name, digest in subjects]
    named = {"_type": "https://in-toto.io/Statement/v1", "predicateType": kind, "predicate": None}
    return json.dumps({**named, "subject": about}).encode()


def of_pypi(bundle: dict[str, Any], *, repository: str = "acme/tool") -> bytes:
    """The same bundle as a provenance object of PyPI's (PEP 740)."""
    material, envelope = bundle["verificationMaterial"], bundle["dsseEnvelope"]
    attestation = {
        "version": 1,
        "envelope": {"statement": envelope["payload"], "signature": envelope["signatures"][0]["sig"]},
        "verification_material": {
            "certificate": material["certificate"]["rawBytes"],
            "transparency_entries": material["tlogEntries"],
        },
    }
    publisher = {"kind": "GitHub", "repository": repository, "workflow": "release.yml", "environment": None}
    listed = [{"publisher": publisher, "attestations": [attestation]}]
    return json.dumps({"version": 1, "attestation_bundles": listed}).encode()
