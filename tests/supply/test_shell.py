"""A package runner behind `sh -c` is found where the shell adds nothing, and refused where it does."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import SandboxError
from sandbox.supply.request import parse
from sandbox.supply.shell import unwrapped


@pytest.mark.parametrize(
    ("command", "words"),
    [
        pytest.param(["bash", "-c", "npx -y pkg"], ["npx", "-y", "pkg"], id="one command"),
        pytest.param(["/bin/sh", "-c", "exec uvx pkg --x=1"], ["uvx", "pkg", "--x=1"], id="exec, an option"),
        pytest.param(["bash", "-lc", "npx pkg"], ["npx", "pkg"], id="a login shell"),
        pytest.param(["zsh", "-l", "-i", "-c", "npx pkg"], ["npx", "pkg"], id="options one by one"),
        pytest.param(
            ["sh", "-c", "npx pkg 'a $b' \"c d\""], ["npx", "pkg", "a $b", "c d"], id="quoted words"
        ),
        pytest.param(
            ["sh", "-c", "uvx 'pkg[extra]>=1'"], ["uvx", "pkg[extra]>=1"], id="a quoted requirement"
        ),
        pytest.param(["sh", "-c", "npx pkg", "ignored"], ["npx", "pkg"], id="words that become $0"),
    ],
)
def test_a_plain_command_is_taken_out_of_its_shell(command: list[str], words: list[str]) -> None:
    assert unwrapped(command) == tuple(words)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["node", "server.js", "-c", "npx x"], id="no shell"),
        pytest.param(["bash", "start.sh"], id="a script file"),
        pytest.param(["bash", "-c"], id="no script"),
        pytest.param(["bash", "-o", "pipefail", "-c", "npx x"], id="an option with a value"),
        pytest.param(["sh", "-c", "cd /srv && node server.js"], id="a script without a runner"),
        pytest.param(["sh", "-c", "echo a; echo npx is fine; ls # npx"], id="a runner's name as an argument"),
        pytest.param(["sh", "-c", "./mynpx $X"], id="a name that ends like a runner's"),
    ],
)
def test_other_commands_stay_as_they_are(command: list[str]) -> None:
    assert unwrapped(command) == tuple(command)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("npx pkg $DIR", id="a variable"),
        pytest.param("TOKEN=x npx pkg", id="an assignment"),
        pytest.param("cd /srv && npx pkg", id="after another command"),
        pytest.param("cd /srv; exec /usr/bin/npx pkg", id="exec after another command, by its path"),
        pytest.param("uvx pkg 2>/dev/null", id="a redirection"),
        pytest.param("(npm exec pkg)", id="a subshell"),
        pytest.param('npx "pkg$X"', id="a variable in quotes"),
        pytest.param("if true; then pipx run pkg; fi", id="a condition"),
        pytest.param("npx 'pkg", id="an open quote"),
    ],
)
def test_a_runner_in_a_script_is_refused_by_name(script: str) -> None:
    with pytest.raises(SandboxError) as caught:
        parse(["bash", "-c", script])
    assert caught.value.code == "runner-in-shell"
    assert caught.value.hint


def test_the_request_behind_a_shell_is_the_runner_s_own() -> None:
    assert parse(["bash", "-c", "npx -y pkg@1.2.3 --flag"]) == parse(["npx", "-y", "pkg@1.2.3", "--flag"])
    assert parse(["bash", "-c", "node server.js"]) is None


@given(st.lists(st.text(max_size=20), min_size=1, max_size=3))
def test_any_script_is_understood_left_alone_or_refused(words: list[str]) -> None:
    with suppress(SandboxError):
        assert unwrapped(["sh", "-c", *words])
