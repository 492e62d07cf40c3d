"""What an edit leaves alone, case by case, and what is refused with its place and a way out."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sandbox.clients import codec
from sandbox.clients.codec import MAX_BYTES, MAX_BYTES_OF
from sandbox.clients.table import row
from sandbox.clients.tree import MAX_DEPTH, MAX_VALUES
from sandbox.clients.words import REMOVED, ConfigError, Edit

COMMAND = Edit(("s", "command"), "X")
ARGS = Edit(("s", "args"), ["run", "--", "a"], after="command")


def edited(format: str, text: str, *edits: Edit) -> str:
    return codec.parse(text.encode(), format).edited(edits).decode()


@pytest.mark.parametrize(
    ("format", "before", "edits", "after"),
    [
        pytest.param(
            "json", '{"s":{"command":"a"}}', [COMMAND, ARGS],
            '{"s":{"command":"X","args":["run", "--", "a"]}}', id="json written tightly",
        ),
        pytest.param(
            "json", '{ "s": { "command": "a", "z": 1 } }', [COMMAND, ARGS],
            '{ "s": { "command": "X", "args": ["run", "--", "a"], "z": 1 } }', id="json on one line",
        ),
        pytest.param(
            "json", '{"s": {\n\t"z": 1,\n\t"command": "a" // why\n}}', [ARGS],
            '{"s": {\n\t"z": 1,\n\t"command": "a",\n\t"args": ["run", "--", "a"] // why\n}}',
            id="json behind the last member, whose comment stays",
        ),
        pytest.param(
            "json", '{"s": {"args": [\r\n    "a",\r\n  ]}}', [ARGS],
            '{"s": {"args": [\r\n    "run",\r\n    "--",\r\n    "a",\r\n  ]}}',
            id="json list with a line an item, CRLF and a trailing comma",
        ),
        pytest.param(
            "json", '{"s": {"args": [ /* none */ ]}}', [Edit(("s", "args"), ["a"])],
            '{"s": {"args": ["a" /* none */ ]}}', id="json list with a comment alone",
        ),
        pytest.param(
            "json", '{"s": {"args": ["a", "b", /* c */ "c",]}}', [Edit(("s", "args"), [])],
            '{"s": {"args": []}}', id="json list emptied, its trailing comma too",
        ),
        pytest.param(
            "json", '{"s": {"args": ["a", "b" /* b */, "c"]}}', [Edit(("s", "args"), ["c"])],
            '{"s": {"args": ["c"]}}', id="json list without its first items",
        ),
        pytest.param(
            "json", '{"s": {"a": 1, /* x */ "b": 2}}', [Edit(("s", "b"), REMOVED)],
            '{"s": {"a": 1}}', id="json member removed with its comma",
        ),
        pytest.param(
            "json", '{"s": {"a": 1, /* x */ "b": 2}}', [Edit(("s", "a"), REMOVED)],
            '{"s": {"b": 2}}', id="json first member removed",
        ),
        pytest.param(
            "json", '{"s": {"a": 1 /* x, */, // y\n}}', [Edit(("s", "a"), REMOVED)],
            '{"s": { /* x, */ // y\n}}', id="json only member removed, not the comments",
        ),
        pytest.param(
            "json", '{"s": {"command": null}}', [Edit(("s", "command"), 'a\n"\x7f\u2028\U0001f600')],
            '{"s": {"command": "a\\n\\"\\u007f\\u2028\U0001f600"}}', id="json what must be escaped",
        ),
        pytest.param(
            "json", "\ufeff{\n}", [Edit(("s",), 1)], '\ufeff{"s": 1\n}', id="json behind a byte order mark",
        ),
        pytest.param(
            "toml", "[s] # it\r\n  command = 'a'  # b\r\n\r\n[t]\r\n", [COMMAND, ARGS],
            "[s] # it\r\n  command = 'X'  # b\r\n  args = [\"run\", \"--\", \"a\"]\r\n\r\n[t]\r\n",
            id="toml table with CRLF and indentation",
        ),
        pytest.param(
            "toml", 's.command = "a"', [ARGS],
            's.command = "a"\ns.args = ["run", "--", "a"]', id="toml dotted, no newline at the end",
        ),
        pytest.param(
            "toml", "s = {command='a',z=1}\n", [COMMAND, ARGS],
            "s = {command='X',args=[\"run\", \"--\", \"a\"],z=1}\n", id="toml inline table written tightly",
        ),
        pytest.param(
            "toml", 's = { command = "a" }', [ARGS],
            's = { command = "a", args = ["run", "--", "a"] }', id="toml inline table",
        ),
        pytest.param(
            "toml", "[s]\nargs = [ # first\n  'a', # second\n]\n", [ARGS],
            "[s]\nargs = [ # first\n  \"run\",\n  \"--\",\n  'a', # second\n]\n", id="toml list over lines",
        ),
        pytest.param(
            "toml", '[s]\ncommand = """\na""" # x\n', [COMMAND],
            '[s]\ncommand = "X" # x\n', id="toml string over lines replaced",
        ),
        pytest.param(
            "toml", "a = 1\n[s]\n# x\ncommand = 'a'\nargs = []\n", [Edit(("s", "args"), REMOVED)],
            "a = 1\n[s]\n# x\ncommand = 'a'\n", id="toml line removed",
        ),
        pytest.param(
            "toml", "args = []\nb = 1\n", [Edit(("args",), REMOVED)], "b = 1\n", id="toml first line removed",
        ),
        pytest.param(
            "toml", "[s]\ncommand = ''''a'''''\n", [COMMAND],
            '[s]\ncommand = "X"\n', id="toml quotes within quotes",
        ),
        pytest.param(
            "yaml", "s:\n  command: a # b\n  z: 1\n", [COMMAND, ARGS],
            's:\n  command: X # b\n  args: ["run", "--", "a"]\n  z: 1\n', id="yaml block",
        ),
        pytest.param(
            "yaml", "s: {command: a, z: 1}\n", [COMMAND, ARGS],
            's: {command: X, args: ["run", "--", "a"], z: 1}\n', id="yaml between brackets",
        ),
        pytest.param(
            "yaml", "s:\r\n    args:\r\n    # why\r\n    - a # b\r\n    z: 1", [ARGS],
            's:\r\n    args:\r\n    # why\r\n    - run\r\n    - "--"\r\n    - a # b\r\n    z: 1',
            id="yaml list at its key's indentation, CRLF, comments",
        ),
        pytest.param(
            "yaml", "s:\n  args:\n    - 'a'\n", [Edit(("s", "args"), ["a", "it's"])],
            "s:\n  args:\n    - 'a'\n    - 'it''s'\n", id="yaml list grows at its end in its own quotes",
        ),
        pytest.param(
            "yaml", "s:\n  args:\n  - a\n  - b\nt: 1\n", [Edit(("s", "args"), [])],
            "s:\n  args: []\nt: 1\n", id="yaml list emptied",
        ),
        pytest.param(
            "yaml", "s:\n  command:\n  args:\n", [COMMAND, Edit(("s", "args"), ["a"])],
            's:\n  command: X\n  args: ["a"]\n', id="yaml values that were empty",
        ),
        pytest.param(
            "yaml", "s:\n  command: |\n    a\n\n  z: 1\n", [COMMAND],
            "s:\n  command: X\n\n  z: 1\n", id="yaml block scalar replaced",
        ),
        pytest.param(
            "yaml", "s:\n  command: a\n  args:\n  - x # y\n\n# z\n", [Edit(("s", "args"), REMOVED)],
            "s:\n  command: a\n\n# z\n", id="yaml member removed with its lines",
        ),
        pytest.param(
            "yaml", "s:\n  - name: n\n    command: a\n", [Edit(("s", 0, "args"), ["b"], after="command")],
            's:\n  - name: n\n    command: a\n    args: ["b"]\n', id="yaml list of servers",
        ),
    ],
)  # fmt: skip
def test_an_edit_touches_what_it_is_about(format: str, before: str, edits: list[Edit], after: str) -> None:
    assert edited(format, before, *edits) == after


@pytest.mark.parametrize(
    ("format", "text", "edit"),
    [
        pytest.param("json", '{"s": 1}', Edit(("s", "command"), "a"), id="a number has no members"),
        pytest.param("json", '{"s": {}}', Edit(("t", "command"), "a"), id="what it belongs to is gone"),
        pytest.param("json", "", Edit(("s",), "a"), id="an empty file"),
        pytest.param("json", '{"s": [1]}', Edit(("s", 0), REMOVED), id="an item is not taken away"),
        pytest.param("toml", "[s]\na = 1\n", Edit(("s", "b"), None, "a"), id="toml has no null"),
        pytest.param(
            "toml", "[s]\na = 1\n", Edit(("s", "b"), "\ud800", "a"), id="toml has no half character"
        ),
        pytest.param("toml", "[s.env]\na = 1\n", Edit(("s", "command"), "x"), id="no line to write behind"),
        pytest.param("toml", "[s]\na = 1\n", Edit(("s",), REMOVED), id="a whole table"),
        pytest.param(
            "yaml", "x: &x {command: a}\ns: *x\n", Edit(("s", "command"), "b"), id="behind an alias"
        ),
        pytest.param("yaml", "s: {command: &x a}\nt: *x\n", Edit(("s", "command"), "b"), id="used elsewhere"),
        pytest.param(
            "yaml", "s:\n  - # why\n    a\n", Edit(("s",), ["b", "a"]), id="a comment behind the dash"
        ),
        pytest.param(
            "yaml", "s:\n  command:\n    - a\n", Edit(("s", "command"), "b"), id="a block for a value"
        ),
        pytest.param("yaml", "? s\n: 1\n", Edit(("t",), "b", "s"), id="a key with a question mark"),
    ],
)
def test_what_cannot_be_edited_safely_is_not(format: str, text: str, edit: Edit) -> None:
    with pytest.raises(ConfigError) as raised:
        edited(format, text, edit)
    assert raised.value.code == "config-not-editable"
    assert "the file:" in raised.value.what
    assert raised.value.hint


@pytest.mark.parametrize(
    ("format", "text", "where", "what"),
    [
        pytest.param("json", '{\n "a": 1\n "b": 2}', "2:8", "comma is missing", id="a comma is missing"),
        pytest.param("json", '{"a": }', "1:7", "value is missing", id="a value is missing"),
        pytest.param("json", '{"a": [1,,2]}', "1:10", "value is missing", id="two commas"),
        pytest.param("json", '{"a" 1}', "1:6", "colon", id="no colon"),
        pytest.param("json", '{a: 1}', "1:2", "without quotes", id="a name without quotes"),
        pytest.param("json", '{"a": NaN}', "1:7", "no JSON value", id="not a number"),
        pytest.param("json", '{"a": 01}', "1:7", "no JSON value", id="a leading zero"),
        pytest.param("json", '{"a": "b\n"}', "1:7", "does not end", id="a line break in a string"),
        pytest.param("json", '{"a": "\\x"}', "1:7", "escape", id="an escape of another language"),
        pytest.param("json", '{"a": 1} x', "1:10", "follows the end", id="something behind the end"),
        pytest.param("json", '{"a": 1 /* x', "1:9", "comment", id="an open comment"),
        pytest.param("json", '{"a": 1', "1:8", "too early", id="cut off"),
        pytest.param("json", "{" * 150, "1:2", "without quotes", id="brackets alone"),
        pytest.param("json", '{"a":' * 150, "1:501", "nested deeper", id="json nested too deep"),
        pytest.param("json", "[" * 100_000, "1:101", "nested deeper", id="json lists nested too deep"),
        pytest.param("toml", "a = 1\na = 2\n", "2:6", "not TOML", id="toml a key twice"),
        pytest.param("toml", "a = \n", "1:5", "not TOML", id="toml no value"),
        pytest.param("toml", "a = " + "[" * 100_000, "1:1", "nested deeper", id="toml nested too deep"),
        pytest.param("toml", "a" + ".a" * 200_000 + " = 1", "1:1", "parts", id="toml a key of many parts"),
        pytest.param("toml", 'x = 1\n"a"' + '."a"' * 200 + " = 1", "2:1", "parts", id="toml quoted parts"),
        pytest.param("toml", "a = " + "1" * 5000, "1:5005", "too long", id="toml a long number"),
        pytest.param("yaml", "a: [1\nb: 2\n", "2:2", "not YAML", id="yaml an open bracket"),
        pytest.param("yaml", "a: 1\n---\nb: 2\n", "2:1", "more than one document", id="yaml two documents"),
        pytest.param("yaml", "a: *b\n", "1:4", "alias", id="yaml an alias of nothing"),
        pytest.param("yaml", "a: &a [*a]\n", "1:8", "alias", id="yaml an alias of itself"),
        pytest.param("yaml", "[1]: 2\n", "1:1", "not text", id="yaml a list as a key"),
        pytest.param("yaml", "a: \x01\n", "1:4", "character", id="yaml a control character"),
        pytest.param("json", '{} // a\r{}', "1:8", "line break", id="json a comment that ends for some"),
        pytest.param("json", '{} // a\u2028{}', "1:8", "line break", id="json a separator in a comment"),
        pytest.param("yaml", "a: 1 # x\rb: 2\n", "1:9", "line break", id="yaml a comment that ends for some"),
        pytest.param("yaml", "a: 'x\x85b'\n", "1:6", "line break", id="yaml a break of 1.1"),
        pytest.param("yaml", "[" * 10_000, "1:101", "nested deeper", id="yaml nested too deep"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_named_by_line_and_column(format: str, text: str, where: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as raised:
        codec.parse(text.encode(), format)
    assert raised.value.code == "config-malformed"
    assert raised.value.what.startswith(f"the file:{where}:")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        pytest.param(b'{\n"\xff": 1}', "the file:2:", id="no UTF-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), "UTF-16", id="UTF-16 with a mark"),
        pytest.param('{"a": 1}'.encode("utf-16-le"), "UTF-16", id="UTF-16 without one"),
        pytest.param('{"a": 1}'.encode("utf-32"), "UTF-16", id="UTF-32"),
        pytest.param(b"\xed\xa0\x80", "the file:1:", id="half a surrogate pair"),
    ],
)
def test_another_encoding_is_refused(content: bytes, line: str) -> None:
    with pytest.raises(ConfigError, match=line) as raised:
        codec.parse(content, "json")
    assert raised.value.code == "config-encoding"
    assert raised.value.hint == "save it as UTF-8"


# --- size ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["json", "jsonc", "toml", "yaml"])
def test_a_file_of_more_than_its_limit_is_refused_before_it_is_parsed(format: str) -> None:
    limit = MAX_BYTES_OF.get(format, MAX_BYTES)
    with pytest.raises(ConfigError, match="are not read"):
        codec.parse(b" " * (limit + 1), format)


def test_more_values_than_an_editor_writes_are_refused() -> None:
    with pytest.raises(ConfigError, match=f"more than {MAX_VALUES} values"):
        codec.parse(b"[" + b"0," * MAX_VALUES + b"0]", "json")


def _laughs(deep: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, deep)]
    return "\n".join(lines)


def test_an_alias_costs_what_it_stands_for() -> None:
    assert codec.parse(_laughs(3).encode(), "yaml").data()["a2"][9][9][9] == "x"
    with pytest.raises(ConfigError, match="more than"):
        codec.parse(_laughs(9).encode(), "yaml")


def test_a_chain_of_aliases_is_as_deep_as_it_reads() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, MAX_DEPTH + 10))
    with pytest.raises(ConfigError, match="nested deeper"):
        codec.parse(chain.encode(), "yaml")


@pytest.mark.parametrize(
    ("format", "unit", "seconds"),
    [
        pytest.param("json", '"k%d": {"text": "' + "x" * 3600 + '"},\n', 6, id="json"),
        pytest.param("toml", 'k%d = { text = "' + "x" * 900 + '" }\n', 6, id="toml"),
        pytest.param("yaml", "k%d: {text: '" + "x" * 900 + "'}\n", 6, id="yaml"),
    ],
)
def test_a_file_of_nearly_its_limit_is_read_and_edited(format: str, unit: str, seconds: float) -> None:
    size = MAX_BYTES_OF.get(format, MAX_BYTES)
    lines = "".join(unit % n for n in range(size // (len(unit) + 4)))
    text = {"json": '{"s": {"command": "a"},\n' + lines + "}"}.get(format, "")
    text = text or ({"toml": lines + '[s]\ncommand = "a"\n', "yaml": "s:\n  command: a\n" + lines}[format])
    start = time.process_time()
    after = codec.parse(text.encode(), format).edited([COMMAND, ARGS])
    assert time.process_time() - start < seconds
    assert 25 < len(after) - len(text.encode()) < 30


HOSTILE: list[Any] = [
    pytest.param("json", '{"a": ' + "/" * 500_000, id="json slashes"),
    pytest.param("json", "/*" * 500_000, id="json open comments"),
    pytest.param("json", '"' + "\\" * 1_000_001, id="json backslashes"),
    pytest.param("json", "[" + '"a" ' * 200_000, id="json no commas"),
    pytest.param("json", "[" + "1" * 1_000_000 + "]", id="json a long number"),
    pytest.param("json", " \n" * 1_000_000, id="json white space"),
    pytest.param("toml", "a-" * 400_000, id="toml a long key"),
    pytest.param("toml", '"' * 500_000, id="toml quotes"),
    pytest.param("toml", "[a]\n" + "[a.b.c.d.e.f]\n" * 3, id="toml a table twice"),
    pytest.param("toml", "a." * 400_000, id="toml dots"),
    pytest.param("toml", '"a" .' * 150_000, id="toml quoted dots"),
    pytest.param("yaml", "a: " * 50_000, id="yaml colons"),
    pytest.param("yaml", "- " * 100_000, id="yaml dashes"),
    pytest.param("yaml", "? " * 100_000, id="yaml question marks"),
    pytest.param("yaml", "&a " * 50_000, id="yaml anchors"),
    pytest.param("yaml", "{" * 100_000, id="yaml braces"),
    pytest.param("yaml", "!" * 200_000, id="yaml tags"),
    pytest.param("yaml", "a: |\n" + " \n" * 100_000, id="yaml blank lines"),
    pytest.param("yaml", "'" * 200_000, id="yaml quotes"),
]


@pytest.mark.parametrize(("format", "text"), HOSTILE)
def test_no_text_takes_long(format: str, text: str) -> None:
    start = time.process_time()
    try:
        codec.parse(text.encode(), format)
    except ConfigError:
        pass
    assert time.process_time() - start < 4


# --- the same name twice ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"mcpServers": {}, "mcpServers": {}}', id="the key"),
        pytest.param('{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', id="a server"),
        pytest.param('{"mcpServers": {"a": {"command": "x", "command": "y"}}}', id="a command"),
        pytest.param('{"mcpServers": {"a": {"env": {"A": "", "\\u0041": ""}}}}', id="a variable, escaped"),
        pytest.param('{"projects": {"/p": {}, "/p": {}}}', id="a project"),
        pytest.param('{"projects": {}, "projects": {}}', id="projects"),
    ],
)
def test_what_clients_read_differently_is_refused(text: str) -> None:
    found = row("claude-code")
    assert found
    with pytest.raises(ConfigError, match="twice") as raised:
        codec.parse(text.encode(), "json").entries(found)
    assert raised.value.code == "config-duplicate-key"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("b: &b\n  git: {cmd: x}\nextensions:\n  <<: *b\n", id="servers"),
        pytest.param("b: &b\n  extensions: {git: {cmd: x}}\n<<: *b\n", id="the key"),
    ],
)
def test_servers_that_only_some_clients_merge_in_are_told(text: str) -> None:
    found = row("goose")
    assert found
    with pytest.raises(ConfigError, match="<<") as raised:
        codec.parse(text.encode(), "yaml").entries(found)
    assert raised.value.code == "config-merge"


def test_odd_line_breaks_outside_of_comments_are_white_space_or_text() -> None:
    assert codec.parse('{"a":\r"\u2028" /* x */ }'.encode(), "json").data() == {"a": "\u2028"}


def test_a_name_twice_in_what_is_not_ours_stays_as_it_is() -> None:
    text = '{"editor": {"size": 1, "size": 2}, "s": {"command": "a"}}'
    assert edited("json", text, COMMAND) == text.replace('"a"', '"X"')


def test_lines_are_those_of_the_file() -> None:
    document = codec.parse(b'{\n "a": {\r\n  "b": [1,\n 2]}}', "json")
    assert [document.line(path) for path in ((), ("a",), ("a", "b"), ("a", "b", 1), ("a", "c"))] == [
        1,
        2,
        3,
        4,
        2,
    ]


OBJECTS = [
    pytest.param("json", '{"x": 0, "s": {"a": 1, "b": 2, "c": 3}}\n', id="json"),
    pytest.param("jsonc", '{"s": {\n  "a": 1,\n  "b": 2, // two\n  "c": 3,\n}}\n', id="jsonc"),
    pytest.param("toml", "s = { a = 1, b = 2, c = 3 }\n", id="toml inline"),
    pytest.param("toml", "[s]\na = 1\nb = 2\nc = 3\n", id="toml"),
    pytest.param("yaml", "s: {a: 1, b: 2, c: 3}\n", id="yaml flow"),
    pytest.param("yaml", "s:\n  a: 1\n  b: 2\n  c: 3\nx: 0\n", id="yaml"),
]


@pytest.mark.parametrize(("format", "text"), OBJECTS)
def test_any_members_go_together_and_come_back(format: str, text: str) -> None:
    whole = codec.parse(text.encode(), format)
    for gone in ("a", "b", "c", "ab", "bc", "ac", "abc"):
        left = codec.parse(whole.edited([Edit(("s", name), REMOVED) for name in gone]), format)
        assert left.data()["s"] == {name: at for at, name in enumerate("abc", 1) if name not in gone}
        before = ["", *gone]
        back = [Edit(("s", name), "abc".index(name) + 1, after=before[n]) for n, name in enumerate(gone)]
        assert codec.parse(left.edited(back), format).data() == whole.data()
