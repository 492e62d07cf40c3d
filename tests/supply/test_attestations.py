"""Attestations that hold, and each way not to: the ecosystems' libraries verify them against our own root."""

from __future__ import annotations

import base64
import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sigstore.models import TrustedRoot
from sigstore.verify import Verifier

from sandbox.policy.model import Supply
from sandbox.supply import public
from sandbox.supply.attestations import NotCheckedError, NotHeldError, proven
from sandbox.supply.judged import Known, judge
from sandbox.supply.lock import Package
from sandbox.supply.provenance import Evidence
from sandbox.supply.resolved import Resolution, Said
from tests.supply.notary import WORKFLOW, Notary, of_pypi, statement

DIGEST = bytes(range(64))
NPM = Package("@acme/tool", "1.0.0", (f"sha512-{base64.b64encode(DIGEST).decode()}",))
PYPI = Package("acme-tool", "1.0", (f"sha256:{'ab' * 32}", f"sha256:{'cd' * 32}"))
SLSA = "https://slsa.dev/provenance/v1"
PUBLISH = f"https://docs.{public.PYPI}/attestations/publish/v1"
PURL = "pkg:npm/%40acme/tool@1.0.0"
WHEEL = "acme_tool-1.0-py3-none-any.whl"
BUILT = (f"built by {WORKFLOW} (provenance, SLSA)",)
PUBLISHED = (f"published by {WORKFLOW} (attestation, PEP 740)",)

NOTARY, STRANGER = Notary(), Notary()


@pytest.fixture(autouse=True)
def _our_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Our notary in the place of the public one."""
    path = tmp_path / "root.json"
    path.write_text(json.dumps(NOTARY.root()))
    verifier = Verifier(trusted_root=TrustedRoot.from_file(str(path)))
    monkeypatch.setattr(Verifier, "production", lambda *, offline: verifier if offline else None)


def about(name: str = PURL, digest: bytes = DIGEST, kind: str = SLSA, algorithm: str = "sha512") -> bytes:
    return statement(kind, (name, {algorithm: digest.hex()}))


def of_npm(bundle: dict[str, Any], kind: str = SLSA) -> bytes:
    """As the registry serves it: what it says of a bundle, beside one that is its own signature once more."""
    own = {"predicateType": "https://github.com/npm/attestation/tree/main/specs/publish/v0.1", "bundle": {}}
    return json.dumps({"attestations": [own, {"predicateType": kind, "bundle": bundle}]}).encode()


def file(name: str = WHEEL, digest: str = "ab" * 32) -> bytes:
    return statement(PUBLISH, (name, {"sha256": digest}))


def test_a_bundle_of_npm_proves_which_workflow_built_it() -> None:
    assert proven(NPM, "npm", of_npm(NOTARY.bundle(about()))) == BUILT


def test_a_provenance_object_of_pypi_proves_who_published_it() -> None:
    assert proven(PYPI, "pypi", of_pypi(NOTARY.bundle(file()))) == PUBLISHED
    source = file("acme_tool-1.0.tar.gz", "cd" * 32)
    assert proven(PYPI, "pypi", of_pypi(NOTARY.bundle(source))) == PUBLISHED


def test_the_registrys_own_word_about_a_publisher_proves_nothing() -> None:
    only = json.loads(of_npm({}))["attestations"][:1]
    assert proven(NPM, "npm", json.dumps({"attestations": only}).encode()) == ()


Change = Callable[[dict[str, Any]], None]


def _payload(bundle: dict[str, Any]) -> None:
    other = about(digest=b"x" * 64)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(other).decode()


def _signature(bundle: dict[str, Any]) -> None:
    other = NOTARY.bundle(about(digest=b"x" * 64))
    bundle["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"]


def _certificate(bundle: dict[str, Any]) -> None:
    other = NOTARY.bundle(about())["verificationMaterial"]["certificate"]
    bundle["verificationMaterial"]["certificate"] = other


def _entry(bundle: dict[str, Any]) -> dict[str, Any]:
    found = bundle["verificationMaterial"]["tlogEntries"][0]
    assert isinstance(found, dict)
    return found


def _time(bundle: dict[str, Any]) -> None:
    _entry(bundle)["integratedTime"] = "1700000000"


def _log(bundle: dict[str, Any]) -> None:
    other = _entry(STRANGER.bundle(about()))
    bundle["verificationMaterial"]["tlogEntries"] = [other]


def _no_log(bundle: dict[str, Any]) -> None:
    bundle["verificationMaterial"]["tlogEntries"] = []


@pytest.mark.parametrize("change", [_payload, _signature, _certificate, _time, _log, _no_log])
def test_a_bundle_of_which_one_part_is_anothers_does_not_hold(change: Change) -> None:
    bundle = NOTARY.bundle(about())
    assert proven(NPM, "npm", of_npm(bundle)) == BUILT
    changed = copy.deepcopy(bundle)
    change(changed)
    with pytest.raises(NotHeldError):
        proven(NPM, "npm", of_npm(changed))


@pytest.mark.parametrize(
    "bundle",
    [
        pytest.param(STRANGER.bundle(about()), id="of a root that nobody trusts"),
        pytest.param(NOTARY.bundle(about("pkg:npm/other@1.0.0")), id="about another package"),
        pytest.param(NOTARY.bundle(about("pkg:npm/%40acme/tool@2.0.0")), id="about another version"),
        pytest.param(NOTARY.bundle(about(digest=b"x" * 64)), id="about another archive"),
        pytest.param(NOTARY.bundle(about(algorithm="sha256")), id="about another kind of digest"),
        pytest.param(NOTARY.bundle(about(kind="https://example/vsa")), id="a statement of another kind"),
        pytest.param(NOTARY.bundle(about(), kind="text/plain"), id="no statement"),
        pytest.param(NOTARY.bundle(about(), issuer="https://accounts.google.com"), id="a person's account"),
        pytest.param(NOTARY.bundle(b"[]"), id="an empty list"),
        pytest.param({}, id="nothing"),
        pytest.param(None, id="null"),
    ],
)
def test_a_bundle_of_npm_that_proves_something_else_does_not_hold(bundle: Any) -> None:
    with pytest.raises(NotHeldError):
        proven(NPM, "npm", of_npm(bundle))


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(of_pypi(STRANGER.bundle(file())), id="of a root that nobody trusts"),
        pytest.param(of_pypi(NOTARY.bundle(file()), repository="acme/other"), id="of another repository"),
        pytest.param(of_pypi(NOTARY.bundle(file("other-1.0-py3-none-any.whl"))), id="about another package"),
        pytest.param(of_pypi(NOTARY.bundle(file("acme_tool-2.0.tar.gz"))), id="about another version"),
        pytest.param(of_pypi(NOTARY.bundle(file(digest="ef" * 32))), id="about another file"),
        pytest.param(of_pypi(NOTARY.bundle(file("no-file"))), id="about no file"),
        pytest.param(of_pypi(NOTARY.bundle(about(WHEEL, DIGEST))), id="another kind of digest"),
        pytest.param(b"{}", id="nothing"),
        pytest.param(b"[" * 100_000, id="nested deeper than anything"),
        pytest.param(b"\xff", id="no text"),
    ],
)
def test_a_provenance_object_that_proves_something_else_does_not_hold(document: bytes) -> None:
    with pytest.raises(NotHeldError):
        proven(PYPI, "pypi", document)


def test_what_holds_is_kept_for_the_lock_and_what_does_not_is_refused() -> None:
    place = "https://r.example/attestations"
    resolution = Resolution((NPM,), (Said(NPM.name, NPM.version, attestations=place),))
    policy = Supply(age=0, advisories="off", provenance="require")

    def found(document: bytes) -> Any:
        return judge(resolution, "npm", policy, Known(0.0, evidence=Evidence({place: document})))

    held = found(of_npm(NOTARY.bundle(about())))
    assert (held.findings, held.unchecked) == ((), ())
    assert held.origin(NPM.name, NPM.version) == BUILT
    forged = found(of_npm(STRANGER.bundle(about())))
    assert [(one.rule, one.strength) for one in forged.findings] == [("attestation", "refuse")]


def test_without_the_libraries_nothing_is_proven_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sigstore.errors", None)
    with pytest.raises(NotCheckedError, match="provenance"):
        proven(NPM, "npm", of_npm(NOTARY.bundle(about())))


def test_a_root_that_cannot_be_kept_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*, offline: bool) -> Verifier:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Verifier, "production", denied)
    with pytest.raises(NotCheckedError, match="Permission denied"):
        proven(NPM, "npm", of_npm(NOTARY.bundle(about())))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([SLSA, PURL]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "attestations attestation_bundles predicateType bundle publisher version envelope".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_JSON | st.binary(max_size=30).map(lambda drawn: drawn.hex()), st.sampled_from([NPM, PYPI]))
def test_nothing_that_is_drawn_proves_anything(document: Any, package: Package) -> None:
    try:
        words = proven(package, "npm" if package is NPM else "pypi", json.dumps(document).encode())
    except NotHeldError:
        return
    assert words == ()
