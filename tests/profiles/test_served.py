"""Every shipped profile is right for its server: it does its job under it, and nothing beyond it."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.policy.load import read
from sandbox.policy.model import Policy
from sandbox.policy.versions import within
from tests.conftest import Ready
from tests.profiles import browser_servers, database_servers, node_servers, python_servers, service_servers
from tests.profiles.conftest import Note
from tests.profiles.served import (
    SHIPPED,
    Refused,
    Served,
    Shown,
    dialled,
    failed,
    filled,
    session,
    strange,
    text,
)

ROWS: tuple[Served, ...] = (
    *node_servers.SERVERS,
    *service_servers.SERVERS,
    *python_servers.SERVERS,
    *database_servers.SERVERS,
    *browser_servers.SERVERS,
)
BASES = ("base", "browser", "build", "node", "offline", "python", "web", "workspace")
"""Profiles for any server: what they grant has tests of its own."""

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
    shown = done(row, place, here)
    assert _proven(row, _resolved(shown))
    note(row, place, shown)


def test_so_does_the_oldest_version_that_it_is_for(old: Served, here: Path, engaged: Ready) -> None:
    engaged("native")
    shown = done(replace(old, command=_at(old, old.oldest)), "native", here)
    assert _resolved(shown) == old.oldest
    assert _proven(old, old.oldest)


def done(row: Served, place: str, here: Path) -> Shown:
    """A session in which each call did its job, and nothing happened that needs an explanation."""
    with row.ground(here) as words:
        known = {"here": str(here), **words}
        shown = session(row, place, here, known, list(row.calls))
    assert bool(shown.tools) != bool(row.unlisted)
    for call, answer in zip(row.calls, shown.answers, strict=True):
        assert call.dials or not failed(answer), (call.tool, answer, shown.stderr)
        assert filled(call.says, known) in text(answer), call.tool
    assert {call.dials for call in row.calls if call.dials} <= dialled(shown), shown.answers
    assert [(one["kind"], one["detail"]) for one in strange(row, shown)] == []
    assert shown.status == 0, shown.stderr
    return shown


def _resolved(shown: Shown) -> str:
    """The version of the package that was run."""
    (supplied,) = shown.of("supply.build", "supply.reuse")
    return re.split("==|(?<=.)@", supplied["detail"]["resolved"][0])[-1]


def _proven(row: Served, version: str) -> bool:
    match = _policy(row.profile).match
    return bool(match.versions) and within(version, match.versions) is True


def _policy(profile: str) -> Policy:
    return read(str(SHIPPED / f"{profile}.toml"), environ=os.environ, cwd="/", trusted_only=False)


def _at(row: Served, version: str) -> str:
    """The command of the row, of this version."""
    policy = _policy(row.profile)
    name = policy.match.packages[0].partition(":")[2]
    pin = f"@{version}" if policy.match.packages[0].startswith("npm:") else f"=={version}"
    words = row.command.split() or policy.server.command
    return " ".join(f"{word}{pin}" if word == name else word for word in words)


def test_what_the_profile_does_not_grant_is_refused_and_done_with_its_waiver(
    row: Served, place: str, beyond: Refused, here: Path, engaged: Ready, note: Note
) -> None:
    engaged(place)
    with row.ground(here) as words:
        known = {"here": str(here), **words}
        alone = session(row, place, here, known, [beyond.call])
        (waived,) = session(row, place, here, known, [beyond.call], beyond.waiver).answers
    (without,) = alone.answers
    said = text(without)
    assert failed(without) or (beyond.told and beyond.told in said and beyond.call.says not in said), without
    assert not failed(waived), waived
    assert filled(beyond.call.says, known) in text(waived)
    note(row, place, alone, beyond)


# --- the shipped profiles, whole -------------------------------------------------------------------


def shipped() -> list[str]:
    """The shipped profiles by name."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def test_every_shipped_profile_is_one_for_others_or_has_a_server_that_proves_it() -> None:
    assert set(shipped()) == {row.profile for row in ROWS} | set(BASES)


@pytest.mark.parametrize("profile", shipped())
def test_every_host_has_a_source_beside_it(profile: str) -> None:
    written = (SHIPPED / f"{profile}.toml").read_text()
    for rule in _policy(profile).network.allow:
        (line,) = [line for line in written.splitlines() if f'"{rule.host}' in line]
        assert re.search(r'" *[],].* # \S', line), f"say which file of the package names `{rule.host}`"


def test_no_package_has_two_profiles() -> None:
    named = [package for profile in shipped() for package in _policy(profile).match.packages]
    assert sorted(named) == sorted(set(named))
