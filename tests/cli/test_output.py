"""What we print cannot drive the terminal, whoever chose the words in it; HOME is never relative."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.cli.output import harmless


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("built a@1\x1b]0;title\x07", "built a@1\\x1b]0;title\\x07", id="a title"),
        pytest.param("\x9b2J", "\\x9b2J", id="a C1 control"),
        pytest.param("a\u202eb", "a\\u202eb", id="a reversed reading"),
        pytest.param("a\rb", "a\\rb", id="a line overwritten"),
        pytest.param("error: x\n\thint", "error: x\n\thint", id="our own lines stay"),
    ],
)
def test_messages_are_harmless(text: str, shown: str) -> None:
    assert harmless(text) == shown


@pytest.mark.parametrize("home", ["", ".", "evil"])
def test_the_working_directory_is_never_our_own(home: str, tmp_path: Path) -> None:
    """The control: the same profile in an absolute home is found."""
    for place in (tmp_path / ".config", tmp_path / "evil" / ".config"):
        profiles = place / "mcp-sandbox" / "profiles"
        profiles.mkdir(parents=True)
        (profiles / "planted.toml").write_text('schema = 1\ndescription = "planted"\n')
    command = [sys.executable, "-c", "import sys; from sandbox.cli.main import main; sys.exit(main())"]
    environ = {name: value for name, value in os.environ.items() if name != "XDG_CONFIG_HOME"}

    def listed(value: str) -> str:
        done = subprocess.run(
            [*command, "profile", "list"], env=environ | {"HOME": value}, cwd=tmp_path,
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        return done.stdout

    assert "planted" not in listed(home)
    assert "planted" in listed(str(tmp_path))
