"""Every shipped profile is right for its server: it does its job under it, and nothing beyond it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Ready
from tests.profiles import browser_servers, database_servers, node_servers, python_servers
from tests.profiles.conftest import Note
from tests.profiles.served import Refused, Served, failed, filled, session, strange, text

ROWS: tuple[Served, ...] = (
    *node_servers.SERVERS,
    *python_servers.SERVERS,
    *database_servers.SERVERS,
    *browser_servers.SERVERS,
)
BASES = ("base", "node", "python")
"""Profiles that others build on: what they grant has tests of its own."""

SHIPPED = Path(__file__).resolve().parents[2] / "profiles"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The directory that the client starts the server in."""
    made = tmp_path / "here"
    made.mkdir()
    return made


def test_a_server_does_its_job_under_its_profile(
    row: Served, place: str, here: Path, engaged: Ready, note: Note
) -> None:
    engaged(place)
    with row.ground(here) as words:
        known = {"here": str(here), **words}
        shown = session(row, place, here, known, list(row.calls))
    assert shown.tools
    for call, answer in zip(row.calls, shown.answers, strict=True):
        assert not failed(answer), (call.tool, answer, shown.stderr)
        assert filled(call.says, known) in text(answer), call.tool
    assert strange(row, shown) == []
    assert shown.status == 0, shown.stderr
    note(row, place, shown)


def test_what_the_profile_does_not_grant_is_refused_and_done_with_its_waiver(
    row: Served, place: str, beyond: Refused, here: Path, engaged: Ready
) -> None:
    engaged(place)
    with row.ground(here) as words:
        known = {"here": str(here), **words}
        (without,) = session(row, place, here, known, [beyond.call]).answers
        (waived,) = session(row, place, here, known, [beyond.call], beyond.waiver).answers
    assert failed(without) or (beyond.told and beyond.told in text(without)), without
    assert not failed(waived), waived
    assert filled(beyond.call.says, known) in text(waived)
