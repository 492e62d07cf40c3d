"""What npm's cache says of packages, and what a hostile one can make of it: nothing but missing answers."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.supply import npm_cache
from sandbox.supply.npm_cache import origins
from sandbox.supply.resolved import Signature
from tests.supply.npm_cached import cached

URL = "https://r.test/a"


def _document(version: Mapping[str, Any], **more: object) -> bytes:
    return json.dumps({"name": "a", "versions": {"1.0.0": version}, **more}).encode()


WHOLE = {
    "_npmUser": {"name": "alice", "email": "alice@m.test"},
    "deprecated": "use b\x1b[2J",
    "dist": {
        "signatures": [{"keyid": "SHA256:k", "sig": "MEQ="}],
        "attestations": {"url": "https://r.test/-/npm/v1/attestations/a@1.0.0?t=x", "provenance": {}},
    },
}


def test_what_the_registry_says_of_a_version_is_read(tmp_path: Path) -> None:
    time = {"1.0.0": "2026-03-25T20:04:50.347000+00:00", "modified": "x"}
    cached(tmp_path, URL, _document(WHOLE, time=time))
    (origin,) = origins(str(tmp_path), {"a": ["1.0.0"]}).values()
    assert (origin.published, origin.publisher) == ("2026-03-25T20:04:50Z", "alice")
    assert origin.said.deprecated == "use b[2J"
    assert origin.said.signatures == (Signature("SHA256:k", "MEQ="),)
    assert origin.said.attestations == "https://r.test/-/npm/v1/attestations/a@1.0.0"


def test_a_trusted_publisher_is_named_with_the_one_who_sends(tmp_path: Path) -> None:
    user = {"name": "GitHub Actions", "trustedPublisher": {"id": "github"}}
    cached(tmp_path, URL, _document({"_npmUser": user}))
    (origin,) = origins(str(tmp_path), {"a": ["1.0.0"]}).values()
    assert origin.publisher == "GitHub Actions (github)"


def test_the_newest_document_counts_and_one_with_dates_before_it(tmp_path: Path) -> None:
    dates = {"time": {"1.0.0": "2026-01-01T00:00:00Z"}}
    cached(tmp_path, URL, _document({"deprecated": "old"}, **dates), time=1)
    cached(tmp_path, URL, _document({"deprecated": "dated"}, **dates), time=2)
    cached(tmp_path, URL, _document({"deprecated": "short"}), time=3)
    (origin,) = origins(str(tmp_path), {"a": ["1.0.0"]}).values()
    assert (origin.said.deprecated, origin.published) == ("dated", "2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        pytest.param("https://r.test/npm/@s%2fa", "@s/a", id="a scope, escaped"),
        pytest.param("https://r.test/@s/a", "@s/a", id="a scope"),
        pytest.param("https://r.test/a/-/a-1.0.0.tgz", "", id="an archive"),
        pytest.param("https://r.test/-/npm/v1/keys", "", id="the registry's keys"),
        pytest.param("https://[r.test/a", "", id="no address"),
    ],
)
def test_a_document_is_known_by_its_address(tmp_path: Path, url: str, name: str) -> None:
    cached(tmp_path, url, json.dumps({"name": name, "versions": {"1.0.0": {"x": 1}}}).encode())
    assert bool(origins(str(tmp_path), {"@s/a": ["1.0.0"], "keys": ["1.0.0"]})) is bool(name)


def test_a_document_of_another_package_says_nothing(tmp_path: Path) -> None:
    cached(tmp_path, URL, json.dumps({"name": "b", "versions": {"1.0.0": {"x": 1}}}).encode())
    assert origins(str(tmp_path), {"a": ["1.0.0"], "b": ["1.0.0"]}) == {}


def test_what_lies_outside_is_not_read(tmp_path: Path) -> None:
    """The control: the very same content in its place is."""
    content = cached(tmp_path / "cache", URL, _document({"x": 1}))
    assert origins(str(tmp_path / "cache"), {"a": ["1.0.0"]})
    (tmp_path / "secret").write_bytes(content.read_bytes())
    content.unlink()
    content.symlink_to(tmp_path / "secret")
    assert origins(str(tmp_path / "cache"), {"a": ["1.0.0"]}) == {}
    content.unlink()
    content.parent.rmdir()
    content.parent.symlink_to(tmp_path)
    (tmp_path / "secret").rename(tmp_path / content.name)
    assert origins(str(tmp_path / "cache"), {"a": ["1.0.0"]}) == {}


@pytest.mark.parametrize("bound", ["_DOCUMENT", "_DOCUMENTS"])
def test_what_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    cached(tmp_path, URL, _document({"x": 1}))
    monkeypatch.setattr(npm_cache, bound, 10)
    assert origins(str(tmp_path), {"a": ["1.0.0"]}) == {}


def test_without_a_cache_nothing_is_known(tmp_path: Path) -> None:
    assert origins(str(tmp_path / "gone"), {"a": ["1.0.0"]}) == {}


def test_what_was_taken_by_a_weak_hash_gets_a_strong_one(tmp_path: Path) -> None:
    archive = b"an archive"
    digest = hashlib.sha1(archive).digest()  # noqa: S324 - all that an old registry has
    weak = f"sha1-{base64.b64encode(digest).decode()}"
    assert npm_cache.strong(str(tmp_path), weak) == ""
    place = tmp_path / "_cacache/content-v2/sha1" / digest.hex()[:2] / digest.hex()[2:4] / digest.hex()[4:]
    place.parent.mkdir(parents=True)
    place.write_bytes(archive)
    strong = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    assert npm_cache.strong(str(tmp_path), weak) == f"sha512-{strong}"
    place.write_bytes(b"another")
    assert npm_cache.strong(str(tmp_path), weak) == ""


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(
    ["dist", "_npmUser", "deprecated", "signatures", "attestations", "keyid", "sig", "url"]
)
PARTS = st.dictionaries(KEYS, VALUES, max_size=3)


@given(st.dictionaries(KEYS, PARTS | VALUES | st.lists(PARTS, max_size=2), max_size=3))
def test_whatever_a_registry_says_is_read_as_far_as_it_is_something(version: dict[str, Any]) -> None:
    origin = npm_cache._origin({"versions": {"1.0.0": {**version, "x": 1}}}, "a", "1.0.0")
    assert origin is not None
    said = (origin.publisher, origin.said.deprecated, origin.said.attestations)
    assert all(text.isprintable() for text in said)
