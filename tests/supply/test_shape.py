"""What strangers print, brought into a shape that may be kept and shown."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.supply.shape import Unfit, address, line, moment, value


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param("2026-03-25T20:04:50.347000+00:00", "2026-03-25T20:04:50Z", id="with an offset"),
        pytest.param("2026-03-25T20:04:50Z", "2026-03-25T20:04:50Z", id="in UTC"),
        pytest.param("2026-03-25T20:04:50", "2026-03-25T20:04:50Z", id="without a zone"),
        pytest.param(
            datetime(2026, 3, 25, 20, tzinfo=timezone(timedelta(hours=2))),
            "2026-03-25T18:00:00Z",
            id="a zone",
        ),
        pytest.param(date(2026, 3, 25), "2026-03-25T00:00:00Z", id="a day"),
        pytest.param("0001-01-01T00:00:00+05:00", "", id="before time"),
        pytest.param("yesterday", "", id="a word"),
        pytest.param(5, "", id="a number"),
        pytest.param(None, "", id="nothing"),
    ],
)
def test_a_moment_is_in_utc_to_the_second(raw: object, said: str) -> None:
    assert moment(raw) == said


@given(st.text(max_size=60) | st.datetimes(timezones=st.just(UTC)) | st.integers() | st.none())
def test_any_moment_is_one_or_none(raw: object) -> None:
    said = moment(raw)
    assert said == "" or moment(said) == said


@given(st.text(max_size=400))
def test_a_line_is_one_that_can_be_shown(text: str) -> None:
    assert line(text).isprintable()
    assert len(line(text)) <= 300


@given(st.text(max_size=60), st.sampled_from(["https://", "http://", "file://", "ftp://", ""]))
def test_an_address_has_no_login_and_no_query(text: str, scheme: str) -> None:
    found = address(f"{scheme}u:p4ss@h.test/{text}?t0ken#t0ken")
    assert "p4ss" not in found or "p4ss" in text
    assert "t0ken" not in found or "t0ken" in text


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(None, id="nothing"),
        pytest.param(1 << 60, id="a number that TOML has not"),
        pytest.param("\u202e", id="a letter that turns the line"),
        pytest.param(["x"] * 3000, id="too many"),
        pytest.param([[[[["x"]]]]], id="too deep"),
    ],
)
def test_what_cannot_be_kept_is_refused(raw: object) -> None:
    with pytest.raises(Unfit):
        value(raw)
