"""Which profile, paths and variables an entry's server gets: by its words, its file and its client."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.clients.gather import Around, fit, project_of
from sandbox.clients.table import row
from sandbox.clients.words import Entry, Found
from sandbox.clients.wrapping import Left, wrapped


@pytest.fixture
def around(tmp_path: Path) -> Around:
    home, project = tmp_path / "home", tmp_path / "project"
    for folder in (home / "docs", home / ".ssh", project / "data"):
        folder.mkdir(parents=True)
    return Around(str(home), "linux", {"HOME": str(home)}, str(project))


def found(around: Around, client: str, scope: str = "user", file: str = ".cursor/mcp.json") -> Found:
    one = row(client)
    assert one is not None
    path = os.path.join(around.home if scope == "user" else around.cwd, file)
    return Found(one, path, path, "jsonc", scope)


def entry(*words: str, env_file: str = "", cwd: str = "") -> Entry:
    return Entry("a", words[0], words[1:], path=("mcpServers", "a"), env_file=env_file, cwd=cwd)


@pytest.mark.parametrize(
    ("words", "client", "scope", "paths", "note"),
    [
        pytest.param("x HOME/docs", "cursor", "user", ["HOME/docs"], "", id="a folder of the home"),
        pytest.param("x ~/docs", "cursor", "user", ["~/docs"], "", id="spelt with ~"),
        pytest.param("x HOME", "cursor", "user", [], "the home directory", id="the home itself"),
        pytest.param("x HOME/.ssh", "cursor", "user", [], "private keys", id="its keys"),
        pytest.param("x HOME/link", "cursor", "user", [], "private keys", id="a link to its keys"),
        pytest.param("x /", "cursor", "user", [], "the whole file system", id="everything"),
        pytest.param("x HOME/none", "cursor", "user", [], "", id="what does not exist"),
        pytest.param("x .", "claude-desktop", "user", [], "where the client starts it", id="a relative path"),
        pytest.param("x .", "claude-code", "user", ["."], "", id="of a client that works in a project"),
        pytest.param("x ./data", "claude-code", "project", ["./data"], "", id="of a project"),
        pytest.param(
            "x HOME/docs", "claude-code", "project", [], "outside of the project", id="a stranger's"
        ),
        pytest.param(
            "x ./out", "claude-code", "project", [], "outside of the project", id="a stranger's link"
        ),
        pytest.param(
            "x ${CLAUDE_PROJECT_DIR}/data",
            "claude-code",
            "project",
            ["${CLAUDE_PROJECT_DIR}/data"],
            "",
            id="a stranger's own folder",
        ),
        pytest.param(
            "x ${CLAUDE_PROJECT_DIR}/../home/docs",
            "claude-code",
            "project",
            [],
            "outside of the project",
            id="a stranger's way out",
        ),
        pytest.param(
            "x ${CLAUDE_PROJECT_DIR:-HOME/docs}",
            "claude-code",
            "project",
            [],
            "nobody knows",
            id="a stranger's default",
        ),
        pytest.param(
            "x ${workspaceFolder}/data", "vscode", "user", ["${workspaceFolder}/data"], "", id="a variable"
        ),
        pytest.param(
            "x ${workspaceFolder}/data", "claude-desktop", "user", [], "nobody knows", id="not of that client"
        ),
    ],
)
def test_paths(around: Around, words: str, client: str, scope: str, paths: list[str], note: str) -> None:
    os.symlink(f"{around.home}/.ssh", f"{around.home}/link")
    os.symlink(f"{around.home}/docs", f"{around.cwd}/out")
    named = entry(*words.replace("HOME", around.home).split())
    made = fit(named, found(around, client, scope), around)
    assert [one.replace(around.home, "HOME") for one in made.paths] == paths
    assert bool(made.notes) is bool(note)
    assert not note or note in made.notes[0]


def test_a_profile_that_fits_mounts_by_itself(around: Around) -> None:
    words = ("npx", "-y", "@modelcontextprotocol/server-filesystem")
    made = fit(entry(*words, f"{around.home}/docs"), found(around, "cursor"), around)
    assert (made.profile, made.paths, made.notes) == ("filesystem", (), ())
    wide = fit(entry(*words, around.home), found(around, "cursor"), around)
    assert "does not start" in wide.notes[0]


@pytest.mark.parametrize(
    ("command", "own"),
    [
        ("npx", False),
        ("/usr/bin/npx", False),
        ("PROJECT/bin/npx", True),
        ("./bin/npx", True),
        ("bin/npx", True),
        ("../elsewhere/npx", False),
        ("${workspaceFolder}/bin/npx", True),
        ("${input:runner}/npx", True),
    ],
)
def test_whose_program_it_is(around: Around, command: str, own: bool) -> None:
    named = entry(command.replace("PROJECT", around.cwd), "-y", "pkg")
    file = found(around, "vscode", "project", ".vscode/mcp.json")
    assert fit(named, file, around).own_program is own


@pytest.mark.parametrize("before", [("env", "A=b"), ("/usr/bin/env",)])
def test_a_program_behind_env_is_whose_it_is(around: Around, before: tuple[str, ...]) -> None:
    """Its node would run outside, to fetch the package. The control: one that is found on PATH."""
    file = found(around, "vscode", "project", ".vscode/mcp.json")
    for program, own in ((f"{around.cwd}/bin/npx", True), ("./bin/npx", True), ("npx", False)):
        named = entry(*before, program, "-y", "pkg")
        assert fit(named, file, around).own_program is own
        made = wrapped(named, "/opt/bin/mcp-sandbox", fit(named, file, around))
        assert isinstance(made, Left) is own
    line = entry("sh", "-c", f"{around.cwd}/bin/npx -y pkg")
    assert fit(line, file, around).own_program


def test_paths_in_variables(around: Around) -> None:
    lib = os.path.join(around.home, "docs")
    env = (
        ("PYTHONPATH", f"{lib}:/nowhere"),
        ("DATA_DIR", lib),
        ("URL", "https://x/y"),
        ("K", f"{around.home}/.ssh"),
    )
    made = fit(Entry("a", "x", env=env, path=("mcpServers", "a")), found(around, "cursor"), around)
    assert made.paths == (lib,)
    assert len(made.notes) == 1


@pytest.mark.parametrize(
    ("place", "mounted", "note"),
    [
        pytest.param("docs/memory.json", "docs", "", id="a file in a folder, to be made"),
        pytest.param("docs", "docs", "", id="a folder"),
        pytest.param("memory.json", "", "the home directory", id="a file in the home itself"),
        pytest.param(".ssh/memory.json", "", "private keys", id="among keys"),
        pytest.param("none/memory.json", "", "does not exist", id="in no folder"),
    ],
)
def test_where_the_entry_has_its_server_write(around: Around, place: str, mounted: str, note: str) -> None:
    """The memory server's profile keeps its file in a home of its own; the user's entry says another."""
    env = (("MEMORY_FILE_PATH", f"{around.home}/{place}"),)
    words = ("-y", "@modelcontextprotocol/server-memory")
    named = Entry("a", "npx", words, env=env, path=("mcpServers", "a"))
    made = fit(named, found(around, "cursor"), around)
    assert made.profile == "memory"
    assert made.writes == ((f"{around.home}/{mounted}",) if mounted else ())
    assert note in " ".join(made.notes)
    assert bool(made.notes) is bool(note)


@pytest.mark.parametrize(
    ("client", "file"),
    [("claude-code", ".mcp.json"), ("cursor", ".cursor/mcp.json"), ("codex", ".codex/config.toml")],
)
def test_the_project_of_a_file(around: Around, client: str, file: str) -> None:
    above = Around(around.home, "linux", around.environ, f"{around.cwd}/data")
    assert project_of(found(around, client, "project", file), above) == around.cwd


def test_variables_of_a_file(around: Around) -> None:
    Path(around.cwd, ".env").write_text("# mine\nAPI_KEY=x\nexport LOG = y\nnot a name=z\n")
    named = entry("x", env_file="${workspaceFolder}/.env")
    file = found(around, "vscode", "project", ".vscode/mcp.json")
    assert fit(named, file, around).names == ("API_KEY", "LOG")


def test_a_strangers_file_names_no_file_elsewhere(around: Around) -> None:
    Path(around.home, "key").write_text("SECRET_PART=\n")
    named = entry("x", env_file=f"{around.home}/key")
    assert fit(named, found(around, "vscode", "user"), around).names == ("SECRET_PART",)
    assert fit(named, found(around, "vscode", "project", ".vscode/mcp.json"), around).names == ()


@pytest.mark.parametrize("bad", ["\0", "\ud800"])
@pytest.mark.parametrize(
    "words",
    [
        pytest.param("mcp-sandbox run --profile /BAD -- x", id="a profile"),
        pytest.param("/BAD/mcp-sandbox run -- x", id="a program"),
        pytest.param("docker run -v /BAD:/a x/y:1", id="a mount"),
        pytest.param("x /BAD", id="an argument"),
    ],
)
def test_what_no_path_can_hold_is_no_traceback(around: Around, words: str, bad: str) -> None:
    for scope in ("project", "user"):
        fit(entry(*words.replace("BAD", bad).split(" ")), found(around, "claude-code", scope), around)
