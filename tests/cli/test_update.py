"""`mcp-sandbox update` and `rollback`: how they are asked, what they show, and to whom they listen."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.cli import update as command
from sandbox.cli.main import main
from sandbox.cli.update_words import lines
from sandbox.inspect.pinned import Pinned
from sandbox.records import replace
from sandbox.supply import accepted
from sandbox.supply.lock import Lock, PinLock, Place
from sandbox.update.difference import Difference
from sandbox.update.report import Outcome
from sandbox.update.sources import Source
from sandbox.update.update import Update

LOCK = Lock("mail", "program", ("/usr/bin/true",), ("/usr/bin/true",), "2026-11-01T00:00:00Z", "me",
            places=(Place("/opt/mail", "1" * 64, 1),), profile="base",
            keys=("program /usr/bin/true",))  # fmt: skip
HOST = Difference("host", "added", "evil.example:443", None, "evil.example:443", "error")


@pytest.fixture
def locked() -> str:
    path = accepted.path_of("mail", accepted.user_dir(os.environ))
    accepted.put(path, LOCK, os.environ)
    return os.path.realpath(path)


def update(path: str, *differences: Difference, **more: Any) -> Update:
    from sandbox import locks

    found = locks.read(path, accepted.every(os.environ), os.environ)
    new = replace(LOCK, wants=("evil.example:443",))
    return Update(Outcome("mail", path, LOCK, new, differences), found, None, Pinned("mail"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "name", "command_line", "check"),
    [
        pytest.param([], None, [], False, id="all"),
        pytest.param(["mail"], "mail", [], False, id="one"),
        pytest.param(["mail", "--check"], "mail", [], True, id="options behind the name"),
        pytest.param(["--check", "mail", "--", "npx", "x"], "mail", ["--", "npx", "x"], True, id="a command"),
        pytest.param(
            ["mail", "--", "npx", "--check"], "mail", ["--", "npx", "--check"], False, id="its options"
        ),
        pytest.param(["--", "npx", "x"], None, ["--", "npx", "x"], False, id="a command without a name"),
    ],
)
def test_how_it_is_asked(words: list[str], name: str | None, command_line: list[str], *, check: bool) -> None:
    found, args = command.named(command.parser().parse_args(words))
    assert (found, args.command, args.check) == (name, command_line, check)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["update", "nobody"], "no-such-lock", id="no lock of that name"),
        pytest.param(["update", "--", "npx", "x"], "no-name", id="a command without a name"),
        pytest.param(["update", "--yes"], "no-digest", id="a yes to anything"),
        pytest.param(["update", "mail", "--digest", "0"], "no-digest", id="a digest without a yes"),
        pytest.param(["rollback", "nobody"], "no-such-lock", id="nothing to go back from"),
        pytest.param(["rollback", "mail"], "no-previous", id="nothing to go back to"),
    ],
)
def test_what_is_no_question(
    words: list[str], code: str, locked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert f"error: {code}" in capsys.readouterr().err


@pytest.mark.parametrize("shape", ["--json", "--sarif"])
@pytest.mark.parametrize(
    ("words", "name", "code", "status"),
    [
        pytest.param(["nobody"], "nobody", "no-such-lock", 2, id="no lock of that name"),
        pytest.param(["--yes"], "", "no-digest", 2, id="a yes to anything"),
        pytest.param(["mail"], "mail", "lock-changed", 125, id="a lock that a hand edited"),
        pytest.param([], "mail", "lock-changed", 125, id="found by itself"),
    ],
)
def test_a_program_gets_its_one_document_where_it_fails_too(
    words: list[str],
    name: str,
    code: str,
    status: int,
    shape: str,
    locked: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open(locked, "a") as file:
        file.write("# edited\n")
    assert main(["update", *words, shape]) == status
    shown = capsys.readouterr()
    assert f"error: {code}" in shown.err
    told = json.loads(shown.out)
    if shape == "--json":
        assert told["locks"] == []
        (failed,) = told["failed"]
        assert (failed["name"], failed["error"].partition(":")[0]) == (name, code)
        return
    (run,) = told["runs"]
    (found,) = run["invocations"]
    assert (run["results"], found["executionSuccessful"]) == ([], False)
    assert f"{code}:" in found["toolExecutionNotifications"][0]["message"]["text"]


def test_nothing_is_locked_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["update"]) == 0
    assert "nothing is locked here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "differences", "status", "switched"),
    [
        pytest.param([], (), 0, False, id="nothing newer"),
        pytest.param([], (HOST,), 1, False, id="without a terminal"),
        pytest.param(["--check"], (HOST,), 1, False, id="only a look"),
        pytest.param(["--yes", "--digest", "DIGEST"], (HOST,), 0, True, id="a yes to what was shown"),
        pytest.param(["--yes", "--digest", "0" * 64], (HOST,), 2, False, id="a yes to something else"),
        pytest.param(["--json"], (HOST,), 1, False, id="a document"),
        pytest.param(["--sarif"], (HOST,), 1, False, id="a code scanner's"),
    ],
)
def test_only_a_yes_to_this_very_update_switches(
    words: list[str],
    differences: tuple[Difference, ...],
    status: int,
    *,
    switched: bool,
    locked: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = update(locked, *differences)
    monkeypatch.setattr("sandbox.update.update.update", lambda asked: made)
    before = Path(locked).read_bytes()
    assert main(["update", "mail", *(made.digest if word == "DIGEST" else word for word in words)]) == status
    assert (Path(locked).read_bytes() != before) is switched
    assert os.path.exists(locked + accepted.PREVIOUS) is switched
    shown = capsys.readouterr().out
    if "--json" in words:
        (told,) = json.loads(shown)["locks"]
        assert [one["message"] for one in told["differences"]] == ["it tries to reach `evil.example:443`"]
    elif "--sarif" in words:
        (result,) = json.loads(shown)["runs"][0]["results"]
        assert (result["ruleId"], result["level"]) == ("update.host", "error")


def test_a_refused_version_is_not_asked_about(
    locked: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sandbox.supply.judged import Finding

    finding = Finding("malicious", "left-pad", "1.0.0", "it is known to be malicious", "refuse")
    doubt = Difference("doubt", "added", "left-pad", None, "malicious", "error", "malicious: left-pad 1.0.0")
    made = update(locked, doubt, refused=(finding,))
    monkeypatch.setattr("sandbox.update.update.update", lambda asked: made)
    assert main(["update", "mail", "--yes", "--digest", made.digest]) == 1
    assert "--waive malicious:left-pad" in capsys.readouterr().err


def test_a_version_that_nobody_saw_does_not_replace_one_with_lists(
    locked: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = update(locked, HOST)
    pins = (PinLock("tool", "read", "0" * 64),)
    made = replace(made, outcome=replace(made.outcome, old=replace(LOCK, pins=pins)))
    monkeypatch.setattr("sandbox.update.update.update", lambda asked: made)
    assert main(["update", "mail", "--yes", "--digest", made.digest]) == 1
    assert "update-unseen" in capsys.readouterr().err
    made = update(locked, HOST, hidden=True)
    assert main(["update", "mail", "--yes", "--digest", made.digest]) == 1
    assert "--as-run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "how"),
    [
        pytest.param(("mail@latest",), False, id="whatever is newest"),
        pytest.param(("mail@1.0.0",), True, id="one version"),
        pytest.param(("@acme/mail@latest",), False, id="a scope"),
    ],
)
def test_how_a_version_that_is_named_is_moved_on(
    asked: tuple[str, ...],
    locked: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    how: bool,
) -> None:
    made = update(locked)
    made = replace(made, outcome=replace(made.outcome, old=replace(LOCK, kind="npm", asked=asked)))
    monkeypatch.setattr("sandbox.update.update.update", lambda asked: made)
    assert main(["update", "mail"]) == 0
    assert ("-- COMMAND" in capsys.readouterr().out) is how


HOSTILE = st.text(st.sampled_from("a\x1b\n\r\t\u202e\u200b`[]é"), max_size=12)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_name_drives_the_terminal_or_begins_a_line(name: str, words: str, path: str) -> None:
    rules = ("package", "host", "tool", "doubt", "place")
    told: dict[str, Any] = {"versions": [words], "publisher": name, "published": words}
    found = [
        Difference(rule, "added", name, None, told if rule == "package" else words, "error")  # type: ignore[arg-type]
        for rule in rules
    ]
    source = Source(path, "added", (("+", "x"),))
    shown = [
        text for text, _ in lines(Outcome("mail", "p", LOCK, LOCK, tuple(found), (source,)), Pinned("m"))
    ]
    assert not any(char in text for text in shown for char in "\x1b\n\r\u202e\u200b")
