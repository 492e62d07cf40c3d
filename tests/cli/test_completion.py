"""Completion scripts are read by the shells they are for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.cli import completion, main


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main.main(["completion", "bash"]) == 0
    path = tmp_path / "completion.bash"
    path.write_text(capsys.readouterr().out)
    return path


def offered(script: Path, *words: str) -> list[str]:
    """What bash itself offers for the last of `words`, with the script sourced."""
    line = " ".join(f"'{word}'" for word in words)
    ask = f"""
        set -u; source '{script}'
        handler=$(complete -p mcp-sandbox); set -- $handler
        while [ "$1" != -F ]; do shift; done
        COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_TYPE=9
        COMPREPLY=(); "$2" mcp-sandbox "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
        printf '%s\\n' ${{COMPREPLY[@]+"${{COMPREPLY[@]}}"}}
    """
    argv = ["bash", "--norc", "-c", ask]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert done.stderr == ""
    return [word.strip() for word in done.stdout.split()]


def test_bash_offers_every_command(script: Path) -> None:
    assert set(main.COMMANDS) <= set(offered(script, "mcp-sandbox", ""))


def test_bash_offers_the_options_of_a_command(script: Path) -> None:
    options = offered(script, "mcp-sandbox", "run", "--")
    assert {"--profile", "--allow-read"} <= set(options)


def test_bash_offers_the_choices_of_an_argument(script: Path) -> None:
    assert offered(script, "mcp-sandbox", "completion", "") == list(completion.SHELLS)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_parse_theirs(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], require: Callable[[str], None]
) -> None:
    assert main.main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in main.COMMANDS)
    require(shell)
    path = tmp_path / "script"
    path.write_text(text)
    assert subprocess.run([shell, "-n", str(path)], timeout=20).returncode == 0
