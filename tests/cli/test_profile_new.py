"""`profile new`: a starter that is a valid profile, grants nothing of its own, and takes no file's place."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.choice import choose
from sandbox.cli.main import main
from sandbox.policy.load import read
from sandbox.policy.score import exposure
from sandbox.policy.starter import Start, quoted, text
from sandbox.prepared import Wish

Out = pytest.CaptureFixture[str]


@pytest.fixture
def project(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = own_home / "project"
    (made / "data").mkdir(parents=True)
    monkeypatch.chdir(made)
    monkeypatch.setenv("XDG_CACHE_HOME", str(own_home / ".cache"))
    return made


def new(capsys: Out, *words: str) -> Path:
    assert main(["profile", "new", "--json", *words]) == 0
    document = json.loads(capsys.readouterr().out)
    assert next(iter(document)) == "schema"
    return Path(document["path"])


def own(home: Path) -> Path:
    return home / ".config/mcp-sandbox/profiles"


@pytest.mark.parametrize(
    ("command", "name", "parent", "package"),
    [
        (["npx", "-y", "some-mcp@1.2.0", "./data"], "some-mcp", "node", "npm:some-mcp"),
        (["npx", "@acme/mcp"], "mcp", "node", "npm:@acme/mcp"),
        (["uvx", "--from", "Some_MCP[x]>=1", "some-mcp"], "some-mcp", "python", "pypi:some-mcp"),
        (["node", "server.js"], "node-own", "node", ""),
        (["python3", "-m", "mine"], "python3", "python", ""),
        (["./our server", "x"], "our-server", "base", ""),
        (["docker", "run", "-e", "TOKEN", "ghcr.io/acme/thing:1"], "thing", "base", "oci:ghcr.io/acme/thing"),
        (["uvx", "time"], "time-own", "python", "pypi:time"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_starter_for_every_kind_of_command(
    command: list[str], name: str, parent: str, package: str, project: Path, own_home: Path, capsys: Out
) -> None:
    path = new(capsys, "--", *command)
    assert path == own(own_home) / f"{name}.toml"
    made = tomllib.loads(path.read_text())
    assert made["extends"] == parent
    assert made.get("match", {}).get("packages", []) == ([package] if package else [])
    assert main(["check", name]) == 0


def test_a_starter_grants_what_its_parent_grants(project: Path, capsys: Out) -> None:
    path = new(capsys, "--", "npx", "-y", "some-mcp", "--dir=./data", "~/project")
    environ = dict(os.environ)
    made, node = (
        read(name, environ=environ, cwd=str(project), trusted_only=True) for name in ("some-mcp", "node")
    )
    assert (made.files, made.network, made.env, made.secrets) == (
        node.files,
        node.network,
        node.env,
        node.secrets,
    )
    assert exposure(made) == exposure(node)
    assert f'# read = ["{project}/data", "{project}"]' in path.read_text()


def test_every_line_that_is_offered_is_a_right_one(project: Path, capsys: Out) -> None:
    path = new(capsys, "--", "docker", "run", "-e", "TOKEN", "-e", "BAD-NAME", "acme/thing")
    offered = re.sub(r"^# (?=\[secrets|\w+ = )", "", path.read_text(), flags=re.MULTILINE)
    path.write_text(offered.replace('write = ["."]\n', ""))
    assert main(["check", "thing"]) == 0, capsys.readouterr().out
    granted = tomllib.loads(path.read_text())
    assert granted["match"]["paths"] == "read"
    assert granted["files"] == {"read": ["."], "persist": "thing"}
    assert granted["network"]["allow"]
    assert granted["env"]["pass"]
    assert granted["secrets"] == {"TOKEN": {"from": "env"}}


def test_it_is_found_by_the_command_it_was_made_for(project: Path, capsys: Out) -> None:
    command = ("npx", "-y", "some-mcp", "x")
    assert choose(Wish(command, dict(os.environ), str(project))).policy.name == "base"
    new(capsys, "--", *command)
    assert choose(Wish(command, dict(os.environ), str(project))).policy.name == "some-mcp"


def test_for_a_server_that_has_a_profile_it_builds_on_that(
    project: Path, own_home: Path, capsys: Out
) -> None:
    path = new(capsys, "--", "npx", "-y", "@modelcontextprotocol/server-filesystem", "./data")
    made = tomllib.loads(path.read_text())
    assert (path.name, made["extends"]) == ("filesystem.toml", "filesystem")
    assert made["match"]["paths"] == "write"
    chosen = choose(Wish(tuple(made["server"]["command"]), dict(os.environ), str(project)))
    assert chosen.policy.sources[0][0] == str(path)
    assert [rule.source for rule in chosen.policy.files.write] == [str(project / "data")]


def test_it_never_takes_the_place_of_what_is_there(project: Path, own_home: Path, capsys: Out) -> None:
    path = new(capsys, "mine", "--", "npx", "some-mcp")
    path.write_text("mine")
    target = own_home / "target"
    (own(own_home) / "link.toml").symlink_to(target)
    for name in ("mine", "link"):
        assert main(["profile", "new", name, "--", "npx", "other-mcp"]) == 2
        assert "is there already" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert not target.exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["base", "--", "cat"], "shipped-name"),
        (["git", "--", "npx", "@modelcontextprotocol/server-filesystem"], "shipped-name"),
        (["../x", "--", "cat"], "invalid-profile-name"),
        (["-", "--", "cat"], "invalid-profile-name"),
        (["x"], "no-command"),
        (["x", "--"], "no-command"),
        (["x", "--", "cat", "\udcff"], "not-text"),
    ],
    ids=lambda value: ascii(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_a_profile_is_not_written(
    words: list[str], code: str, project: Path, own_home: Path, capsys: Out
) -> None:
    assert main(["profile", "new", *words]) == 2
    assert code in capsys.readouterr().err
    assert not own(own_home).exists() or not list(own(own_home).iterdir())


def test_a_credential_in_the_command_is_told_and_the_file_is_the_users_alone(
    project: Path, capsys: Out
) -> None:
    assert main(["profile", "new", "--", "npx", "some-mcp", "--api-key", "k9Jd82hVq0Lm4xTz71Rb5nWy"]) == 0
    told = capsys.readouterr()
    assert "warning: plain-secret" in told.err
    assert "k9Jd82" not in told.err + told.out
    path = Path(told.out.splitlines()[0].removeprefix("wrote "))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_projects_own_is_written_there_and_asks_for_trust(project: Path, capsys: Out) -> None:
    assert main(["profile", "new", "--project", "ours", "--", "npx", "some-mcp"]) == 0
    assert "mcp-sandbox trust" in capsys.readouterr().out
    assert (project / ".mcp-sandbox/ours.toml").exists()
    assert main(["run", "--profile", "ours"]) == 2


def test_a_projects_folder_that_is_a_link_is_not_followed(project: Path, own_home: Path, capsys: Out) -> None:
    own(own_home).mkdir(parents=True)
    (project / ".mcp-sandbox").symlink_to(own(own_home))
    assert main(["profile", "new", "--project", "ours", "--", "npx", "some-mcp"]) == 2
    assert "not-written" in capsys.readouterr().err
    assert list(own(own_home).iterdir()) == []
    # A user's own folder may be one: some keep their settings in a repository.
    elsewhere = own_home / "dotfiles"
    elsewhere.mkdir()
    own(own_home).rmdir()
    own(own_home).symlink_to(elsewhere)
    new(capsys, "ours", "--", "npx", "some-mcp")
    assert (elsewhere / "ours.toml").exists()


WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@given(WORDS)
def test_a_string_reads_back_as_it_was(value: str) -> None:
    assert tomllib.loads(f"x = {quoted(value)}")["x"] == value
    assert quoted(value).isprintable()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(WORDS, max_size=3))
def test_no_word_of_a_command_becomes_a_line_of_the_profile(command: list[str], paths: list[str]) -> None:
    made = tomllib.loads(text(Start("n", tuple(command), "base", "the server", paths=tuple(paths))))
    assert set(made) == {"schema", "extends", "description", "server", "files", "network", "env"}
    assert made["server"] == {"command": command}
    assert made["files"] == made["network"] == made["env"] == {}
