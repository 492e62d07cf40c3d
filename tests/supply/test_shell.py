"""What `sh -c` and `env` start is found where they add no more than variables; else a runner is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import SandboxError
from sandbox.supply.request import parse
from sandbox.supply.shell import apart, behind_env, unwrapped


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
        pytest.param("cd /srv && env TOKEN=x npx pkg", id="env after another command"),
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


@pytest.mark.parametrize("script", ["\n", ";", "a=;", "a=b\n", ";a=b ", ";exec ", "a=; "])
def test_a_long_script_is_read_once(script: str) -> None:
    """Where each command's beginning would be a search to the end, these would take hours."""
    for end in ("", "/" * 200_000):
        command = ["sh", "-c", script * 200_000 + end]
        assert unwrapped(command) == tuple(command)
    with pytest.raises(SandboxError):
        unwrapped(["sh", "-c", script * 200_000 + ";/bin/npx pkg"])


def test_the_request_behind_a_shell_is_the_runner_s_own() -> None:
    assert parse(["bash", "-c", "npx -y pkg@1.2.3 --flag"]) == parse(["npx", "-y", "pkg@1.2.3", "--flag"])
    assert parse(["bash", "-c", "node server.js"]) is None


@given(st.lists(st.text(max_size=20), min_size=1, max_size=3))
def test_any_script_is_understood_left_alone_or_refused(words: list[str]) -> None:
    with suppress(SandboxError):
        assert unwrapped(["sh", "-c", *words])


# --- env -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "variables", "words"),
    [
        pytest.param("env A=b npx -y pkg", {"A": "b"}, "npx -y pkg", id="a variable"),
        pytest.param(
            "/usr/bin/env A=b=c B= node x.js", {"A": "b=c", "B": ""}, "node x.js", id="two, by its path"
        ),
        pytest.param("env npx pkg C=d", {}, "npx pkg C=d", id="none"),
        pytest.param("env A=b env A=c npx pkg", {"A": "c"}, "npx pkg", id="one behind another"),
    ],
)
def test_what_env_starts_is_what_counts(command: str, variables: dict[str, str], words: str) -> None:
    assert apart(command.split()) == (variables, tuple(words.split()))
    assert behind_env(command.split()) == (variables, tuple(words.split()))


def test_one_in_eight_others_is_the_deepest() -> None:
    assert behind_env(("env A=b " + "env " * 7 + "A=c node x.js").split()) == ({"A": "c"}, ("node", "x.js"))
    assert behind_env(["env"] * 20_000 + ["node", "x.js"]) is None


def test_env_and_a_shell_behind_one_another() -> None:
    found = ({"A": "b"}, ("npx", "-y", "pkg"))
    assert behind_env(["env", "A=b", "sh", "-c", "npx -y pkg"]) == found
    assert behind_env(["sh", "-c", "exec env A=b npx -y pkg"]) == found
    assert behind_env(["sh", "-c", "npx -y pkg"]) is None


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("env -i npx pkg", id="an option"),
        pytest.param("env A=b -u X npx pkg", id="an option behind a variable"),
        pytest.param("env -S npx", id="a line to be split"),
        pytest.param("env PATH=/x node x.js", id="where programs are looked for"),
        pytest.param("env NODE_OPTIONS=--require=/x node x.js", id="code before the first line"),
        pytest.param("env A=b env LD_PRELOAD=/x python3 x.py", id="a library"),
        pytest.param("env PYTHONUSERBASE=/x python3 x.py", id="packages of a user's own"),
        pytest.param("env HOME=/x python3 x.py", id="a home that has some"),
        pytest.param("env PS4=$(x) SHELLOPTS=xtrace bash x.sh", id="a shell's prompt"),
        pytest.param("env ZDOTDIR=/x zsh x.sh", id="another shell's first file"),
        pytest.param("env NODE_COMPILE_CACHE=/x node x.js", id="code that was compiled before"),
        pytest.param("env NODE_PRESERVE_SYMLINKS_MAIN=1 node x.js", id="which file a link means"),
        pytest.param("env JDK_JAVA_OPTIONS=-javaagent:/x java -jar x.jar", id="an agent of java's"),
        pytest.param("env A=b " + "env " * 8 + "A=c node x.js", id="one in nine others"),
        pytest.param("env 1=b npx pkg", id="no variable's name"),
        pytest.param("env A-B=c npx pkg", id="no name that a program could ask for"),
        pytest.param("env A=b", id="no program"),
        pytest.param("env", id="nothing"),
        pytest.param("./env A=b npx pkg", id="another env"),
        pytest.param("/tmp/env A=b npx pkg", id="another env by its path"),
        pytest.param("nice npx pkg", id="another wrapper"),
        pytest.param("npx pkg env A=b", id="an argument"),
    ],
)
def test_what_does_more_than_env_stays_as_it_is(command: str) -> None:
    words = tuple(command.split())
    assert apart(words) == ({}, words)
    assert behind_env(words) is None


@pytest.mark.parametrize(
    "name",
    ["npm_config_registry", "NPM_CONFIG_REGISTRY", "UV_DEFAULT_INDEX", "PIP_INDEX_URL", "HTTPS_PROXY", "HOME",
     "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "XDG_CONFIG_HOME", "PATH", "NODE_OPTIONS", "LD_PRELOAD"],
)  # fmt: skip
def test_a_variable_that_says_how_it_is_fetched_or_what_runs_is_refused(name: str) -> None:
    """It would reach the server alone, and another registry than the named one would be asked."""
    with pytest.raises(SandboxError) as caught:
        parse(["env", f"{name}=s3cret", "npx", "-y", "pkg"])
    assert name in caught.value.what
    assert "s3cret" not in str(caught.value)
    assert parse(["env", f"{name}=s3cret", "node", "x.js"]) is None


@given(
    st.lists(st.sampled_from(["env", "A=b", "sh", "-c", "npx pkg", "nice", "-i", "", "PATH=x"]), max_size=9)
)
def test_whatever_is_taken_apart_is_at_an_end(words: list[str]) -> None:
    with suppress(SandboxError):
        variables, inner = apart(words)
        assert len(inner) <= len(words) + 1
        assert behind_env(words) in (None, (variables, inner))
        assert behind_env(inner) is None
