"""The line of every key, whatever the layout."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.policy.positions import nearest, positions

LAYOUTS = [
    pytest.param("a = 1\n\nb = 2\n", {("a",): 1, ("b",): 3}, id="plain keys"),
    pytest.param("[a]\nb.c = 1\n", {("a",): 1, ("a", "b"): 2, ("a", "b", "c"): 2}, id="dotted key"),
    pytest.param("# x = 1\n[ a . 'b c' ]\nd = 1", {("a", "b c", "d"): 3}, id="quoted part of a header"),
    pytest.param('"a.b" = 1\n"q\\"" = 2', {("a.b",): 1, ('q"',): 2}, id="quoted keys with dots and quotes"),
    pytest.param('"\\u0061" = 1\n', {("a",): 1}, id="escaped key"),
    pytest.param(
        "l = [\n 1, # one ] \n 2,\n]\nz=1", {("l", 0): 2, ("l", 1): 3, ("z",): 5}, id="array over lines"
    ),
    pytest.param(
        "t = { a = 1, b = { c = [1] } }\nz=1", {("t", "b", "c", 0): 1, ("z",): 2}, id="inline table"
    ),
    pytest.param('s = """\n[not]\nx = 1\n"""\nz = 1', {("z",): 5}, id="header inside a multi-line string"),
    pytest.param("s = '''a'''''\nz = 1", {("z",): 2}, id="multi-line string that ends in quotes"),
    pytest.param('s = "a\\"]#=" # c\nz = 1', {("z",): 2}, id="escaped quote and punctuation in a string"),
    pytest.param("s = 'C:\\'\nz = 1", {("z",): 2}, id="backslash ends a literal string"),
    pytest.param(
        "[[a]]\nb=1\n[[a]]\nb=2\n[a.c]\nd=1", {("a", 1, "b"): 4, ("a", 1, "c", "d"): 6}, id="tables"
    ),
    pytest.param("a = 1\r\nb = 2\r\n", {("a",): 1, ("b",): 2}, id="CRLF"),
    pytest.param("d = 2026-11-22 10:00:00Z\nz = nan", {("z",): 2}, id="dates and specials"),
    pytest.param("[a.b]\nx=1\n[a]\ny=1", {("a",): 1, ("a", "y"): 4}, id="child table before its parent"),
    pytest.param(
        "a = []\nb = {}\nc = [[], [1]]\n", {("a",): 1, ("b",): 2, ("c", 1, 0): 3}, id="empty values"
    ),
]


@pytest.mark.parametrize(("text", "expected"), LAYOUTS)
def test_finds_the_line_of_every_key(text: str, expected: dict) -> None:
    tomllib.loads(text)
    found = positions(text)
    assert {path: found.get(path) for path in expected} == expected


def _paths(value: object, at: tuple = ()) -> set:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {at} | {path for key, one in items for path in _paths(one, (*at, key))}


@pytest.mark.parametrize("text", [layout.values[0] for layout in LAYOUTS])
def test_knows_exactly_the_paths_the_parser_knows(text: str) -> None:
    assert set(positions(text)) == _paths(tomllib.loads(text)) - {()}


def test_falls_back_to_the_table_around_a_missing_key() -> None:
    lines = positions("[quota]\npids = 1\n")
    assert nearest(lines, ("quota", "memory")) == 1
    assert nearest(lines, ("files", "read", 0)) == 0


@given(st.text(alphabet="ab.=[]{}\"'#\n\\, 1", max_size=40))
def test_any_document_that_parses_is_scanned_to_the_end(text: str) -> None:
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(positions(text)) == _paths(parsed) - {()}
