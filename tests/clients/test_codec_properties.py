"""What holds for every file: it means what other parsers say, and an edit changes what it is about."""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Callable

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sandbox.clients import codec, shapes
from sandbox.clients.codec import Document
from sandbox.clients.table import row
from sandbox.clients.tree import same
from sandbox.clients.words import ConfigError, Edit, Entry, Row
from tests.clients.written import TEXT, Written, in_json, in_toml, in_yaml

PROGRAM = "/home/me/.local/bin/mcp-sandbox"
ANY = st.one_of(in_json(), in_toml(), in_yaml())
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(FEW, max_examples=1500)


def client(written: Written) -> Row:
    found = row(written.row)
    assert found
    return found


def read(written: Written) -> Document:
    return codec.parse(written.text.encode(), written.format)


def wrapped(entry: Entry) -> list[Edit]:
    return shapes.started_by(entry, PROGRAM, ["run", "--name", entry.name, "--", entry.command, *entry.args])


def unwrapped(entry: Entry, before: Entry) -> list[Edit]:
    return shapes.started_by(entry, before.command, before.args if before.args_given else None)


def _means_what_was_written(written: Written) -> None:
    # A dict compares without order: TOML's inner tables stand below what was written before them.
    assert read(written).data() == written.data
    assert json.dumps(read(written).data(), sort_keys=True) == json.dumps(written.data, sort_keys=True)


def _means_what_other_parsers_say(written: Written) -> None:
    if written.format == "toml":
        text = written.text.replace("\r\n", "\n")  # which of them stands in a string is the parser's choice
        assert read(written).data() == tomllib.loads(text) == tomlkit.parse(text).unwrap()
    # Surrogates in pairs, as JSON escapes them, are joined by us and not by that loader.
    if written.format == "yaml" and "\\ud" not in written.text:
        assert read(written).data() == YAML(typ="safe", pure=True).load(io.StringIO(written.text))


def _entries_are_the_servers_in_order(written: Written) -> None:
    entries = read(written).entries(client(written))
    for entry, server in zip(entries, written.servers, strict=True):
        assert (entry.name, entry.command) == (server.name, server.command)
        assert list(entry.args) == (server.args or [])
        assert dict(entry.env) == server.env
        assert entry.args_given == (server.args is not None or written.row == "opencode")
        assert not entry.faults


def _edited_means_the_edit_and_taking_it_back_gives_the_bytes(written: Written) -> None:
    document = read(written)
    before = document.entries(client(written))
    content = document.edited([edit for entry in before for edit in wrapped(entry)])
    after = codec.parse(content, written.format)
    now = after.entries(client(written))
    for old, entry in zip(before, now, strict=True):
        assert entry.command == PROGRAM
        assert entry.args == ("run", "--name", old.name, "--", old.command, *old.args)
        assert (entry.env, entry.extra) == (old.env, old.extra)
    pairs = zip(now, before, strict=True)
    restored = codec.parse(after.edited([edit for one in pairs for edit in unwrapped(*one)]), written.format)
    assert same(restored.data(), document.data())
    # How a command is quoted is the one thing that may have changed.
    assert _with_one_command(restored, client(written)) == _with_one_command(document, client(written))


def _with_one_command(document: Document, row: Row) -> bytes:
    edits = [shapes.started_by(one, "/the/same/one", None)[0] for one in document.entries(row)]
    return document.edited(edits).replace(b"'/the/same/one'", b'"/the/same/one"')


def _other_servers_stay(written: Written) -> None:
    document = read(written)
    first, *others = document.entries(client(written))
    after = codec.parse(document.edited(wrapped(first)), written.format)
    assert after.entries(client(written))[1:] == others


def _nothing_new_changes_nothing(written: Written) -> None:
    document = read(written)
    unchanged = [edit for entry in document.entries(client(written)) for edit in unwrapped(entry, entry)]
    assert document.edited([]) == document.edited(unchanged) == document.content


LAWS = [
    pytest.param(law, id=law.__name__.strip("_").replace("_", " "))
    for law in (
        _means_what_was_written,
        _means_what_other_parsers_say,
        _entries_are_the_servers_in_order,
        _edited_means_the_edit_and_taking_it_back_gives_the_bytes,
        _other_servers_stay,
        _nothing_new_changes_nothing,
    )
]


@pytest.mark.parametrize("law", LAWS)
@FEW
@given(written=ANY)
def test_it_holds(law: Callable[[Written], None], written: Written) -> None:
    law(written)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("law", LAWS)
@MANY
@given(written=ANY)
def test_it_holds_for_many(law: Callable[[Written], None], written: Written) -> None:
    law(written)


@settings(FEW, max_examples=40)
@given(ANY, st.lists(TEXT, max_size=5), TEXT)
def test_any_command_and_arguments_can_be_written(written: Written, args: list[str], command: str) -> None:
    document = read(written)
    entry = document.entries(client(written))[0]
    content = document.edited(shapes.started_by(entry, command, args))
    after = codec.parse(content, written.format).entries(client(written))[0]
    assert (after.command, list(after.args)) == (command, args)


# --- hostile -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["json", "toml", "yaml"])
@settings(FEW, max_examples=60)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_document_or_a_clear_error(format: str, content: bytes) -> None:
    _tried(content, format)


@pytest.mark.parametrize("format", ["json", "toml", "yaml"])
@settings(FEW, max_examples=100)
@given(content=st.text("{}[]\"':,=#-\n\r\t \\/*&!|>%@.0e1atrufsn<~_?", max_size=40))
def test_any_punctuation_is_a_document_or_a_clear_error(format: str, content: str) -> None:
    _tried(content.encode(), format)


@settings(FEW, max_examples=80)
@given(ANY, st.data())
def test_a_damaged_file_is_edited_rightly_or_not_at_all(written: Written, data: st.DataObject) -> None:
    _damaged(written, data)


@pytest.mark.long
@pytest.mark.timeout(900)
@settings(MANY, max_examples=8000)
@given(ANY, st.data())
def test_many_damaged_files_are_edited_rightly_or_not_at_all(written: Written, data: st.DataObject) -> None:
    _damaged(written, data)


def _damaged(written: Written, data: st.DataObject) -> None:
    content = bytearray(written.text.encode())
    at = data.draw(st.integers(0, max(0, len(content) - 1)))
    piece = st.sampled_from(
        [b"", b'"', b"}", b"]", b"\n", b" ", b"-", b":", b"#", b"*a", b"&a ", b"|", b"\t"]
    )
    content[at : at + data.draw(st.integers(0, 3))] = data.draw(piece)
    document = _tried(bytes(content), written.format)
    if document is None:
        return
    try:
        before = document.entries(client(written))
        edited = document.edited([edit for one in before if not one.faults for edit in wrapped(one)])
    except ConfigError as error:
        return _names_the_file(error)
    after = codec.parse(edited, written.format).entries(client(written))
    assert [one.name for one in after] == [one.name for one in before]
    for old, entry in zip(before, after, strict=True):
        assert entry == old if old.faults else entry.args[-len(old.args) :] == old.args or not old.args


def _tried(content: bytes, format: str) -> Document | None:
    try:
        document = codec.parse(content, format)
    except ConfigError as error:
        _names_the_file(error)
        return None
    assert same(document.data(), codec.parse(content, format).data())
    return document


def _names_the_file(error: ConfigError) -> None:
    assert error.what.startswith("the file")
