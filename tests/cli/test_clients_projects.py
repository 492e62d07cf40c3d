"""`mcp-sandbox clients` on what a project brings along, which may be hostile."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sandbox.cli.main import main
from tests.cli.cursor import PROGRAM, wrap


def test_sarif_of_a_project(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".mcp.json").write_text(
        '{\n  "mcpServers": {\n    "a": {"command": "npx", "args": ["x"]}\n  }\n}'
    )
    assert main(["clients", "scan", "--scope", "project", "--sarif"]) == 1
    results = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    places = {json.dumps(one["locations"][0]["physicalLocation"]) for one in results}
    assert places == {'{"artifactLocation": {"uri": ".mcp.json"}, "region": {"startLine": 3}}'}


def test_what_a_file_says_does_not_drive_the_terminal(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = {"\x1b[2J\nfake": {"command": "x\x1b]0;t\x07", "args": ["\r", "\u202e"]}}
    (home / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": evil}))
    for words in (["scan"], ["list"]):
        main(["clients", *words])
    wrap("--dry-run")
    out, err = capsys.readouterr()
    assert not [char for char in out + err if not char.isprintable() and char != "\n"]
    assert "\nfake" not in out


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"command": "node", "args": ["a\0b"]}, id="NUL in a script's name"),
        pytest.param({"command": "python3", "args": ["\ud800"]}, id="half of a pair in a script's name"),
        pytest.param({"command": PROGRAM, "args": ["run", "--", "node", "a\0b"]}, id="NUL, contained"),
        pytest.param({"command": "x", "cwd": "/\ud800"}, id="half of a pair in a directory's name"),
        pytest.param(
            {"command": PROGRAM, "args": ["run", "--", "x"], "cwd": "/\ud800"}, id="the same, contained"
        ),
        pytest.param({"command": "env", "args": ["env"] * 20_000 + ["node", "x.js"]}, id="env in env"),
    ],
)
def test_one_entry_that_cannot_be_read_hides_no_other_server(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], entry: dict[str, Any]
) -> None:
    (tmp_path / ".mcp.json").write_text(json.dumps({"mcpServers": {"a": entry, "b": {"command": "x"}}}))
    assert main(["clients", "scan", "--scope", "project", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert ("uncontained", "b") in {(one["rule"], one["server"]) for one in found["findings"]}
    wrap("--scope", "project", "--dry-run")
    assert "run --name b" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["bin/mcp-sandbox", "./mcp-sandbox"], ids=["by its whole path", "relative"])
def test_a_projects_own_mcp_sandbox_contains_nothing(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    command = place if place.startswith(".") else str(tmp_path / place)
    entry = {"command": command, "args": ["run", "--", "x"]}
    config = tmp_path / ".mcp.json"
    config.write_text(before := json.dumps({"mcpServers": {"evil": entry}}))
    assert main(["clients", "list", "--scope", "project"]) == 0
    assert "0 of 1 servers contained" in capsys.readouterr().out
    assert main(["clients", "scan", "--scope", "project"]) == 1
    assert "[uncontained]" in capsys.readouterr().out
    assert wrap("--scope", "project", "--yes") == 0
    server = json.loads(config.read_text())["mcpServers"]["evil"]
    assert server["command"] == PROGRAM
    assert server["args"][-4:] == [command, "run", "--", "x"]
    assert main(["clients", "unwrap", "--scope", "project", "--yes"]) == 0
    assert config.read_text() == before


def test_an_installation_inside_the_project_is_ours_where_it_is_what_runs(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / ".venv" / "bin" / "mcp-sandbox"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    config = tmp_path / ".mcp.json"
    config.write_text(json.dumps({"mcpServers": {"a": {"command": "x"}}}))
    words = ["clients", "wrap", "--scope", "project", "--yes", "--program", str(program)]
    assert main(words) == 0
    wrapped = config.read_text()
    assert main(words) == 0
    assert config.read_text() == wrapped
    assert main(["clients", "list", "--scope", "project"]) == 0
    assert "0 of 1 servers contained" in capsys.readouterr().out  # another one asks, and cannot know


def test_a_projects_profile_by_its_path_contains_nothing(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its `command:` would run outside; the control is a profile by its name, and one of the user's own."""
    (tmp_path / "evil.toml").write_text("schema = 1\nsecrets.X.from = 'command:/evil'\n")
    mine = home / ".config" / "mcp-sandbox" / "profiles" / "own.toml"
    mine.parent.mkdir(parents=True)
    mine.write_text("schema = 1\n")
    named = {"evil": "./evil.toml", "also": str(tmp_path / "evil.toml"), "own": str(mine), "base": "base"}
    words = {name: ["run", "--profile", path, "--", "x"] for name, path in named.items()}
    words |= {
        "joined": ["run", "--profile=./evil.toml", "--", "x"],
        "short": ["run", "--prof", "./evil.toml"],
    }
    servers = {name: {"command": "mcp-sandbox", "args": args} for name, args in words.items()}
    (tmp_path / ".mcp.json").write_text(json.dumps({"mcpServers": servers}))
    assert main(["clients", "list", "--scope", "project", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["files"][0]["servers"]
    assert [one["name"] for one in listed if one["contained"]] == ["own", "base"]
    assert main(["clients", "scan", "--scope", "project"]) == 1
    assert capsys.readouterr().out.count("[false-wrapper]") == 4


def test_an_engine_mounts_nothing_outside_of_the_project_for_its_file(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The control is the user's own file, which may name what it likes."""
    (tmp_path / "data").mkdir()
    (home / "docs").mkdir()
    mounts = [f"{home}/docs:/a", f"{tmp_path}/data:/b", "${CLAUDE_PROJECT_DIR}/../x:/c", "./data:/d"]
    mounts += [f"{home}/later:/e"]
    also = ["--mount", f"type=bind,source={home}/docs,target=/f"]
    args = ["run", "-i", *(word for one in mounts for word in ("-v", one)), *also, "evil/x:1"]
    content = json.dumps({"mcpServers": {"d": {"command": "docker", "args": args}}})
    for config in (tmp_path / ".mcp.json", home / ".cursor" / "mcp.json"):
        config.write_text(content)
    reached = f"writes `{home}/docs`"
    main(["clients", "scan", "--scope", "project"])
    assert reached not in capsys.readouterr().out
    main(["clients", "scan", "cursor", "--scope", "user"])
    assert reached in capsys.readouterr().out
    assert wrap("--yes", "--scope", "project") == 0
    assert "lies outside of the project" in capsys.readouterr().out
    assert wrap("cursor", "--yes", "--scope", "user") == 0

    def mounted(config: Path) -> list[str]:
        words = json.loads(config.read_text())["mcpServers"]["d"]["args"]
        return [after for word, after in pairwise(words) if word.startswith("--allow-")]

    assert mounted(tmp_path / ".mcp.json") == [f"{tmp_path}/data:/b", "./data:/d"]
    assert len(mounted(home / ".cursor" / "mcp.json")) == 6


def test_a_projects_link_to_another_file_is_not_written_through(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The control is a link within the project."""
    project, other = tmp_path / ".mcp.json", home / "other.json"
    other.write_text(before := json.dumps({"mcpServers": {"x": {"command": "x"}}}))
    project.symlink_to(other)
    assert wrap("--yes", "--scope", "project") == 1
    assert "link-away" in capsys.readouterr().err
    assert other.read_text() == before
    project.unlink()
    (tmp_path / "shared.json").write_text(before)
    project.symlink_to("shared.json")
    assert wrap("--yes", "--scope", "project") == 0
    assert project.is_symlink()
    assert "mcp-sandbox" in (tmp_path / "shared.json").read_text()
