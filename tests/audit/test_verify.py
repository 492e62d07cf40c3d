import io
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.audit import chain
from sandbox.audit.verify import Finding, read_line, verify

TIME = "2026-11-22T08:00:06.123456Z"
KINDS = ("session.start", "spec", "session.ready", "relay.request", "relay.response", "session.end")
Lines = list[bytes]


def session(name: str = "s1", kinds: tuple[str, ...] = KINDS) -> tuple[Lines, chain.State]:
    state, lines = chain.begin(name, "github"), []
    for number, kind in enumerate(kinds):
        line, state = chain.append(state, kind, "a rule", chain.encode({"n": number, "é": "ü\n"}), TIME)
        lines.append(line)
    return lines, state


def head(state: chain.State, *, closed: bool = True) -> dict[str, chain.Head]:
    return {state.session: chain.Head(state.session, state.seq, state.hash, closed)}


def rewritten(line: bytes, **changes: object) -> bytes:
    """A forged line: changed, with a hash that is right for the change."""
    value = {**json.loads(line), **changes}
    value.pop("hash")
    body = chain.encode(value)
    return body[:-1].encode() + f',"hash":"{chain.digest(body.encode())}"}}\n'.encode()


def rechained(lines: Lines, start: int, **changes: object) -> Lines:
    """What a careful forger does: one line changed and every later one hashed again."""
    forged = [*lines[:start], rewritten(lines[start], **changes)]
    for line in lines[start + 1 :]:
        forged.append(rewritten(line, prev=json.loads(forged[-1])["hash"]))
    return forged


LINES, STATE = session()
OTHER, _ = session("s2")


def test_a_log_as_it_was_written_has_no_finding():
    assert verify(LINES, head(STATE), only="s1") is None


@pytest.mark.threat("S7", proves="an edited, deleted, swapped or cut line is named by its number")
@pytest.mark.parametrize(
    ("tamper", "line", "fault"),
    [
        pytest.param(
            lambda n: [*n[:2], n[2].replace(b"a rule", b"b rule"), *n[3:]], 3, "edited", id="edited"
        ),
        pytest.param(
            lambda n: [*n[:2], n[2].replace(b'"n":2', b'"n": 2'), *n[3:]], 3, "edited", id="a space"
        ),
        pytest.param(lambda n: [*n[:2], b"x\n", *n[3:]], 3, "not-json", id="not JSON"),
        pytest.param(lambda n: [*n[:2], b"\n", *n[2:]], 3, "not-json", id="an empty line put in"),
        pytest.param(lambda n: [*n[:2], b"\xff\xfe\n", *n[3:]], 3, "not-json", id="not UTF-8"),
        pytest.param(lambda n: [*n[:2], b"[" * 100000 + b"\n", *n[3:]], 3, "not-json", id="a nesting bomb"),
        pytest.param(lambda n: [*n[:2], b"{}\n", *n[3:]], 3, "edited", id="another object"),
        pytest.param(lambda n: [*n[:2], n[2][:40] + b"\n", *n[3:]], 3, "cut", id="a line cut in the middle"),
        pytest.param(lambda n: [*n[:5], n[5][:40]], 6, "cut", id="the last line cut"),
        pytest.param(lambda n: [*n[:5], n[5][:-1]], 6, "cut", id="only the last newline gone"),
        pytest.param(lambda n: [*n[:2], *n[3:]], 3, "deleted", id="one line deleted"),
        pytest.param(lambda n: n[2:], 1, "deleted", id="the first two deleted"),
        pytest.param(lambda n: [*n[:2], n[3], n[2], *n[4:]], 3, "reordered", id="two lines swapped"),
        pytest.param(lambda n: [n[5], *n[:5]], 1, "reordered", id="the last line moved to the front"),
        pytest.param(lambda n: [*n[:3], n[2], *n[3:]], 4, "duplicated", id="a line twice"),
        pytest.param(lambda n: n[:4], 5, "truncated", id="the last two cut off"),
        pytest.param(lambda n: [], 1, "truncated", id="the file emptied"),
        pytest.param(lambda n: [*n, n[5]], 7, "after-end", id="a line after the end"),
        pytest.param(lambda n: [*n[:3], OTHER[3], *n[4:]], 4, "wrong-session", id="another session's line"),
        pytest.param(lambda n: [*n[:2], rewritten(n[2], rule="x"), *n[3:]], 3, "edited", id="hashed again"),
        pytest.param(lambda n: [*n[:5], rewritten(n[5], rule="x")], 6, "edited", id="the last hashed again"),
        pytest.param(lambda n: [rewritten(n[0], rule="x"), *n[1:]], 1, "edited", id="the first hashed again"),
        pytest.param(lambda n: rechained(n, 2, rule="x"), 6, "edited", id="all later lines hashed again"),
        pytest.param(lambda n: [*n[:2], rewritten(n[2], schema=2), *n[3:]], 3, "edited", id="another schema"),
        pytest.param(lambda n: [*n[:2], rewritten(n[2], seq=True), *n[3:]], 3, "edited", id="a true for a 1"),
        pytest.param(lambda n: [*n[:2], rewritten(n[2], extra=1), *n[3:]], 3, "edited", id="one more field"),
    ],
)
def test_the_first_bad_line_is_named(tamper: Callable[[Lines], Lines], line: int, fault: str):
    found = verify(tamper(LINES), head(STATE), only="s1")
    assert found is not None
    assert (found.line, found.fault) == (line, fault)
    assert f"line {line}" in found.what or fault == "truncated"


def test_a_forged_line_that_breaks_the_link_is_told_from_its_neighbour():
    # Line 4's `prev` was changed and the line hashed again: line 5 vouches for the old line 4 only.
    forged = [*LINES[:3], rewritten(LINES[3], prev=chain.genesis("x")), *LINES[4:]]
    assert verify(forged, head(STATE), only="s1") == Finding(
        4, "edited", "line 4 was rewritten: line 4 does not continue the line before it", "s1"
    )


def test_a_key_twice_is_no_event_though_its_hash_is_right():
    body = LINES[0].replace(b'"rule":"a rule"', b'"rule":"a","rule":"b"').partition(b',"hash"')[0]
    found = read_line(1, body + b',"hash":"' + chain.digest(body + b"}").encode() + b'"}\n')
    assert isinstance(found, Finding)


def test_without_a_head_truncation_cannot_be_ruled_out():
    found = verify(LINES[:3], {}, only="s1")
    assert found is not None
    assert found.fault == "head-missing"
    assert "cannot rule out truncation" in found.what


@pytest.mark.parametrize("ahead", [1, 4])
def test_an_open_chain_may_be_ahead_of_its_head(ahead: int):
    lines, _ = session(kinds=KINDS[:5])
    _, state = session(kinds=KINDS[: 5 - ahead])
    assert verify(lines, head(state, closed=False), only="s1") is None


def test_a_closed_chain_takes_no_line_more():
    lines, _ = session(kinds=KINDS[:5])
    _, state = session(kinds=KINDS[:4])
    found = verify(lines, head(state), only="s1")
    assert found is not None
    assert (found.line, found.fault) == (5, "after-end")


def interleaved() -> tuple[Lines, dict[str, chain.Head]]:
    first, one = session("s1")
    second, two = session("s2")
    lines = [line for pair in zip(first, second, strict=True) for line in pair]
    return lines, {**head(one), **head(two)}


def test_sessions_that_share_a_log_each_have_their_chain():
    lines, heads = interleaved()
    assert verify(lines, heads) is None


def test_a_whole_session_gone_from_a_shared_log_is_missed():
    lines, heads = interleaved()
    found = verify(lines[::2], heads)
    assert found is not None
    assert (found.fault, found.session) == ("truncated", "s2")


def test_a_session_without_a_head_in_a_shared_log_is_a_finding():
    lines, heads = interleaved()
    del heads["s2"]
    found = verify(lines, heads)
    assert found is not None
    assert (found.fault, found.session) == ("head-missing", "s2")


@pytest.mark.threat("S7", proves="any single changed byte of a log is found")
@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_changed_byte_is_found(data: st.DataObject):
    whole = b"".join(LINES)
    position = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[position]))
    changed = whole[:position] + bytes([byte]) + whole[position + 1 :]
    found = verify(split(changed), head(STATE), only="s1")
    assert found is not None
    assert found.line == whole[:position].count(b"\n") + 1


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_removed_range_is_found(data: st.DataObject):
    whole = b"".join(LINES)
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start + 1, len(whole)))
    assert verify(split(whole[:start] + whole[end:]), head(STATE), only="s1") is not None


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(len(LINES))))
def test_any_other_order_is_found(order: list[int]):
    found = verify([LINES[place] for place in order], head(STATE), only="s1")
    assert (found is None) == (order == sorted(order))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=80)))
def test_no_bytes_make_it_fail(lines: list[bytes]):
    found = verify([line + b"\n" for line in lines], head(STATE))
    assert found is None or 1 <= found.line <= len(lines) + 1


def split(whole: bytes) -> Lines:
    return list(io.BytesIO(whole))
