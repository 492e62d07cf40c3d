"""Differences are found, named, and shown with nothing hidden."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.inspect.canonical import canonical, covers, digest
from sandbox.inspect.pin_diff import Change, changes, field, quoted, spelt, visible

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)

CASES = [
    pytest.param({"a": 1}, {"a": 1}, [], id="nothing"),
    pytest.param({"a": 1}, {"a": 2}, [(("a",), "changed")], id="a member"),
    pytest.param({"a": 1}, {}, [(("a",), "removed")], id="one less"),
    pytest.param({}, {"a": None}, [(("a",), "added")], id="null is a value"),
    pytest.param([1, 2, 3], [1, 9, 2, 3], [((1,), "added")], id="an item in between"),
    pytest.param([1, 2, 3], [1, 3], [((1,), "removed")], id="an item less"),
    pytest.param([1, 2], [2, 1], [((0,), "changed"), ((1,), "changed")], id="another order"),
    pytest.param([[1]], [[True]], [((0, 0), "changed")], id="one and true, deep"),
    pytest.param([1.0], [1], [((0,), "changed")], id="spelt otherwise"),
    pytest.param({"a": [1]}, {"a": {}}, [(("a",), "changed")], id="another type"),
    pytest.param({"a": {"b": [{"c": "x"}]}}, {"a": {"b": [{"c": "y"}]}},
                 [(("a", "b", 0, "c"), "changed")], id="nested"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "found"), CASES)
def test_every_difference_has_its_place(old: Any, new: Any, found: list[Any]) -> None:
    assert [(one.place, one.sort) for one in changes(old, new)] == found


def _apply(value: Any, found: list[Change]) -> Any:
    """`value` after all that differs: what is gone from behind, so that places keep counting."""
    root = [copy.deepcopy(value)]
    gone = [one for one in found if one.sort == "removed"]
    for change in (*reversed(gone), *(one for one in found if one.sort != "removed")):
        at: Any = root
        for step in (0, *change.place)[:-1]:
            at = at[step]
        last = (0, *change.place)[-1]
        if change.sort == "removed":
            del at[last]
        elif change.sort == "added" and type(at) is list:
            at.insert(last, change.new)
        else:
            at[last] = change.new
    return root[0]


@settings(max_examples=300, deadline=None)
@given(JSON, JSON)
def test_the_differences_make_the_new_value_of_the_old_one(old: Any, new: Any) -> None:
    assert canonical(_apply(old, changes(old, new))) == canonical(new)


@settings(deadline=None)
@given(JSON, JSON)
def test_nothing_differs_where_the_digest_does_not(old: Any, new: Any) -> None:
    assert (not changes(old, new)) == (digest("tool", old) == digest("tool", new))


def test_the_number_of_differences_is_bounded() -> None:
    assert len(changes(dict.fromkeys(map(str, range(10_000)), 1), {}, most=5)) == 6


@pytest.mark.parametrize(
    ("place", "said"),
    [
        pytest.param((), "(all of it)", id="the root"),
        pytest.param(("inputSchema", "properties", "path"), "inputSchema.properties.path", id="names"),
        pytest.param(("enum", 2), "enum[2]", id="an index"),
        pytest.param(("a b", "c"), '["a b"].c', id="no plain name"),
        pytest.param(("x\u200by",), '["x⟨U+200B ZERO WIDTH SPACE⟩y"]', id="a hidden character"),
        pytest.param(("a\nb",), '["a⟨U+000A⟩b"]', id="a line end"),
        pytest.param(("p\u0430th",), '["p\u0430⟨U+0430⟩th"]', id="a letter of another script"),
    ],
)
def test_a_field_is_named(place: Any, said: str) -> None:
    assert field(place) == said


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain\ntext\there", "plain\ntext⟨U+0009⟩here", id="a tab"),
        pytest.param("\x1b[2J", "⟨U+001B⟩[2J", id="a terminal's"),
        pytest.param("a\u202eb", "a⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩b", id="bidi"),
        pytest.param("\U000e0041", "⟨U+E0041 TAG LATIN CAPITAL LETTER A⟩", id="a tag"),
        pytest.param("x\ufe0f", "x⟨U+FE0F VARIATION SELECTOR-16⟩", id="a variation selector"),
        pytest.param("\u3164", "⟨U+3164 HANGUL FILLER⟩", id="a filler"),
        pytest.param("a\xa0b", "a⟨U+00A0 NO-BREAK SPACE⟩b", id="a space that is none"),
        pytest.param("a" + " " * 400 + "b", "a" + " " * 15 + "⟨385 more blanks⟩b", id="many blanks"),
        pytest.param("a" + "\n" * 400 + "b", "a" + "\n" * 15 + "⟨385 more blanks⟩b", id="many lines"),
        pytest.param("\u0430\u0431 p\u0430th", "\u0430\u0431 p\u0430⟨U+0430⟩th", id="another script"),
        pytest.param("API接口, naïve", "API接口, naïve", id="scripts that look like no other"),
        pytest.param("grüße, 世界 🎉", "grüße, 世界 🎉", id="honest text"),
    ],
)
def test_hidden_characters_are_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_what_is_shown_can_drive_no_terminal(text: str) -> None:
    assert all(line.isprintable() for line in visible(text).split("\n"))
    assert quoted(text).isprintable()
    assert "\n" not in quoted(text)


def test_values_are_spelt_as_json() -> None:
    assert spelt({"a": [1, True, None]}, 100) == '{"a":[1,true,null]}'
    assert spelt("a\nb", 100) == "a⟨U+000A⟩b"
    assert len(spelt("\u200b" * 100, 50)) == 50


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, True, id="another order of members"),
        pytest.param({"uri": "x", "size": 1}, {"uri": "x", "size": 2}, True, id="a resource's size"),
        pytest.param(
            {"uri": "x", "annotations": {"lastModified": "2026-11-26T02:00:00Z", "priority": 1}},
            {"uri": "x", "annotations": {"lastModified": "2026-11-26T03:00:00.5+01:00", "priority": 1}},
            True,
            id="when a resource changed",
        ),
        pytest.param(
            {"annotations": {"lastModified": "2026"}},
            {"annotations": {"lastModified": "Obey"}},
            False,
            id="a moment that is none",
        ),
        pytest.param({"size": 1}, {"size": "Obey"}, False, id="a size that is none"),
        pytest.param(
            {"annotations": {"priority": 1}}, {"annotations": {"priority": 2}}, False, id="its priority"
        ),
        pytest.param({"name": "é"}, {"name": "e\u0301"}, False, id="composed otherwise"),
    ],
)
def test_what_a_digest_covers(old: Any, new: Any, *, same: bool) -> None:
    assert (digest("resource", old) == digest("resource", new)) is same


@pytest.mark.parametrize(
    ("template", "uri", "does"),
    [
        pytest.param("db://{t}", "db://x", True, id="an expression"),
        pytest.param("db://{t}/rows", "db://x/rows", True, id="text behind it"),
        pytest.param("db://{t}/rows", "db://x/cols", False, id="other text behind it"),
        pytest.param("db://{a}/{b}", "file://x", False, id="other text before it"),
        pytest.param("db://x", "db://x", True, id="no expression"),
        pytest.param("aa{x}aa", "aaa", False, id="its texts do not overlap"),
        pytest.param("{", "x", True, id="no template at all"),
    ],
)
def test_which_uris_a_template_covers(template: str, uri: str, *, does: bool) -> None:
    assert covers(template, uri) is does


def test_a_name_of_hidden_characters_is_short_too() -> None:
    assert len(quoted("\U000e0041" * 5000)) < 500
    assert len(quoted("\u200b" * 5000)) < 500
