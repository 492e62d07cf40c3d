"""npm's list of packages, both ways: what is believed of it, what is refused, what a rebuild is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.records import replace
from sandbox.supply import npm_lock
from sandbox.supply.lock import Package
from sandbox.supply.shape import Unfit

SRI = "sha512-" + "A" * 86 + "=="


def _one(**more: object) -> dict[str, Any]:
    return {"version": "1.0.0", "resolved": "https://r.test/a/-/a-1.0.0.tgz", "integrity": SRI, **more}


def _text(**places: object) -> bytes:
    listed = {"": {"dependencies": {"a": "1.0.0"}}, **places}
    return json.dumps({"lockfileVersion": 3, "packages": listed}).encode()


def _read(place: str, **more: object) -> Package:
    (package,) = npm_lock.packages(_text(**{place: _one(**more)}))
    return package


def test_a_package_is_read_with_what_its_installer_needs() -> None:
    needs = {"dependencies": {"b": "^2"}, "bin": {"a": "a.js"}, "os": ["linux"], "optional": True}
    place = "node_modules/x/node_modules/@s/a"
    package = _read(place, **needs, license="MIT", hasInstallScript=True, funding={"url": "https://f.test"})
    assert (package.name, package.version, package.place) == ("@s/a", "1.0.0", place)
    assert (package.integrity, package.scripts) == ((SRI,), True)
    assert dict(package.rest) == {**needs, "license": "MIT"}


def test_an_alias_keeps_the_packages_own_name() -> None:
    assert _read("node_modules/short", name="@s/long-name").name == "@s/long-name"


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        pytest.param("https://u:p4ss@r.test/a.tgz", "https://r.test/a.tgz", id="a login"),
        pytest.param("https://r.test/a.tgz?token=t0ken", "https://r.test/a.tgz", id="a query"),
        pytest.param("https://r.test/a.tgz#t0ken", "https://r.test/a.tgz", id="a fragment"),
        pytest.param("https://[r.test/a.tgz", "", id="no address"),
        pytest.param("https://r.test/\x1b[2J.tgz", "", id="a control character"),
        pytest.param("", "", id="none at all"),
    ],
)
def test_no_secret_of_an_address_is_kept(address: str, kept: str) -> None:
    assert _read("node_modules/a", resolved=address).source == kept


@pytest.mark.parametrize(
    ("place", "more"),
    [
        pytest.param("node_modules/a", {"resolved": "git+ssh://git@h.test/a.git"}, id="from git"),
        pytest.param("node_modules/a", {"resolved": "file:../a"}, id="from a directory"),
        pytest.param("node_modules/a", {"link": True, "resolved": ""}, id="a link"),
        pytest.param("../a", {}, id="a place outside"),
        pytest.param("node_modules/../../a", {}, id="a place that climbs"),
        pytest.param("node_modules/a/b", {}, id="a place that is none"),
        pytest.param("/etc", {}, id="an absolute place"),
        pytest.param("node_modules/a", {"version": "1.0.0\n"}, id="a version with a line"),
        pytest.param("node_modules/a", {"version": None}, id="no version"),
        pytest.param("node_modules/a", {"name": "../b"}, id="an alias that climbs"),
        pytest.param("node_modules/a", {"bin": {"a": "\x1b[2J"}}, id="a control character"),
        pytest.param("node_modules/a", {"os": ["\ud800"]}, id="half a letter"),
        pytest.param("node_modules/a", {"bin": {"a": 1.5}}, id="a number"),
        pytest.param("node_modules/a", {"dependencies": {"a": {"b": {"c": {"d": {}}}}}}, id="too deep"),
        pytest.param("node_modules/a", {"bin": {"a": "b" * 2001}}, id="too long"),
    ],
)
def test_what_no_registry_gives_is_refused(place: str, more: dict[str, object]) -> None:
    with pytest.raises(Unfit) as refused:
        _read(place, **more)
    assert refused.value.what.isprintable()


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"packages": []}', b'{"packages": {"node_modules/a": 1}}', b"[" * 100_000]
)
def test_a_list_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(Unfit):
        npm_lock.packages(text)


def test_too_many_packages_are_refused() -> None:
    with pytest.raises(Unfit, match="more than"):
        npm_lock.packages(_text(**{f"node_modules/p{n}": _one() for n in range(npm_lock.MOST)}))


@pytest.mark.parametrize(
    ("integrity", "known"),
    [
        pytest.param(SRI, True, id="sha512"),
        pytest.param("sha1-" + "A" * 27 + "=", False, id="sha1 alone"),
        pytest.param("md5-" + "A" * 22 + "==", False, id="md5 alone"),
        pytest.param("sha512-short", False, id="not its length"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_only_a_hash_that_holds_vouches(integrity: str, known: bool) -> None:
    package = _read("node_modules/a", integrity=integrity)
    assert ([*npm_lock.without_integrity([package])] == []) is known


def test_what_is_bundled_is_vouched_for_by_the_archive_that_holds_it() -> None:
    inside = {"integrity": "", "resolved": "", "inBundle": True}
    held = _text(**{"node_modules/a": _one(), "node_modules/a/node_modules/b": _one(**inside)})
    assert [*npm_lock.without_integrity(npm_lock.packages(held))] == []
    loose = npm_lock.packages(_text(**{"node_modules/b": _one(**inside)}))
    assert [*npm_lock.without_integrity(loose)] == [*loose]


def test_a_rebuild_is_told_no_address_and_only_what_is_known() -> None:
    package = _read("node_modules/a", bin={"a": "a.js"}, hasInstallScript=True)
    hostile = replace(package, rest=(*package.rest, ("resolved", "https://evil.test/a.tgz"), ("link", True)))
    manifest, lock = npm_lock.project([hostile], ["a"])
    assert json.loads(manifest) == {"private": True, "dependencies": {"a": "1.0.0"}}
    entry = {"version": "1.0.0", "integrity": SRI, "hasInstallScript": True, "bin": {"a": "a.js"}}
    assert json.loads(lock)["packages"]["node_modules/a"] == entry


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"integrity": ()}, id="without a hash"),
        pytest.param({"place": "node_modules/../../x"}, id="elsewhere"),
        pytest.param({"version": "git+https://h.test/a"}, id="a version that is an address"),
        pytest.param({"place": "node_modules/b"}, id="not what was asked for"),
    ],
)
def test_a_lock_that_says_more_is_not_built(changed: dict[str, Any]) -> None:
    with pytest.raises(Unfit):
        npm_lock.project([replace(_read("node_modules/a"), **changed)], ["a"])


def test_deprecations_are_one_line_each() -> None:
    text = _text(**{"node_modules/a": _one(deprecated="old\n\x1b[2Jversion"), "node_modules/b": _one()})
    npm_lock.packages(text)
    (said,) = npm_lock.deprecated(text).values()
    assert (said.name, said.version, said.deprecated) == ("a", "1.0.0", "old[2Jversion")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(["version", "resolved", "integrity", "name", "bin", "link", "inBundle", "license"])


@given(st.dictionaries(KEYS, JSON, max_size=3), st.sampled_from(["node_modules/a", "node_modules/@s/b", "x"]))
def test_whatever_is_listed_is_read_or_refused(more: dict[str, object], place: str) -> None:
    try:
        found = npm_lock.packages(_text(**{place: {**_one(), **more}}))
    except Unfit:
        return
    shown = json.dumps([[each.name, each.version, each.source, each.place] for each in found])
    assert "\\u00" not in shown


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        npm_lock.packages(text)
    except Unfit:
        return
