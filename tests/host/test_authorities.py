"""Which certificates a remote server is trusted by: a named file, or the system's, and never fewer checks."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from sandbox.bridge.trust import context
from sandbox.errors import SandboxNotBuilt
from sandbox.host import authorities

KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"
PEM = trustme.CA().cert_pem.bytes().decode()


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's, with comments in an old encoding."""
    path = tmp_path / "bundle.crt"
    path.write_bytes(b"# T\xfcrktrust\n" + PEM.encode() + b"\n# another\n" + PEM.encode())
    monkeypatch.setattr(authorities, "BUNDLES", (str(tmp_path / "none"), str(path)))
    return path


def test_the_systems_bundle(bundle: Path) -> None:
    found = authorities.read("", {})
    assert found.count("BEGIN CERTIFICATE") == 2
    assert context(found).cert_store_stats()["x509_ca"] == 1


def test_a_named_file_stands_in_its_place(bundle: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_text(PEM)
    assert authorities.read(str(own), {"SSL_CERT_FILE": str(bundle)}).count("BEGIN") == 1
    assert authorities.read("", {"SSL_CERT_FILE": str(own)}).count("BEGIN") == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(None, "No such file", id="not there"),
        pytest.param("", "no certificate", id="empty"),
        pytest.param(KEY, "no certificate", id="a key"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("variable", [False, True], ids=["ca", "SSL_CERT_FILE"])
def test_what_cannot_be_used_stops_the_start(
    content: str | None, why: str, variable: bool, bundle: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.pem"
    if content is not None:
        own.write_text(content)
    with pytest.raises(SandboxNotBuilt, match=why):
        authorities.read("" if variable else str(own), {"SSL_CERT_FILE": str(own)} if variable else {})


def test_a_machine_without_any(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(authorities, "_bundles", lambda: iter((str(tmp_path / "none"),)))
    with pytest.raises(SandboxNotBuilt, match="no bundle"):
        authorities.read("", {})
