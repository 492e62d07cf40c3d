"""A server's stderr, line by line: no secret is in what is shown, whole, cut or spread over lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inspect.lines import Lines
from sandbox.inspect.redaction import Found
from sandbox.relay.stderr import LINE, MARGIN, LineGuard
from tests.inspect.secret_values import GITHUB, KEY, OWN, redaction


def lines(told: list[Found] | None = None, *, change: bool = True) -> Lines:
    heard = [] if told is None else told
    return Lines(redaction(), heard.append, change=change)


@pytest.mark.parametrize("secret", [GITHUB, OWN])
def test_a_line_is_shown_without_its_secret(secret: str) -> None:
    told: list[Found] = []
    shown = lines(told)(f"started with {secret} on port 80")
    assert secret not in shown
    assert shown.startswith("started with REDACTED_")
    assert shown.endswith(" on port 80")
    assert len(told) == 1


def test_in_log_mode_lines_are_shown_as_they_are_and_told_of() -> None:
    told: list[Found] = []
    assert lines(told, change=False)(GITHUB) == GITHUB
    assert told


def test_a_private_key_over_lines() -> None:
    clean = lines()
    shown = [clean(line) for line in ["before", *KEY.splitlines(), "after", "and more"]]
    assert not any(line in shown for line in KEY.splitlines()[1:-1])
    assert (shown[0], shown[-2:]) == ("before", ["after", "and more"])


def test_what_only_begins_like_a_key_hides_nothing_else() -> None:
    clean = lines()
    clean("-----BEGIN PRIVATE KEY-----")
    assert clean("2026-01-01 INFO: that was all") == "2026-01-01 INFO: that was all"
    assert clean("plain words follow here") == "plain words follow here"


def test_the_sessions_own_over_lines() -> None:
    clean = lines()
    shown = [clean(OWN[at : at + 10]) for at in range(0, len(OWN), 10)]
    assert OWN not in "".join(shown)
    assert shown[2:] != [OWN[20:30], OWN[30:]]


def test_a_token_over_two_lines() -> None:
    clean = lines()
    clean(f"it is {GITHUB[:18]}")
    assert GITHUB[18:] not in clean(GITHUB[18:])


def test_colours_do_not_hide_a_token() -> None:
    assert GITHUB not in lines()(f"key=\x1b[32m{GITHUB}\x1b[0m")
    assert lines()("\x1b[32mok\x1b[0m") == "\x1b[32mok\x1b[0m"


# --- where a line is cut ---------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, LINE - 60, LINE - 41, LINE - 20, LINE - 1, LINE, LINE + 30])
@pytest.mark.parametrize("after", [0, 10, 500, 3 * MARGIN])
@pytest.mark.parametrize("secret", [GITHUB, OWN])
def test_a_secret_at_the_cut_of_a_long_line(at: int, after: int, secret: str) -> None:
    guard = LineGuard(clean=lines())
    line = b" " * at + secret.encode() + b" " * after + b"\n"
    shown = "".join(piece for chunk in (line[:5000], line[5000:]) for piece in guard.feed(chunk))
    assert secret[:20] not in shown
    assert secret[20:] not in shown
    assert len(shown) <= LINE + 100


def test_the_same_shows_without_the_protection() -> None:
    guard = LineGuard()
    assert GITHUB in guard.feed(GITHUB.encode() + b"\n")[0]


@pytest.mark.parametrize("secret", [GITHUB, OWN])
def test_however_a_stream_is_cut_into_reads(secret: str) -> None:
    for size in (1, 3, 7, 64):
        guard = LineGuard(clean=lines())
        data = f"a {secret} b\nnext\n".encode()
        shown = [line for at in range(0, len(data), size) for line in guard.feed(data[at : at + size])]
        assert secret not in "".join(shown)
        assert shown[1] == "next"


def test_the_end_of_noise_that_came_cut_is_not_shown() -> None:
    guard = LineGuard(clean=lines())
    noise = (b"x " * 600)[: 1024 - 20] + GITHUB.encode()[:20]
    assert GITHUB[:20] not in "".join(guard.whole(noise))


@given(st.lists(st.text(max_size=40), max_size=6), st.integers(0, 5), st.sampled_from([GITHUB, OWN]))
def test_whatever_is_around(texts: list[str], at: int, secret: str) -> None:
    clean = lines()
    said = [*texts[:at], f"is {secret}", *texts[at:]]
    assert secret not in "\n".join(clean(line) for line in said)
