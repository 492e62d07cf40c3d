"""The token file, and who has a token of it."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from sandbox.errors import UsageError
from sandbox.serve import tokens
from sandbox.serve.tokens import Tokens
from sandbox.serve.words import Head, Principal, Refused

LONG = "a" * 32
OTHER = "b" * 43


def checked(header: str | None) -> Principal | Refused:
    headers = {} if header is None else {"authorization": header}
    return asyncio.run(Tokens({LONG: "ann", OTHER: "bob"}).check(Head("POST", "/mcp", "", headers)))


@pytest.mark.parametrize(
    ("header", "name"),
    [(f"Bearer {LONG}", "ann"), (f"bearer  {OTHER}", "bob"), (f"BEARER {OTHER}", "bob")],
)
def test_a_token_says_who_asks(header: str, name: str) -> None:
    assert checked(header) == Principal(name)


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (None, False), ("", True), ("Bearer", True), ("Bearer ", True), (LONG, True), (f"Basic {LONG}", True),
        (f"Bearer {LONG[:-1]}", True), (f"Bearer {LONG}a", True), (f"Bearer {LONG} {OTHER}", True),
        (f"Bearer {LONG},{OTHER}", True), (f"Bearer {LONG.upper()}", True), ("Bearer \xff" + LONG, True),
        ("Bearer " + "a" * 5000, True),
    ],
)  # fmt: skip
def test_no_token_nobody(header: str | None, error: bool) -> None:
    refused = checked(header)
    assert isinstance(refused, Refused)
    assert refused.status == 401
    assert ("invalid_token" in dict(refused.headers)["WWW-Authenticate"]) is error


def test_nothing_is_told_of_tokens() -> None:
    assert asyncio.run(Tokens({LONG: "ann"}).document("/.well-known/oauth-protected-resource")) is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (LONG, {LONG: "local"}),
        (f"ann {LONG}\nbob {OTHER}\n", {LONG: "ann", OTHER: "bob"}),
        (f"# a comment\n\n  ann \t {LONG}  \r\n", {LONG: "ann"}),
        (f"ann {LONG}\nann {OTHER}", {LONG: "ann", OTHER: "ann"}),
    ],
)
def test_lines_of_names_and_tokens(text: str, named: dict[str, str]) -> None:
    assert tokens.parse(text, "f") == named


@pytest.mark.parametrize(
    "text",
    [
        "", "# nothing\n", "ann short", f"ann {LONG} more", f"a\u202eb {LONG}", f"ann {LONG}\nbob {LONG}",
        f"ann {LONG[:-1]}\x00", f"ann {LONG}\u00e9", f"-x {LONG}", f"ann,{LONG}",
    ],
)  # fmt: skip
def test_other_lines_stop_the_start_and_are_not_shown(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        tokens.parse(text, "f")
    assert LONG not in str(caught.value)


def test_a_token_is_made_once_and_kept_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    named, made = tokens.obtain(str(path))
    assert named == {made: "local"}
    assert len(made) >= 43, "256 bits"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert tokens.obtain(str(path)) == (named, "")


def test_two_tokens_are_not_alike(tmp_path: Path) -> None:
    made = {tokens.obtain(str(tmp_path / str(number)))[1] for number in range(50)}
    assert len(made) == 50


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_file_that_others_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    path.write_text(f"ann {LONG}")
    path.chmod(mode)
    with pytest.raises(UsageError, match="open to other users"):
        tokens.obtain(str(path))
    path.chmod(0o600)
    assert tokens.obtain(str(path)) == ({LONG: "ann"}, "")


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("fifo", "link", ""):
        with pytest.raises(UsageError):
            tokens.obtain(str(tmp_path / name))
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_is_too_large_is_refused_and_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"a {'x' * tokens.FILE_MAX}\n")
    path.chmod(0o600)
    with pytest.raises(UsageError, match="more than 1 MiB"):
        tokens.obtain(str(path))
