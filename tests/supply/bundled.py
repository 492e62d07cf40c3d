"""Bundles as a stranger would write them: a zip file byte by byte, a manifest, a signature."""

from __future__ import annotations

import datetime
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
FILE, LINK, FIFO = 0o100644, 0o120777, 0o010644

# Answers `initialize` with its own words and variables, and what it could read.
SERVER = """import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "initialize":
        seen = {"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd()}
        try:
            seen["written"] = bool(open(__file__, "a"))
        except OSError as error:
            seen["written"] = error.strerror
        result = {"protocolVersion": asked["params"]["protocolVersion"], "capabilities": {},
                  "serverInfo": {"name": "bundled", "version": "1"}, "instructions": json.dumps(seen)}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


def manifest(**more: Any) -> dict[str, Any]:
    """One that starts `server/main.py` with python."""
    config = {"command": "python", "args": ["${__dirname}/server/main.py"]}
    found = {
        "manifest_version": "0.3",
        "name": "bundled",
        "version": "1.0.0",
        "description": "a test",
        "author": {"name": "nobody"},
        "server": {"type": "python", "entry_point": "server/main.py", "mcp_config": config},
    }
    return found | more


def started(command: str, *args: str, type: str = "python", **more: Any) -> dict[str, Any]:
    """The manifest's `server` with another command."""
    return {
        "type": type,
        "entry_point": "server/main.py",
        "mcp_config": {"command": command, "args": list(args), **more},
    }


def zipped(
    files: Mapping[str, str | bytes], *, mode: int = FILE, method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """The files in a zip."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, mode << 16
            entry.compress_type = method
            archive.writestr(entry, content)
    return made.getvalue()


def bundle(path: Path, said: Mapping[str, Any] | None = None, files: Mapping[str, str | bytes] = {}) -> Path:
    """A bundle with that manifest, and a server that tells what it sees."""
    whole = {"manifest.json": json.dumps(said or manifest()), "server/main.py": SERVER, **files}
    path.write_bytes(zipped(whole))
    return path


@dataclass
class Key:
    """Somebody who signs."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)


def key(name: str, issuer: Key | None = None, *, ca: bool = False, days: int = 30) -> Key:
    """A key and its certificate, by itself or by an issuer."""
    private = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by = issuer.certificate.subject if issuer else subject
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(by)
    builder = builder.public_key(private.public_key()).serial_number(x509.random_serial_number())
    # `days`: until when; a certificate that ended before NOW began long before that.
    builder = builder.not_valid_before(NOW - datetime.timedelta(days=1000))
    builder = builder.not_valid_after(NOW + datetime.timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
    builder = builder if ca else builder.add_extension(usage, critical=False)
    return Key(private, builder.sign((issuer.key if issuer else private), hashes.SHA256()))


def signature(content: bytes, by: Key, *more: Key) -> bytes:
    """A detached PKCS#7 signature of the content."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    builder = builder.add_signer(by.certificate, by.key, hashes.SHA256())
    for one in more:
        builder = builder.add_certificate(one.certificate)
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
    return builder.sign(serialization.Encoding.DER, options)


def block(der: bytes) -> bytes:
    """The signature as it stands behind a bundle."""
    return b"MCPB_SIG_V1" + len(der).to_bytes(4, "little") + der + b"MCPB_SIG_END"
