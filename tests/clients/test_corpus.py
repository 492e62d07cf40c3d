"""Every file of the corpus is found, read, edited and put back, and what is wrong is named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from sandbox.clients import codec, shapes
from sandbox.clients.codec import Document
from sandbox.clients.find import content, find
from sandbox.clients.table import ROWS, row
from sandbox.clients.words import ConfigError, Edit, Entry, Row
from tests.clients.configs import CONFIGS, CORPUS, Config

GOOD = [pytest.param(one, id=one.id) for one in CONFIGS if not one.error]
BAD = [pytest.param(one, id=one.id) for one in CONFIGS if one.error]
PROGRAM = "/home/ada/.local/bin/mcp-sandbox"


def client(config: Config) -> Row:
    found = row(config.row)
    assert found
    return found


def document(config: Config) -> Document:
    return codec.parse(config.content, config.format, config.id)


def started(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.kind == "stdio" and entry.command and not entry.faults]


def wrapped(entry: Entry) -> list[Edit]:
    return shapes.started_by(entry, PROGRAM, ["run", "--name", "x", "--", entry.command, *entry.args])


def test_every_client_has_a_file_and_every_file_is_told() -> None:
    assert {config.row for config in CONFIGS} == {one.id for one in ROWS}
    assert {config.id for config in CONFIGS} == {
        path.relative_to(CORPUS).as_posix() for path in CORPUS.rglob("*") if path.is_file()
    }
    assert len(CONFIGS) >= 60


@pytest.mark.parametrize("config", GOOD)
def test_its_servers_are_read(config: Config) -> None:
    entries = document(config).entries(client(config))
    assert tuple(entry.name for entry in entries) == config.servers
    assert not [entry.faults for entry in entries if entry.faults]
    for entry in entries:
        assert bool(entry.command) == (entry.kind == "stdio")
        assert bool(entry.url) == (entry.kind in ("http", "sse"))


@pytest.mark.parametrize("config", GOOD)
def test_wrapped_and_put_back_by_edits_it_has_the_same_bytes(config: Config) -> None:
    before = started(document(config).entries(client(config)))
    content = document(config).edited([edit for entry in before for edit in wrapped(entry)])
    assert (content == config.content) == (not before)
    after = codec.parse(content, config.format)
    now = [entry for entry in after.entries(client(config)) if entry.command == PROGRAM]
    assert len(now) == len(before)
    back = [
        edit
        for entry, old in zip(now, before, strict=True)
        for edit in shapes.started_by(entry, old.command, old.args if old.args_given else None)
    ]
    assert after.edited(back) == config.content


@pytest.mark.parametrize("config", GOOD)
def test_all_lines_that_hold_no_command_stay(config: Config) -> None:
    before = document(config)
    for entry in started(before.entries(client(config))):
        kept = config.content.splitlines(keepends=True)
        lines = before.edited(wrapped(entry)).splitlines(keepends=True)
        changed = SequenceMatcher(None, kept, lines, autojunk=False).get_opcodes()
        # The command's line and that of its arguments, which may be one, or begin on one and end on another.
        assert sum(end - start for kind, start, end, _, _ in changed if kind != "equal") <= 2


@pytest.mark.parametrize("config", BAD)
def test_what_is_wrong_is_named_with_file_line_and_a_fix(config: Config) -> None:
    with pytest.raises(ConfigError) as raised:
        document(config).entries(client(config))
    assert raised.value.code == config.error
    assert raised.value.what.startswith(config.id)
    assert raised.value.hint or config.format in ("toml", "yaml")


# --- on a machine ----------------------------------------------------------------------------------------


def put(config: Config, home: Path, project: Path) -> Path:
    """The file where its client looks for it, on a machine of its system."""
    roaming, local = home / "AppData" / "Roaming", home / "AppData" / "Local"
    place = config.place.replace("{appdata}", str(roaming)).replace("{localappdata}", str(local))
    path = home / place.removeprefix("~/") if place.startswith(("~", "/")) else project / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if config.linked:
        real = home / "dotfiles" / config.file
        real.parent.mkdir()
        path.symlink_to(real)
        path = real
    path.write_bytes(config.content)
    path.chmod(config.mode)
    return path


@pytest.mark.parametrize("config", [pytest.param(one, id=one.id) for one in CONFIGS])
def test_it_is_found_where_its_client_looks(config: Config, tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "home" / "work"
    (project / ".git").mkdir(parents=True)
    path = put(config, home, project)
    found = find(str(home), config.platform, {}, str(project))
    assert [(one.row.id, one.real, one.format) for one in found] == [
        (config.row, os.path.realpath(path), config.format)
    ]
    assert found[0].scope == ("user" if config.place.startswith(("~", "{")) else "project")
    assert content(found[0].real) == config.content
    assert (found[0].path != found[0].real) == config.linked
