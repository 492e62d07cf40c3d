"""The list of a tree: read back as it was spelt, and refused where no tree of ours has it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.supply import stamps
from sandbox.supply.manifest import Record, diff, digest, parse, shown, spell

HASH = b"a" * 64
NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & {0, 47} and name not in (b".", b"..")
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)
TARGETS = st.binary(min_size=1, max_size=20).filter(lambda target: 0 not in target)
RECORDS = st.one_of(
    st.tuples(st.sampled_from([b"f", b"x"]), st.just(HASH), PATHS),
    st.tuples(st.just(b"l"), TARGETS, PATHS),
    st.tuples(st.just(b"d"), st.just(b""), PATHS),
)


@settings(max_examples=60)
@given(st.lists(RECORDS, max_size=8))
def test_what_was_spelt_is_read_back(records: list[Record]) -> None:
    assert parse(spell(records)) == records


@settings(max_examples=60)
@given(st.lists(RECORDS, max_size=4), st.lists(RECORDS, max_size=4))
def test_two_lists_are_never_spelt_alike(one: list[Record], other: list[Record]) -> None:
    assert (spell(one) == spell(other)) == (one == other)


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_an_error(content: bytes) -> None:
    try:
        records = parse(content)
    except ValueError:
        return
    assert spell(records) == content.removeprefix(b"\0")


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(b"d a", id="no end"),
        pytest.param(b"d ../a\0", id="out of the tree"),
        pytest.param(b"d /a\0", id="absolute"),
        pytest.param(b"d a//b\0", id="an empty name"),
        pytest.param(b"d a/.\0", id="here again"),
        pytest.param(b"d \0", id="no path"),
        pytest.param(b"f abc a\0", id="no hash"),
        pytest.param(b"f " + HASH.upper() + b" a\0", id="a hash in capitals"),
        pytest.param(b"l  a\0", id="no target"),
        pytest.param(b"L 61 a\0", id="a target that needs no hexadecimal"),
        pytest.param(b"L 6120 \0", id="a target without a path"),
        pytest.param(b"L 612 a\0", id="half a byte"),
        pytest.param(b"L 6120zz a\0", id="no hexadecimal"),
        pytest.param(b"s x a\0", id="an unknown kind"),
        pytest.param(b"d a\0\0", id="an empty record"),
    ],
)
def test_what_no_tree_of_ours_has_is_refused(manifest: bytes) -> None:
    with pytest.raises(ValueError, match=r".|hexadecimal"):
        parse(manifest)


def test_a_difference_is_told_by_paths() -> None:
    old = spell([(b"d", b"", b"a"), (b"f", HASH, b"a/b"), (b"f", HASH, b"a/c"), (b"l", b"x", b"l")])
    new = spell([(b"d", b"", b"a"), (b"x", HASH, b"a/b"), (b"f", HASH, b"a/\n"), (b"l", b"y", b"l")])
    assert diff(old, new) == (("a/\\n",), ("a/c",), ("a/b", "l"))
    assert diff(old, old) == ((), (), ())
    assert digest(old) != digest(new)


@settings(max_examples=60)
@given(st.binary(max_size=40))
def test_a_path_is_shown_on_one_line(path: bytes) -> None:
    assert shown(path).isprintable()


@settings(max_examples=60)
@given(st.lists(NAMES, max_size=5, unique=True), st.data())
def test_stamps_are_read_back_and_cut_ones_are_none(paths: list[bytes], data: st.DataObject) -> None:
    numbers = st.tuples(*[st.integers(0, 2**62) for _ in range(2)], st.integers(0, 10**15), st.integers(0, 9))
    seen = data.draw(st.lists(numbers, min_size=len(paths) + 2, max_size=len(paths) + 2))
    content = stamps.spell("d", paths, seen)
    kept = stamps.parse(content, "d")
    assert kept is not None
    assert stamps.by_path(kept) == dict(zip([b"", *paths], seen[1:], strict=True))
    assert stamps.parse(content[: data.draw(st.integers(0, len(content) - 1))], "d") is None
    assert stamps.parse(content, "other") is None


@settings(max_examples=60)
@given(st.binary(max_size=100))
def test_any_bytes_are_stamps_or_none(content: bytes) -> None:
    stamps.parse(b"stamps 1 d " + content, "d")
