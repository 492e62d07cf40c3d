"""A certificate authority, and an issuer on the loopback with its keys and metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.serve.oauth.issuer import Documents, jwks, private, public_jwk, serving


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> str:
    """The file of the authority's certificate."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def site(authority: trustme.CA) -> Iterator[Documents]:
    """An issuer: `site.url`; its metadata and keys are there and may be changed."""
    with serving(authority.issue_cert("127.0.0.1")) as documents:
        metadata = {"issuer": documents.url, "jwks_uri": f"{documents.url}/keys"}
        documents.found["/.well-known/oauth-authorization-server"] = json.dumps(metadata).encode()
        documents.found["/keys"] = jwks(public_jwk("ES256", private("P-256"), kid="ES256"))
        yield documents
