"""`WWW-Authenticate`, as servers and strangers write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.login.challenge import bearer

_WORD = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True)
_TEXT = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        pytest.param(["Bearer"], {}, id="alone"),
        pytest.param(['bearer Realm="x"'], {"realm": "x"}, id="in any case"),
        pytest.param(['Bearer a="1", b=2 , c="3"'], {"a": "1", "b": "2", "c": "3"}, id="several"),
        pytest.param(['Bearer a="x, Basic b=1"'], {"a": "x, Basic b=1"}, id="a challenge in a text"),
        pytest.param([r'Bearer a="q\"u\\o"'], {"a": r'q"u\o'}, id="escaped"),
        pytest.param(['Basic realm="x", Bearer a=1'], {"a": "1"}, id="behind another"),
        pytest.param(["Negotiate abc==, Bearer a=1"], {"a": "1"}, id="behind one of the other form"),
        pytest.param(["Negotiate", 'Bearer a="1"'], {"a": "1"}, id="in a field of its own"),
        pytest.param(["Bearer a=1, Bearer a=2"], {"a": "1"}, id="the first of two"),
        pytest.param(["Bearer a=1, a=2"], {"a": "1"}, id="the first of one parameter twice"),
        pytest.param(['Bearer a="1'], {}, id="a text without its end"),
        pytest.param(["Basic x"], {}, id="none of them"),
        pytest.param([], {}, id="no field"),
        pytest.param(["\x00\x01"], {}, id="noise"),
    ],
)
def test_challenges(values: list[str], found: dict[str, str]) -> None:
    assert bearer(values) == found


@given(st.text(max_size=200))
def test_any_text_is_read_to_an_end(text: str) -> None:
    assert isinstance(bearer([text, f"Bearer {text}"]), dict)


@given(st.dictionaries(_WORD.map(str.lower), _TEXT, max_size=5))
def test_what_is_written_is_read(params: dict[str, str]) -> None:
    escaped = {name: text.replace("\\", "\\\\").replace('"', '\\"') for name, text in params.items()}
    text = ", ".join(f'{name}="{value}"' for name, value in escaped.items())
    assert bearer([f'Basic realm="x", Bearer {text}']) == params


def test_a_long_text_takes_no_longer_than_it_is() -> None:
    assert (
        bearer(['Bearer a="' + '\\"' * 100_000, "Bearer " + "a=" * 100_000, "Bearer" + " " * 100_000]) == {}
    )
