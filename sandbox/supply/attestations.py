"""Attestations of where a package was built: Sigstore bundles of npm, provenance objects of PyPI (PEP 740).

The ecosystems' own libraries verify them, against the root that Sigstore gave them when they were released;
the extra `provenance` has them. Nothing here reaches the network.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from typing import Any
from urllib.parse import quote

from sandbox.supply.lock import Package
from sandbox.supply.osv import Ecosystem, plain
from sandbox.supply.spec import normal

EXTRA = "`pip install 'mcp-sandbox[provenance]'` brings what verifies it"
_MOST = 20
_IN_TOTO = "application/vnd.in-toto+json"
_SLSA = "https://slsa.dev/provenance/"
_ISSUERS = ("https://token.actions.githubusercontent.com", "https://gitlab.com", "https://oidc.circleci.com")
"""Who says for npm which workflow asked for the certificate."""


class NotHeldError(ValueError):
    """An attestation that does not prove what it says, and why."""


class NotCheckedError(Exception):
    """What nothing can be said about, and why."""


def proven(package: Package, ecosystem: Ecosystem, document: bytes) -> tuple[str, ...]:
    """What the registry's document proves of a package, in words; NotHeldError where one does not hold."""
    try:
        from sigstore.errors import Error
    except ImportError as error:
        raise NotCheckedError(EXTRA) from error
    # Without a handler its warnings, such as that it stays offline, would reach the terminal.
    logging.getLogger("sigstore").addHandler(logging.NullHandler())
    try:
        return _of_npm(package, document) if ecosystem == "npm" else _of_pypi(package, document)
    except NotHeldError:
        raise
    except (Error, ValueError, TypeError, KeyError, LookupError, AttributeError, RecursionError) as error:
        raise NotHeldError(plain(str(error), 200) or type(error).__name__) from None
    except OSError as error:  # it keeps its root in the cache directory
        raise NotCheckedError(f"the root of trust cannot be read: {error.strerror}") from None


# --- npm -------------------------------------------------------------------------------------------


def _of_npm(package: Package, document: bytes) -> tuple[str, ...]:
    from sigstore.models import Bundle
    from sigstore.verify import Verifier, policy

    found = [one for one in json.loads(document)["attestations"][:_MOST] if _is_slsa(one)]
    if not found:
        return ()
    kinds = (policy.OIDCIssuer, policy.OIDCIssuerV2)
    anyone = policy.AnyOf([kind(issuer) for kind in kinds for issuer in _ISSUERS])
    verifier = Verifier.production(offline=True)
    words = []
    for one in found:
        bundle = Bundle.from_json(json.dumps(one["bundle"]))
        kind, payload = verifier.verify_dsse(bundle, anyone)
        if kind != _IN_TOTO:
            raise NotHeldError(f"what was signed is of the kind `{plain(kind, 100)}`")
        _about(package, json.loads(payload))
        words.append(f"built by {_identity(bundle)} (provenance, SLSA)")
    return tuple(dict.fromkeys(words))


def _is_slsa(one: Any) -> bool:
    """The other kind, about who published it, is the registry's own signature once more."""
    return isinstance(one, dict) and str(one.get("predicateType", "")).startswith(_SLSA)


def _about(package: Package, statement: Any) -> None:
    """The statement is about this very archive, and says what kind it is as its envelope did."""
    if not str(statement["predicateType"]).startswith(_SLSA):
        raise NotHeldError("what was signed is no provenance")
    purl = f"pkg:npm/{quote(package.name, safe='/')}@{quote(package.version, safe='')}"
    digests = {_hex(one) for one in package.integrity if one.startswith("sha512-")}
    for subject in statement["subject"][:_MOST]:
        if subject["name"] == purl and subject["digest"].get("sha512") in digests:
            return
    raise NotHeldError(f"what was signed is about another package than {package.name}@{package.version}")


def _hex(integrity: str) -> str:
    try:
        return base64.b64decode(integrity.partition("-")[2], validate=True).hex()
    except binascii.Error as error:
        raise NotHeldError(f"an integrity is no Base64: {error}") from None


# --- PyPI ------------------------------------------------------------------------------------------


def _of_pypi(package: Package, document: bytes) -> tuple[str, ...]:
    from pypi_attestations import AttestationError, Distribution, Provenance

    words = []
    for each in Provenance.model_validate_json(document).attestation_bundles[:_MOST]:
        for one in each.attestations[:_MOST]:
            name, digest = _subject(one.envelope.statement)
            if not _is_file_of(package, name, digest):
                raise NotHeldError(f"what was signed is about another file: `{plain(name, 100)}`")
            try:
                one.verify(each.publisher, Distribution(name=name, digest=digest), offline=True)
            except AttestationError as error:
                raise NotHeldError(plain(str(error), 200)) from None
            words.append(f"published by {_identity(one.to_bundle())} (attestation, PEP 740)")
    return tuple(dict.fromkeys(words))


def _subject(statement: bytes) -> tuple[str, str]:
    """The file that a statement is about; it is verified after."""
    first = json.loads(statement)["subject"][0]
    name, digest = first["name"], first["digest"]["sha256"]
    if not isinstance(name, str) or not isinstance(digest, str):
        raise NotHeldError("what was signed names no file")
    return name, digest


def _is_file_of(package: Package, file: str, digest: str) -> bool:
    from packaging.utils import parse_sdist_filename, parse_wheel_filename
    from packaging.version import Version

    parsed = parse_wheel_filename(file)[:2] if file.endswith(".whl") else parse_sdist_filename(file)
    own = (normal(package.name), Version(package.version))
    return (normal(parsed[0]), parsed[1]) == own and f"sha256:{digest}" in package.integrity


def _identity(bundle: Any) -> str:
    """Whose certificate it was: a workflow at its revision, or an account."""
    from cryptography.x509 import RFC822Name, SubjectAlternativeName, UniformResourceIdentifier

    names = bundle.signing_certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    for kind in (UniformResourceIdentifier, RFC822Name):
        for name in names.get_values_for_type(kind):
            return plain(name, 300)
    raise NotHeldError("its certificate names nobody")
