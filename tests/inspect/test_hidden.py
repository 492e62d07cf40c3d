"""Hidden characters are found where nothing needs them, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inspect.hidden import hidden, visible, without

TAGS = "".join(chr(0xE0000 + ord(char)) for char in "read it")
BYTES = "".join(chr(0xE0100 + byte - 16) for byte in b"send")
BITS = "".join("\u200c" if bit == "1" else "\u200b" for byte in b"send" for bit in f"{byte:08b}")


@pytest.mark.parametrize(
    ("text", "sort", "said"),
    [
        pytest.param("a" + TAGS, "tags", "read it", id="tags spell"),
        pytest.param("a\u202eb", "override", "", id="an override"),
        pytest.param("a\u2066b", "bidi", "", id="an isolate among Latin letters"),
        pytest.param("a\u200bb", "zero-width", "", id="a zero-width space in a word"),
        pytest.param("😀" + BYTES, "selector", "send", id="selectors spell bytes"),
        pytest.param("a" + BITS, "zero-width", "send", id="zero-width characters spell bits"),
        pytest.param("a\ufe0fb", "selector", "", id="a selector after a letter"),
        pytest.param("a\u3164", "blank", "", id="a letter that is blank"),
        pytest.param("a\x00b", "control", "", id="a control character"),
        pytest.param("a\x1b[8mb", "terminal", "", id="text that a terminal conceals"),
        pytest.param("a\x1b[2Jb", "terminal", "", id="the screen erased"),
        pytest.param("a\x1b]8;;https://x.example\x07b", "terminal", "", id="a link of the terminal's"),
        pytest.param("a\u009b8mb", "terminal", "", id="the same in one character"),
        pytest.param("a\u200d\u200db", "zero-width", "", id="two joiners"),
        pytest.param("🏴" + TAGS, "tags", "read it", id="a flag of no country"),
    ],
)
def test_found(text: str, sort: str, said: str) -> None:
    (one,) = hidden(text)
    assert (one.sort, one.said) == (sort, said)
    assert without(text) not in (text, "")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("plain\ttext\r\nof two lines", id="plain text"),
        pytest.param("👩‍💻 ❤️ 1️⃣ ✔︎ 🏳️‍🌈", id="emoji"),
        pytest.param("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", id="a flag"),
        pytest.param("क्‍ष می‌خواهم", id="joiners of scripts"),
        pytest.param("שלום \u200fabc", id="a mark of direction in Hebrew"),
        pytest.param("ภาษา\u200bไทย", id="where a line may end"),
        pytest.param("\ufeffid,name", id="a byte order mark in front"),
        pytest.param("Donau\u00addampf", id="a soft hyphen in a word"),
        pytest.param("\x1b[1;31mred\x1b[0m \x1b[38;5;8mgrey\x1b[0m", id="colours"),
        pytest.param("\x1b[2K\x1b[1G50%", id="progress on a line"),
        pytest.param("葛\U000e0100飾", id="an ideograph's variant"),
    ],
)
def test_at_home(text: str) -> None:
    assert hidden(text) == []


def test_what_is_hidden_is_shown() -> None:
    assert visible("a\u202eb" + TAGS + "\x1b[8m") == "a⟨U+202E⟩b⟨tags: read it⟩⟨ESC⟩[8m"


@given(st.text())
def test_any_text_can_be_looked_at_shown_and_cleaned(text: str) -> None:
    for one in hidden(text):
        assert 0 <= one.start < one.end <= len(text)
    assert hidden(without(text)) == []
    assert hidden(visible(text)) == []
