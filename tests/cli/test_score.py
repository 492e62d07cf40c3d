"""`score` as a person or a program meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.cli.main import main

Out = pytest.CaptureFixture[str]


@pytest.fixture
def project(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = own_home / "project"
    (made / ".mcp-sandbox").mkdir(parents=True)
    monkeypatch.chdir(made)
    monkeypatch.setenv("XDG_CACHE_HOME", str(own_home / ".cache"))
    return made


def scored(capsys: Out, *words: str) -> list[dict[str, object]]:
    assert main(["score", "--json", *words]) == 0
    document = json.loads(capsys.readouterr().out)
    assert next(iter(document)) == "schema"
    found: list[dict[str, object]] = document["scores"]
    return found


def test_one_profile_is_a_table_with_a_total(project: Path, capsys: Out) -> None:
    assert main(["score", "filesystem"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["EXPOSURE", "OF", "WHAT", "IT", "DOES", "DETAIL"]
    assert "reads files of the host" in lines[1]
    assert lines[-1].startswith("filesystem: ")
    assert " of 10, " in lines[-1]


def test_a_command_is_scored_with_the_paths_that_it_names(project: Path, capsys: Out) -> None:
    npx = ["--", "npx", "-y", "@modelcontextprotocol/server-filesystem"]
    (one,) = scored(capsys, *npx, str(project))
    (other,) = scored(capsys, "--", "npx", "-y", "no-such-package", str(project))
    assert (one["profile"], other["profile"]) == ("filesystem", "base")
    assert one["exposure"] > other["exposure"]  # type: ignore[operator]
    rows = {row["id"]: row for row in one["rows"]}  # type: ignore[attr-defined]
    assert rows["files-write"]["detail"] == str(project)


def test_every_profile_has_a_score_and_the_same_one_every_time(project: Path, capsys: Out) -> None:
    first, second = scored(capsys, "--all"), scored(capsys, "--all")
    assert first == second
    assert {one["profile"] for one in first} >= {"base", "filesystem", "git"}
    assert all(0 <= one["exposure"] < 5 for one in first)  # type: ignore[operator]


def test_a_profile_that_cannot_be_read_has_no_score_and_is_a_finding(project: Path, capsys: Out) -> None:
    (project / ".mcp-sandbox/bad.toml").write_text("schema = 1\nnonsense = 1\n")
    assert main(["score", "--all", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [fault["profile"] for fault in document["faults"]] == ["bad"]
    assert main(["score", "bad"]) == 2
    assert main(["score", "--all"]) == 1
    assert "mcp-sandbox check bad" in capsys.readouterr().out


@pytest.mark.parametrize(("threshold", "status"), [("0", 1), ("0.9", 1), ("9.9", 0), ("10", 0)])
def test_a_threshold_decides_the_status(threshold: str, status: int, project: Path, capsys: Out) -> None:
    (project / ".mcp-sandbox/wide.toml").write_text('schema = 1\n[files]\nwrite = ["~"]\nread = ["."]\n')
    assert main(["score", "wide", "--threshold", threshold]) == status


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--all", "git"],
        ["git", "--", "cat"],
        ["--"],
        ["nobody"],
        ["git", "--threshold", "11"],
        ["git", "--threshold", "-1"],
        ["git", "--threshold", "nan"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_scored_is_a_usage_error(words: list[str], project: Path, capsys: Out) -> None:
    try:
        status = main(["score", *words])
    except SystemExit as error:
        status = error.code  # type: ignore[assignment]
    assert status == 2
    assert capsys.readouterr().err


def test_a_hostile_profile_cannot_drive_the_terminal(project: Path, capsys: Out) -> None:
    (project / ".mcp-sandbox/evil.toml").write_text(
        'schema = 1\n[files]\nwrite = ["./a\u202eb", "./\\u200bhidden"]\n'
    )
    assert main(["score", "evil"]) == 0
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert "\\u202e" in shown
