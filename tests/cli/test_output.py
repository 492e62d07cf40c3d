"""What we print cannot drive the terminal, whoever chose the words in it; HOME is never relative."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.cli.output import harmless, held, paint


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


PROGRAM = [sys.executable, "-c", "import sys; from sandbox.cli.main import main; sys.exit(main())"]


class _Stream:
    def __init__(self, encoding: str) -> None:
        self.encoding = encoding


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        pytest.param("utf-8", "é•", id="what most terminals have"),
        pytest.param("latin-1", "é\\u2022", id="half of it"),
        pytest.param("ascii", "\\xe9\\u2022", id="nothing of it"),
        pytest.param("rot13", "é•", id="no encoding of text"),
    ],
)
def test_what_a_terminal_cannot_show_is_escaped(encoding: str, shown: str) -> None:
    assert held("é•", _Stream(encoding)) == shown


def test_a_stream_that_is_closed_has_no_colours() -> None:
    assert paint("x", "red", None) == "x"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_document_is_json_in_every_encoding(encoding: str, tmp_path: Path) -> None:
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"é•": {"command": "x"}}}', encoding="utf-8")
    environ = os.environ | {"HOME": str(tmp_path / "home"), "PYTHONIOENCODING": encoding}
    command = [*PROGRAM, "clients", "list", "--json"]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, timeout=30, check=True)
    assert json.loads(done.stdout.decode(encoding))["files"][0]["servers"][0]["name"] == "é•"


@pytest.mark.parametrize("words", ["", "--version", "clients list"])
def test_a_full_disk_is_no_traceback(words: str, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROGRAM, *words.split()], env=os.environ | {"HOME": str(tmp_path)}, cwd=tmp_path,
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert (done.returncode, "no-stdout" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr
