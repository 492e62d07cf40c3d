"""The certificates by which this host trusts a TLS server, as text: inside, no file of them is read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from sandbox.errors import SandboxNotBuilt

LARGEST = 8 << 20
# What the distributions call their bundle, and what OpenSSL and curl read in its place where it is set.
VARIABLE = "SSL_CERT_FILE"
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_BLOCK = re.compile(
    r"-----BEGIN (?:TRUSTED )?CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END (?:TRUSTED )?CERTIFICATE-----"
)


def read(ca: str, environ: Mapping[str, str]) -> str:
    """The certificates of the file `ca`, or where none is named the system's; never fewer checks for none."""
    if ca:
        return _certificates(ca, "server.ca")
    own = environ.get(VARIABLE, "")
    if own:
        return _certificates(own, VARIABLE)
    for path in _bundles():
        if os.path.exists(path):
            return _certificates(path, "the system's trust")
    raise SandboxNotBuilt(
        "no-trust",
        "this machine has no bundle of trusted certificates: no TLS server could be told from another",
        hint=f"install `ca-certificates`, or set `{VARIABLE}` or `[server] ca` to a bundle",
    )


def _bundles() -> Iterator[str]:
    yield from BUNDLES
    import ssl  # where none of the usual ones is there

    yield ssl.get_default_verify_paths().openssl_cafile


def _certificates(path: str, rule: str) -> str:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            text = file.read(LARGEST + 1).decode("utf-8", "replace")
    except OSError as error:
        raise _unusable(path, error.strerror or str(error), rule) from error
    found = _BLOCK.findall(text)  # a bundle's comments may be in any encoding
    if len(text) > LARGEST or not found:
        raise _unusable(path, "it holds no certificate in PEM" if not found else "it is too large", rule)
    return "\n".join(found)


def _unusable(path: str, why: str, rule: str) -> SandboxNotBuilt:
    what = f"the certificates in `{path}` cannot be used: {why}"
    return SandboxNotBuilt("no-trust", what, rule=rule, hint=f"openssl x509 -noout -subject -in {path}")
