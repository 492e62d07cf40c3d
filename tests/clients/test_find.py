"""Where files are looked for: the system's places, variables, projects, links, and what is not followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.clients.codec import MAX_BYTES
from sandbox.clients.find import MOST_FILES, content, find, project
from sandbox.clients.words import ConfigError


def write(path: Path, text: str = "{}") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def told(home: Path, platform: str = "linux", cwd: str = "/", **environ: str) -> list[tuple[str, str]]:
    found = find(str(home), platform, environ, cwd)
    return [(one.row.id, os.path.relpath(one.path, home)) for one in found if one.scope != "system"]


@pytest.mark.parametrize(
    ("platform", "variable", "file", "client"),
    [
        pytest.param("linux", "XDG_CONFIG_HOME", "zed/settings.json", "zed", id="xdg"),
        pytest.param("linux", "CODEX_HOME", "config.toml", "codex", id="codex"),
        pytest.param("darwin", "CODEX_HOME", "config.toml", "codex", id="codex on a mac"),
        pytest.param("linux", "CLAUDE_CONFIG_DIR", ".claude.json", "claude-code", id="claude code"),
        pytest.param("win32", "APPDATA", "Claude/claude_desktop_config.json", "claude-desktop", id="roaming"),
        pytest.param("win32", "LOCALAPPDATA", "crush/crush.json", "crush", id="local"),
        pytest.param("linux", "CONTINUE_GLOBAL_DIR", "mcpServers/a.yml", "continue", id="continue"),
    ],
)
def test_a_variable_moves_a_place(
    platform: str, variable: str, file: str, client: str, tmp_path: Path
) -> None:
    write(tmp_path / "moved [x] *" / file)
    assert told(tmp_path, platform) == []
    moved = {variable: str(tmp_path / "moved [x] *")}
    assert told(tmp_path, platform, **moved) == [(client, f"moved [x] */{file}")]


def test_a_relative_variable_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "config.toml")
    write(tmp_path / ".config" / "zed" / "settings.json")
    monkeypatch.chdir(tmp_path)
    assert told(tmp_path, CODEX_HOME=".", XDG_CONFIG_HOME=".", OPENCODE_CONFIG="config.toml") == [
        ("zed", ".config/zed/settings.json")
    ]


def test_a_variable_may_name_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "elsewhere.json")
    assert told(tmp_path, OPENCODE_CONFIG=str(path)) == [("opencode", "elsewhere.json")]


def test_every_editor_of_a_family_is_looked_at(tmp_path: Path) -> None:
    storage = "User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"
    for editor in ("Code", "Cursor", "A fork"):
        write(tmp_path / ".config" / editor / storage)
    assert told(tmp_path) == [("cline", f".config/{one}/{storage}") for one in ("A fork", "Code", "Cursor")]


def test_a_folder_of_very_many_files_is_not_read_to_its_end(tmp_path: Path) -> None:
    for number in range(MOST_FILES + 5):
        write(tmp_path / ".continue" / "mcpServers" / f"{number}.yaml")
    assert len(told(tmp_path)) == MOST_FILES


# --- projects --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cwd", "expected"),
    [
        pytest.param("r/a/b", ["r/a/b", "r/a", "r"], id="up to the repository"),
        pytest.param("r", ["r"], id="the repository itself"),
        pytest.param("plain/a", ["plain/a"], id="no repository, only the directory itself"),
        pytest.param(".", ["."], id="the home"),
    ],
)
def test_where_a_project_begins(cwd: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "r" / "a" / "b").mkdir(parents=True)
    (tmp_path / "r" / ".git").mkdir()
    (tmp_path / "plain" / "a").mkdir(parents=True)
    here = [os.path.relpath(one, tmp_path) for one in project(str(tmp_path / cwd), str(tmp_path))]
    assert here == expected


def test_a_repository_around_the_home_ends_at_the_home(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "home" / "a").mkdir(parents=True)
    write(tmp_path / ".mcp.json")
    assert told(tmp_path / "home", cwd=str(tmp_path / "home" / "a")) == []


def test_projects_are_found_beside_what_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "r" / ".git").mkdir(parents=True)
    for path in (".cursor/mcp.json", "r/.cursor/mcp.json", "r/sub/.vscode/mcp.json", "r/.mcp.json"):
        write(tmp_path / path)
    found = find(str(tmp_path), "linux", {}, str(tmp_path / "r" / "sub"))
    assert [(one.row.id, os.path.relpath(one.path, tmp_path), one.scope) for one in found] == [
        ("claude-code", "r/.mcp.json", "project"),
        ("cursor", ".cursor/mcp.json", "user"),
        ("cursor", "r/.cursor/mcp.json", "project"),
        ("vscode", "r/sub/.vscode/mcp.json", "project"),
    ]


def test_the_home_as_a_project_tells_a_file_once(tmp_path: Path) -> None:
    write(tmp_path / ".cursor" / "mcp.json")
    found = find(str(tmp_path), "linux", {}, str(tmp_path))
    assert [(one.row.id, one.scope) for one in found] == [("cursor", "user")]


# --- links, and what is no file --------------------------------------------------------------------------


def test_a_link_is_told_as_the_client_opens_it_and_as_it_is(tmp_path: Path) -> None:
    real = write(tmp_path / "dotfiles" / "cursor.json")
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".cursor" / "mcp.json").symlink_to("../dotfiles/cursor.json")
    (found,) = find(str(tmp_path), "linux", {}, "/")
    assert (found.path, found.real) == (str(tmp_path / ".cursor" / "mcp.json"), str(real))
    assert found.format == "json"


def test_two_ways_to_one_file_of_a_client_are_one(tmp_path: Path) -> None:
    write(tmp_path / ".codeium" / "windsurf" / "mcp_config.json")
    (tmp_path / ".codeium" / "windsurf-next").symlink_to("windsurf")
    (found,) = find(str(tmp_path), "linux", {}, "/")
    assert found.real == str(tmp_path / ".codeium" / "windsurf" / "mcp_config.json")


@pytest.mark.parametrize("what", ["directory", "pipe", "broken link", "link to itself"])
def test_what_is_no_file_is_not_found(what: str, tmp_path: Path) -> None:
    path = tmp_path / ".cursor" / "mcp.json"
    path.parent.mkdir()
    if what == "directory":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("gone" if what == "broken link" else "mcp.json")
    assert told(tmp_path) == []


# --- bytes -----------------------------------------------------------------------------------------------


def test_content_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbf{}\r\n")
    assert content(str(path)) == b"\xef\xbb\xbf{}\r\n"


@pytest.mark.parametrize(
    ("what", "why"),
    [
        pytest.param("gone", "no such file", id="gone"),
        pytest.param("directory", "no regular file|is a directory", id="a directory"),
        pytest.param("pipe", "no regular file", id="a pipe, which nobody writes to"),
        pytest.param("large", "are not read", id="more than is read"),
    ],
)
def test_what_has_no_bytes_for_us(what: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / what
    if what == "directory":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "large":
        with path.open("wb") as file:
            file.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match=why) as raised:
        content(str(path))
    assert str(path) in raised.value.what
