"""`scripts/conformance` sees a check that says another thing, and one that is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = str(ROOT / "scripts")


@pytest.fixture
def conforming(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules beside the script, which are no package of ours."""
    monkeypatch.syspath_prepend(SCRIPTS)
    from conforming import compare, suites

    class Both:
        Check, Outcome = suites.Check, compare.Outcome
        read = staticmethod(suites._checks)

    return Both


def check(conforming: Any, id: str, status: str, nth: int = 1) -> Any:
    return conforming.Check("tools-list", id, "Name", nth, status, "")


@pytest.mark.parametrize(
    ("bare", "through", "told"),
    [
        pytest.param([("a", "SUCCESS", 1)], [("a", "SUCCESS", 1)], [], id="the same"),
        pytest.param([("a", "FAILURE", 1)], [("a", "FAILURE", 1)], [], id="the same failure"),
        pytest.param([("a", "SUCCESS", 1)], [("a", "FAILURE", 1)], ["SUCCESS -> FAILURE"], id="worse"),
        pytest.param([("a", "FAILURE", 1)], [("a", "SUCCESS", 1)], ["FAILURE -> SUCCESS"], id="better"),
        pytest.param([("a", "SUCCESS", 1)], [("a", "INFO", 1)], [], id="left out, with a note"),
        pytest.param([("a", "FAILURE", 1)], [("a", "INFO", 1)], ["FAILURE -> INFO"], id="a failure left out"),
        pytest.param([("a", "SUCCESS", 1)], [], ["SUCCESS -> absent"], id="missing"),
        pytest.param([], [("a", "SUCCESS", 1)], ["absent -> SUCCESS"], id="new"),
        pytest.param(
            [("a", "SUCCESS", 1), ("a", "SUCCESS", 2)],
            [("a", "SUCCESS", 1), ("a", "WARNING", 2)],
            ["SUCCESS -> WARNING"],
            id="the second of the same name",
        ),
    ],
)
def test_a_difference_is_a_status_or_an_existence(
    bare: list[Any], through: list[Any], told: list[str], conforming: Any
) -> None:
    sides = (tuple(check(conforming, *one) for one in side) for side in (bare, through))
    outcome = conforming.Outcome("suite", *sides)
    assert [one.told().partition(": ")[2] for one in outcome.differences] == told


def test_what_a_suite_wrote_is_read(conforming: Any, tmp_path: Path) -> None:
    place = tmp_path / "server-tools-call-image-2026-11-26T01-52-48-450Z"
    place.mkdir()
    made = [
        {"id": "a", "name": "A", "status": "SUCCESS"},
        {"id": "a", "name": "A", "status": "FAILURE", "errorMessage": "no"},
        {"id": "b", "name": "B", "status": "INFO"},
    ]
    (place / "checks.json").write_text(json.dumps(made))
    found = [*conforming.read(tmp_path)]
    assert [(one.scenario, one.id, one.nth, one.status, one.error) for one in found] == [
        ("tools-call-image", "a", 1, "SUCCESS", ""),
        ("tools-call-image", "a", 2, "FAILURE", "no"),
    ]


def test_what_a_client_scenario_wrote_is_read_and_notes_of_streams_are_kept(
    conforming: Any, tmp_path: Path
) -> None:
    place = tmp_path / "tools_call-2026-11-26T01-52-48-450Z"
    place.mkdir()
    streams = "server-sse-streams-functional"
    made = [{"id": one, "name": "A", "status": "INFO"} for one in ("outgoing-request", streams)]
    (place / "checks.json").write_text(json.dumps(made))
    assert [(one.scenario, one.id, one.status) for one in conforming.read(tmp_path)] == [
        ("tools_call", streams, "INFO")
    ]


def test_profiles_of_every_way_are_valid(conforming: Any, tmp_path: Path) -> None:
    from conforming import served

    from sandbox.policy.load import read

    ways = (
        served.over_stdio(("python", "a")),
        served.over_http(("python", "a")),
        served.of_url("http://127.0.0.1:9/mcp"),
    )
    for number, profile in enumerate(ways):
        place = tmp_path / f"{number}.toml"
        place.write_text(profile)
        policy = read(str(place), environ={}, cwd=str(tmp_path), trusted_only=False)
        assert policy.server.command or policy.server.url


def test_it_says_what_it_does() -> None:
    words = [sys.executable, f"{SCRIPTS}/conformance", "--help"]
    assert "conformance" in subprocess.check_output(words, text=True, timeout=30)
