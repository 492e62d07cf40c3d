"""What a record says of one version, by npm's and PyPI's own order of versions."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.supply import osv, semver

# Each below the next (semver.org, section 11, and its own example).
ORDERED = (
    "0.0.1 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 "
    "1.0.1-0 1.0.1 1.2.0 1.10.0 2.0.0-1 2.0.0-a 2.0.0 10.0.0"
).split()


@pytest.mark.parametrize(("low", "high"), list(itertools.pairwise(ORDERED)))
def test_versions_of_npm_are_in_their_order(low: str, high: str) -> None:
    below, above = semver.rank(low), semver.rank(high)
    assert below is not None
    assert above is not None
    assert below < above


def test_build_metadata_has_no_say_in_the_order() -> None:
    assert semver.rank("1.0.0+a") == semver.rank("1.0.0+b") == semver.rank("v1.0.0")


@pytest.mark.parametrize(
    "text", ["", "latest", "1.x", "1.2.3.4", "1.0.0-", "\u0661.0.0", "1.0.0 -x", "9" * 99]
)
def test_what_is_no_version_has_no_rank(text: str) -> None:
    assert semver.rank(text) is None


def _record(*events: dict[str, str], versions: list[str] | None = None, **more: Any) -> dict[str, Any]:
    ecosystem = more.pop("ecosystem", "npm")
    ranges = [{"type": more.pop("type", "SEMVER"), "events": list(events)}] if events else []
    affected = {"package": {"ecosystem": ecosystem, "name": more.pop("name", "pkg")}, "ranges": ranges}
    if versions is not None:
        affected["versions"] = versions
    return {"id": "GHSA-1", "affected": [affected], **more}


ALL = {"introduced": "0"}
ONE = {"introduced": "1.0.0"}


@pytest.mark.parametrize(
    ("record", "version", "about"),
    [
        pytest.param(_record(ALL), "0.0.0-a", True, id="all, a pre-release too"),
        pytest.param(_record(ALL, {"fixed": "1.2.0"}), "1.1.9", True, id="before the fix"),
        pytest.param(_record(ALL, {"fixed": "1.2.0"}), "1.2.0-rc.1", True, id="a candidate of the fix"),
        pytest.param(_record(ALL, {"fixed": "1.2.0"}), "1.2.0", False, id="the fix"),
        pytest.param(_record(ONE), "0.9.9", False, id="before it came"),
        pytest.param(_record(ONE), "1.0.0", True, id="where it came"),
        pytest.param(_record(ALL, {"last_affected": "2.0.0"}), "2.0.0", True, id="the last"),
        pytest.param(_record(ALL, {"last_affected": "2.0.0"}), "2.0.1", False, id="behind the last"),
        pytest.param(
            _record({"fixed": "3.1.0"}, {"introduced": "3.0.0"}, ALL, {"fixed": "1.0.0"}),
            "3.0.5",
            True,
            id="events in any order, the second stretch",
        ),
        pytest.param(
            _record({"fixed": "3.1.0"}, {"introduced": "3.0.0"}, ALL, {"fixed": "1.0.0"}),
            "2.0.0",
            False,
            id="between the stretches",
        ),
        pytest.param(_record({"introduced": "1.0.0"}, {"fixed": "1.0.0"}), "1.0.0", True, id="both at once"),
        pytest.param(_record(ALL, {"limit": "2.0.0"}), "2.0.0", False, id="at the limit"),
        pytest.param(_record(ALL, {"limit": "*"}), "9.0.0", True, id="no limit"),
        pytest.param(_record(versions=["1.0.0"]), "1.0.0", True, id="listed"),
        pytest.param(_record(versions=["1.0.0"]), "1.0.1", False, id="not listed"),
        pytest.param(_record(), "1.0.0", True, id="no version said means each"),
        pytest.param(_record(ALL, type="GIT"), "1.0.0", False, id="commits say nothing of versions"),
        pytest.param(_record({"introduced": "x.y"}), "1.0.0", True, id="a range that nobody can read holds"),
        pytest.param(_record(ALL), "not-a-version", True, id="a version that nobody can read is held"),
        pytest.param(_record(ALL, withdrawn="2026-01-01T00:00:00Z"), "1.0.0", False, id="withdrawn"),
        pytest.param(_record(ALL, name="other"), "1.0.0", False, id="another package"),
        pytest.param(_record(ALL, ecosystem="PyPI"), "1.0.0", False, id="another ecosystem"),
        pytest.param(_record(ALL, ecosystem="npm:mirror"), "1.0.0", True, id="an ecosystem with a suffix"),
    ],
)
def test_a_record_is_about_a_version_of_npm_or_not(
    record: dict[str, Any], version: str, *, about: bool
) -> None:
    assert (osv.affecting(record, "npm", "pkg", version) is not None) is about


@pytest.mark.parametrize(
    ("record", "version", "about"),
    [
        pytest.param(_record(ALL, {"fixed": "1.10"}), "1.9", True, id="1.9 is below 1.10"),
        pytest.param(_record(ALL, {"fixed": "1.10"}), "1.10.0", False, id="1.10 is 1.10.0"),
        pytest.param(_record(ALL, {"fixed": "1.10"}), "1.10rc1", True, id="a candidate"),
        pytest.param(_record(ALL, {"fixed": "1.10"}), "1.10.post1", False, id="a post-release"),
        pytest.param(_record(ALL, {"fixed": "1!1.0"}), "2026.1", True, id="epochs"),
        pytest.param(_record(versions=["1.0"]), "1.0.0", True, id="another spelling of a listed one"),
    ],
)
def test_a_record_is_about_a_version_of_pypi_or_not(
    record: dict[str, Any], version: str, *, about: bool
) -> None:
    affected = record["affected"][0]
    affected["package"] = {"ecosystem": "PyPI", "name": "My_Pkg"}
    for one in affected["ranges"]:
        one["type"] = "ECOSYSTEM"
    assert (osv.affecting(record, "pypi", "my-pkg", version) is not None) is about


def test_an_advisory_says_what_it_is_and_where_it_is_mended() -> None:
    record = _record(ALL, {"fixed": "1.2.0"}, aliases=["CVE-2026-1"], summary="bad\x1b[2J thing\nmore")
    found = osv.affecting(record | {"database_specific": {"severity": "HIGH"}}, "npm", "pkg", "1.0.0")
    assert found == osv.Advisory("GHSA-1", ("CVE-2026-1",), "bad�[2J thing", False, "high", "1.2.0")


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(_record(ALL) | {"id": "MAL-2026-1"}, id="by its id"),
        pytest.param(_record(ALL, aliases=["MAL-2026-1"]), id="by another id"),
        pytest.param(_record(ALL, database_specific={"malicious-packages-origins": []}), id="by its origin"),
    ],
)
def test_malware_is_told_from_mistakes(record: dict[str, Any]) -> None:
    found = osv.affecting(record, "npm", "pkg", "1.0.0")
    assert found is not None
    assert found.malicious


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["0", "1.0.0", "*"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("affected package ecosystem name ranges type events introduced fixed id".split()),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["affected", "aliases", "id", "withdrawn", "summary"]), _JSON))
def test_any_record_gives_an_answer(record: dict[str, Any]) -> None:
    osv.named(record)
    osv.affecting(record, "npm", "pkg", "1.0.0")
    osv.affecting(record, "pypi", "pkg", "1.0.0")


_VERSION = st.builds(
    lambda a, b, c, d: f"{a}.{b}.{c}{d}",
    *(st.integers(0, 3) for _ in range(3)),
    st.sampled_from(["", "-a", "-a.1", "-1", "-rc.2"]),
)


@given(_VERSION, _VERSION, _VERSION)
def test_a_range_holds_what_lies_between_its_ends(low: str, high: str, version: str) -> None:
    first, last, at = semver.rank(low), semver.rank(high), semver.rank(version)
    assert first is not None
    assert last is not None
    assert at is not None
    found = osv.affecting(_record({"introduced": low}, {"fixed": high}), "npm", "pkg", version)
    assert (found is not None) is ((first <= at < last) or (first >= last and at >= first))
