"""Which ranges a locked version is plainly outside of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.supply.ranges import npm_allows, pypi_allows


@pytest.mark.parametrize(
    ("selector", "version", "allowed"),
    [
        pytest.param("latest", "1.2.3", True, id="a tag"),
        pytest.param("", "1.2.3", True, id="nothing"),
        pytest.param("*", "1.2.3", True, id="any"),
        pytest.param("^1.2.0", "1.9.0", True, id="caret"),
        pytest.param("^1.2.0", "2.0.0", False, id="caret, the next"),
        pytest.param("^0.2.3", "0.3.0", False, id="caret before 1"),
        pytest.param("^0.2.3", "0.2.9", True, id="caret before 1, the same"),
        pytest.param("^0.0.3", "0.0.4", False, id="caret before 0.1"),
        pytest.param("^0", "0.9.0", True, id="caret of nothing"),
        pytest.param("~1.2", "1.2.9", True, id="tilde"),
        pytest.param("~1.2", "1.3.0", False, id="tilde, the next"),
        pytest.param("1.x", "1.9.9", True, id="x"),
        pytest.param("1", "2.0.0", False, id="a bare major"),
        pytest.param(">=1.2 <2", "1.5.0", True, id="both bounds"),
        pytest.param(">= 1.2 < 2", "2.0.0", False, id="both bounds, spaced"),
        pytest.param("<1 || >3", "2.0.0", False, id="neither"),
        pytest.param("<1 || >3", "4.0.0", True, id="the second"),
        pytest.param(">3", "3.9.0", False, id="above all of 3"),
        pytest.param("1.2 - 1.4", "1.4.9", True, id="from, to"),
        pytest.param("1.2 - 1.4", "1.5.0", False, id="from, to, beyond"),
        pytest.param("=1.2.3", "1.2.4", False, id="exact"),
    ],
)
def test_npms_ranges(selector: str, version: str, *, allowed: bool) -> None:
    assert npm_allows(selector, version) is allowed


@pytest.mark.parametrize(
    ("clauses", "version", "allowed"),
    [
        pytest.param("", "1.2", True, id="any"),
        pytest.param(">=2099", "2026.10.19", False, id="a floor above"),
        pytest.param(">=1,<2", "1.5", True, id="both bounds"),
        pytest.param("<2", "2.0", False, id="a ceiling"),
        pytest.param("~=1.4", "1.9", True, id="compatible"),
        pytest.param("~=1.4", "2.0", False, id="compatible, the next"),
        pytest.param("~=1.4.2", "1.5.0", False, id="compatible, to the minor"),
        pytest.param("==1.*", "1.9", True, id="a prefix"),
        pytest.param("==1.*", "2.9", False, id="another prefix"),
        pytest.param("!=1.2", "1.2.0", False, id="not this one"),
        pytest.param("!=1.*", "2.0", True, id="not that prefix"),
        pytest.param(">1.2", "1.2", False, id="above"),
        pytest.param("<=1.2", "1.2.0", True, id="at most"),
        pytest.param("==1.2.0", "1.2", True, id="zeroes"),
    ],
)
def test_pypis_clauses(clauses: str, version: str, *, allowed: bool) -> None:
    assert pypi_allows(clauses, version) is allowed


@given(st.text(max_size=30), st.text(max_size=12))
def test_any_text_is_answered(selector: str, version: str) -> None:
    assert npm_allows(selector, version) in (True, False)
    assert pypi_allows(selector, version) in (True, False)
