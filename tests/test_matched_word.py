"""Whose word a match takes: never a project's own, and of the user's profiles every one or none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sandbox import matching
from sandbox.errors import ProfileError
from sandbox.supply.request import parse

FILES = "npm:@modelcontextprotocol/server-filesystem"


def test_what_a_project_brings_along_gets_no_profile_by_its_own_word(tmp_path: Path) -> None:
    """Its code would have the tokens and hosts of whom it claims to be; elsewhere it is the user's own."""
    project, other = tmp_path / "project", tmp_path / "other"
    place = project / "node_modules/@modelcontextprotocol/server-filesystem"
    for folder in (place, project / ".git", project / "src", other / ".git"):
        folder.mkdir(parents=True)
    (place / "package.json").write_text(json.dumps({"name": FILES[4:], "version": "1.0.0"}))
    (place / "index.js").write_text("")
    command = ["node", str(place / "index.js")]
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin"}
    assert matching.match(command, environ, str(project)) is None
    assert matching.match(command, environ, str(project / "src")) is None
    linked = tmp_path / "linked"
    linked.symlink_to(project)
    assert matching.match(command, environ, str(linked)) is None
    for cwd in (other, tmp_path, Path("/")):
        one = matching.match(command, environ, str(cwd))
        assert one is not None, cwd
        assert one.profile == "filesystem"


OWN = 'schema = 1\nextends = "base"\n[match]\npackages = ["{name}"]\n'


@pytest.mark.parametrize("name", [FILES, FILES.replace("@", "\\u0040")], ids=["plain", "escaped"])
def test_a_profile_of_the_users_own_comes_first(name: str, tmp_path: Path) -> None:
    folder = tmp_path / ".config/mcp-sandbox/profiles"
    folder.mkdir(parents=True)
    (folder / "strict-files.toml").write_text(OWN.format(name=name))
    one = matching.match(["npx", FILES[4:]], {"HOME": str(tmp_path)}, "/")
    assert one is not None
    assert one.profile == "strict-files"


@pytest.mark.parametrize("what", ["a pipe", "a link to nowhere", "too large"])
def test_one_that_cannot_be_read_stops_the_start(what: str, tmp_path: Path) -> None:
    """It may be the stricter one: the shipped profile would take its place without a word."""
    folder = tmp_path / ".config/mcp-sandbox/profiles"
    folder.mkdir(parents=True)
    path = folder / "strict-files.toml"
    if what == "a pipe":
        os.mkfifo(path)
    elif what == "too large":
        path.write_text(OWN.format(name=FILES) + "#" * (1 << 20))
    else:
        path.symlink_to(tmp_path / "nowhere")
    command = ["npx", FILES[4:]]
    with pytest.raises(ProfileError, match="strict-files"):
        matching.best(command, parse(command), {"HOME": str(tmp_path)}, "/")
