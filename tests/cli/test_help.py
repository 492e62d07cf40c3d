"""Every command's help fits a screen and shows an example."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sandbox.cli import main

LINES, COLUMNS = 40, 100


@pytest.mark.parametrize("command", ["", *main.COMMANDS])
def test_help_fits_a_screen_and_shows_an_example(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    text = main.parser(command).format_help() if command else main.usage()
    lines = text.splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS + 10
    assert re.search(r"^examples?\b", text, re.MULTILINE | re.IGNORECASE)
    assert re.search(rf"\bmcp-sandbox\b.*\b{command or 'run'}\b", text.split("xample", 1)[1], re.DOTALL)


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_option_says_what_it_does(command: str) -> None:
    import argparse

    pending = [main.parser(command)]
    while pending:
        parser = pending.pop()
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                pending += action.choices.values()
            else:
                assert action.help, f"{parser.prog}: {action.dest}"


def test_every_command_has_its_module() -> None:
    folder = Path(main.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")}
    assert set(main.COMMANDS) <= modules
