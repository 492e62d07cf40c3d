"""What is told of a denial: to a person one line in time, to a model little of what the server chose."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.audit.redact import MARK, Redactor
from sandbox.notices import HOST_MAX, MOST_PER_MINUTE, Notices, one_line
from sandbox.policy.model import Policy

TOKEN = "Tok3n-aB9xQ7zLm4VrYw2K"  # noqa: S105  it is meant to be one
RULE = "default deny, [network] allow, web"


class Told:
    """Notices, and what they said."""

    def __init__(self, *secrets: str) -> None:
        self.lines: list[str] = []
        self.notices = Notices(Policy(name="web"), "srv", self.lines.append, Redactor(secrets))

    def deny(
        self, where: str, now: float = 0.0, *, reason: str = "it is not allowed", udp: bool = False
    ) -> str:
        protocol = "udp" if udp else "tcp"
        return self.notices.denied(where, reason, self.notices.rule, where, protocol=protocol, now=now)


def test_a_person_gets_the_option_and_a_model_does_not() -> None:
    told = Told()
    words = told.deny("a.example:443")
    assert words == f"denied `a.example:443` to `srv` (profile `web`): it is not allowed [{RULE}]"
    assert told.lines == [f"mcp-sandbox: {words}; allow it with `--allow-net a.example:443`"]


def test_each_is_told_once_to_a_person_and_every_time_to_open_calls() -> None:
    told = Told()
    assert told.deny("a.example") == told.deny("a.example") != ""
    assert len(told.lines) == 1
    assert told.deny("b.example:443", udp=True) == ""
    assert len(told.lines) == 1


def test_what_was_over_the_limit_is_told_when_it_comes_again() -> None:
    told = Told()
    for number in range(MOST_PER_MINUTE + 3):
        assert told.deny(f"x{number}.example")
    more = "mcp-sandbox: more was denied: `mcp-sandbox audit show --kind egress` and `--kind dns` show it"
    assert [line for line in told.lines if "`x" not in line] == [more]
    assert len(told.lines) == MOST_PER_MINUTE + 1
    told.deny(f"x{MOST_PER_MINUTE}.example", 30.0)
    assert len(told.lines) == MOST_PER_MINUTE + 1, "it is too early"
    told.deny(f"x{MOST_PER_MINUTE}.example", 61.0)
    told.deny("x0.example", 61.0)
    assert [f"`x{MOST_PER_MINUTE}.example`" in line for line in told.lines[MOST_PER_MINUTE + 1 :]] == [True]


@pytest.mark.threat(
    "S6", proves="no name that the server looks up carries a known secret to stderr or a model"
)
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(TOKEN, id="plain"),
        pytest.param(TOKEN.lower(), id="lower case"),
        pytest.param(f"{TOKEN[:9]}.{TOKEN[9:]}".lower(), id="split over labels"),
        pytest.param(TOKEN.encode().hex(), id="hex"),
        pytest.param(base64.b32encode(TOKEN.encode()).decode().rstrip("=").lower(), id="base32"),
        # The place where a host is cut lies amid the secret.
        pytest.param("a" * (HOST_MAX - 10) + TOKEN.lower(), id="where a host is cut"),
    ],
)
def test_a_secret_in_a_name_is_shown_to_nobody(form: str) -> None:
    told = Told(TOKEN)
    words = told.deny(f"{form}.evil.example", reason=f"SNI says `{form}`")
    for text in (words, *told.lines):
        assert MARK[:5] in text
        assert form[-12:] not in text
        assert TOKEN[:6].lower() not in text.lower()


def test_what_the_server_chose_is_short_where_a_model_reads_it() -> None:
    told = Told()
    words = told.deny("x" * 250 + ".example", reason=f"SNI says `{'y' * 4000}`")
    assert words.count("x") == HOST_MAX
    assert len(words) < 512, "else the relay cuts off the rule"
    assert words.endswith(f" [{RULE}]")
    assert "x" * 250 in told.lines[0]


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_note_is_one_line_that_drives_no_terminal(where: str, reason: str) -> None:
    told = Told()
    for text in (told.deny(where, reason=reason), *told.lines):
        assert text.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\nb\tc\r", "a\\nb\\tc\\r", id="line ends and tabs"),
        pytest.param("\x1b[2J\u202e", "\\x1b[2J\\u202e", id="what drives a terminal"),
        pytest.param("grün 日本", "grün 日本", id="letters"),
    ],
)
def test_one_line(text: str, shown: str) -> None:
    assert one_line(text) == shown
