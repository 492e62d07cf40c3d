"""What becomes of an entry: the same server in its sandbox, and the same entry back."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.cli.clients_exposure import parsed
from sandbox.cli.run import parser
from sandbox.clients.variables import Fate, fate, steers
from sandbox.clients.words import Entry
from sandbox.clients.wrapping import (
    Fit,
    Left,
    Wrapped,
    candidates,
    inner,
    is_wrapped,
    our_program,
    ours,
    profiles_named,
    unwrapped,
    words_of,
    wrapped,
)
from sandbox.errors import SandboxError
from tests.inspect.secret_values import GITHUB

PROGRAM = "/home/me/.local/bin/mcp-sandbox"
NPX = Entry("fs", "npx", ("-y", "server-x", "/data"))


def args_of(entry: Entry, fit: Fit | None = None) -> str:
    made = wrapped(entry, PROGRAM, fit or Fit())
    assert isinstance(made, Wrapped)
    assert made.command == PROGRAM
    return " ".join(made.args)


class Case(NamedTuple):
    entry: Entry
    args: str
    fit: Fit = Fit()


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(NPX, "run --name fs -- npx -y server-x /data"), id="no profile"),
        pytest.param(
            Case(NPX, "run --name fs --profile x -- npx -y server-x /data", Fit("x")), id="a profile"
        ),
        pytest.param(
            Case(NPX, "run --name fs --allow-read /data -- npx -y server-x /data", Fit(paths=("/data",))),
            id="its paths, read-only",
        ),
        pytest.param(
            Case(
                Entry("a", "x", env=(("LOG", "debug"), ("API_KEY", "${input:key}"))),
                "run --name a --allow-env LOG --secret API_KEY? -- x",
            ),
            id="variables, credentials as secrets",
        ),
        pytest.param(
            Case(Entry("a", "x", env=(("API_KEY", "q8Zr2LmW0pXc5Tn7"),)), "run --name a "
                 "--secret API_KEY -- x"),
            id="a credential that is there",
        ),
        pytest.param(
            Case(Entry("a", "x", passed=("GITHUB_TOKEN", "LANG")), "run --name a --secret GITHUB_TOKEN? "
                 "--allow-env LANG -- x"),
            id="variables that the client passes on",
        ),
        pytest.param(
            Case(Entry("a", "x"), "run --name a --secret DB_PASSWORD? -- x", Fit(names=("DB_PASSWORD",))),
            id="variables of an envFile",
        ),
        pytest.param(
            Case(Entry("a", "x", env=(("T_TOKEN", "1"),)), "run --name a --profile p -- x",
                 Fit("p", known=frozenset(("T_TOKEN",)))),
            id="what the profile takes by itself",
        ),
        pytest.param(
            Case(Entry("a", "x", env=(("PATH", "/opt/bin"), ("a-b", "1"))), "run --name a -- x"),
            id="neither PATH nor what is no variable",
        ),
        pytest.param(Case(Entry("my server!", "x"), "run -- x"), id="a name that is no plain word"),
        pytest.param(Case(Entry("-x", "x"), "run -- x"), id="a name like an option"),
        pytest.param(
            Case(Entry("a", "node 'a b.js' x"), "run --name a -- node a b.js x"),
            id="a whole command line in `command`",
        ),
        pytest.param(
            Case(Entry("a", "/opt/My Tools/server"), "run --name a -- /opt/My Tools/server"),
            id="a path with a space",
        ),
        pytest.param(
            Case(Entry("a", "x", ("--", "-y")), "run --name a -- x -- -y"), id="a `--` of the server's own"
        ),
    ],
)  # fmt: skip
def test_forms(case: Case) -> None:
    assert args_of(case.entry, case.fit) == case.args


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        pytest.param(Entry("a", url="https://x/mcp", kind="http"), "no command", id="remote"),
        pytest.param(Entry("a", "x", url="https://x/mcp"), "a command and a URL", id="both"),
        pytest.param(Entry("a", kind="other"), "not a server", id="neither command nor address"),
        pytest.param(Entry("a", "x", faults=("`args` is not a list",)), "not a list", id="a fault"),
        pytest.param(
            Entry("a", "npx", ("--made-up", "x")), "is not understood", id="what `run` would refuse"
        ),
        pytest.param(
            Entry("a", "sh", ("-c", "cd x && npx y")), "cannot be frozen", id="a package runner in a script"
        ),
        pytest.param(
            Entry("a", "x", env=(("NODE_OPTIONS", f"--token={GITHUB}"),)),
            "a credential",
            id="a secret to move",
        ),
    ],
)
def test_what_is_left(entry: Entry, why: str) -> None:
    made = wrapped(entry, PROGRAM, Fit())
    assert isinstance(made, Left)
    assert why in made.why
    assert not made.contained


@pytest.mark.parametrize(
    ("name", "users", "strangers"),
    [
        pytest.param("LOG_LEVEL", "pass", "pass", id="a plain one"),
        pytest.param("LD_PRELOAD", "move", "move", id="a preload"),
        pytest.param("PYTHONPATH", "move", "move", id="code of our own python"),
        pytest.param("NODE_OPTIONS", "move", "move", id="what `--allow-env` refuses"),
        pytest.param("XDG_CONFIG_HOME", "move", "move", id="other profiles"),
        pytest.param("PYTHONUNBUFFERED", "pass", "pass", id="python's own, harmless"),
        pytest.param("npm_config_registry", "pass", "move", id="another registry"),
        pytest.param("UV_INDEX_URL", "pass", "move", id="another index"),
        pytest.param("HOSTALIASES", "pass", "move", id="other hosts"),
        pytest.param("PYTHON_KEYRING_BACKEND", "pass", "move", id="another keyring"),
        pytest.param("SSLKEYLOGFILE", "pass", "move", id="a file for keys"),
        pytest.param("PATH", "keep", "drop", id="other programs"),
        pytest.param("HOME", "keep", "drop", id="another home"),
        pytest.param("HTTPS_PROXY", "keep", "drop", id="a proxy"),
        pytest.param("DOCKER_HOST", "keep", "drop", id="an engine"),
        pytest.param("TMPDIR", "keep", "keep", id="what the sandbox has of its own"),
        pytest.param("PS4", "move", "move", id="what a traced shell runs"),
        pytest.param("a-b", "keep", "keep", id="what is no variable"),
        pytest.param("BASH_FUNC_exec%%", "drop", "drop", id="a function in a command's place"),
    ],
)
def test_fates_of_variables(name: str, users: Fate, strangers: Fate) -> None:
    entry = Entry("a", "x", env=((name, "./evil"),))
    for stranger, expected in ((False, users), (True, strangers)):
        assert fate(name, stranger=stranger) == expected
        made = wrapped(entry, PROGRAM, Fit(stranger=stranger))
        assert isinstance(made, Wrapped)
        words = {"pass": f"--allow-env {name} ", "move": f"--set-env {name}=./evil "}.get(expected, "")
        assert " ".join(made.args) == f"run --name a {words}-- x"
        assert (name in dict(made.on(entry).env)) is (expected in ("pass", "keep"))


def test_a_projects_own_package_runner_gets_no_packages() -> None:
    entry = Entry("a", "${workspaceFolder}/bin/npx", ("-y", "pkg"))
    assert isinstance(wrapped(entry, PROGRAM, Fit(stranger=True, own_program=True)), Left)
    assert isinstance(wrapped(entry, PROGRAM, Fit(own_program=True)), Wrapped)
    script = Entry("a", "${workspaceFolder}/server", ("-y", "pkg"))
    assert isinstance(wrapped(script, PROGRAM, Fit(stranger=True, own_program=True)), Wrapped)


HARMLESS = {
    # Shown differently; places that are secret besides the usual ones; inside of images; our own demo's.
    *(
        "NO_COLOR",
        "SC_CLK_TCK",
        "API_TOKEN",
        "DEBIAN_FRONTEND",
        "LC_ALL",
        "SOURCE_DATE_EPOCH",
        "VERSION_CODENAME",
    ),
    # Whether `login`, which no client starts, has a browser to open; the name of a clock.
    *("WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "CLOCK_BOOTTIME"),
    *(
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AZURE_CONFIG_DIR",
        "CLAUDE_CONFIG_DIR",
        "CODEX_HOME",
    ),
    *("CLOUDSDK_CONFIG", "GOOGLE_APPLICATION_CREDENTIALS", "PASSWORD_STORE_DIR", "REGISTRY_AUTH_FILE"),
    *("SSH_AUTH_SOCK", "VAULT_TOKEN_PATH"),
}
NAMED = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|PATH|HOME|NETRC|GOBIN|GOPATH")


def test_what_our_own_code_reads_is_never_a_strangers() -> None:
    """Whoever has mcp-sandbox read another variable decides here whether a project may set it."""
    read: set[str] = set()
    for path in (Path(__file__).resolve().parents[2] / "sandbox").rglob("*.py"):
        text = path.read_text()
        if "environ" in text and "clients" not in path.parts:
            nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
            read |= {
                node.value for node in nodes if isinstance(node.value, str) and NAMED.fullmatch(node.value)
            }
    assert {"NVM_DIR", "UV_PYTHON", "DOCKER_HOST", "XDG_CONFIG_HOME"} <= read
    assert {name for name in read - HARMLESS if not steers(name, stranger=True)} == set()


def test_a_file_of_variables_that_would_steer() -> None:
    made = wrapped(Entry("a", "x"), PROGRAM, Fit(names=("LD_PRELOAD",)))
    assert isinstance(made, Left)
    assert "`LD_PRELOAD`" in made.why


@pytest.mark.parametrize("moves", [False, True], ids=["left in the entry", "as `wrap` does"])
def test_a_variable_of_the_entry_runs_no_code_outside(tmp_path: Path, moves: bool) -> None:
    """The attack, which works where a wrapped entry keeps its `PYTHONPATH`."""
    mark = tmp_path / "mark"
    (tmp_path / "sitecustomize.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    entry = Entry("a", "x", env=(("PYTHONPATH", str(tmp_path)),))
    made = wrapped(entry, PROGRAM, Fit(stranger=True))
    assert isinstance(made, Wrapped)
    assert f"--set-env PYTHONPATH={tmp_path}" in " ".join(made.args)
    given = made.on(entry).env if moves else entry.env
    start_of_ours = [sys.executable, "-c", "import sandbox.cli.main"]
    subprocess.run(start_of_ours, env={**os.environ, **dict(given)}, timeout=30, check=True)
    assert mark.exists() is not moves


@pytest.mark.parametrize(
    ("command", "args", "options"),
    [
        pytest.param(PROGRAM, ("run", "--", "x"), ("--", "x"), id="by its path"),
        pytest.param("mcp-sandbox", ("run", "--profile", "p"), ("--profile", "p"), id="by its name"),
        pytest.param("C:\\x\\mcp-sandbox.exe", ("run", "--", "x"), ("--", "x"), id="on Windows"),
        pytest.param("uvx", ("mcp-sandbox", "run", "--", "x"), None, id="whoever has the name on PyPI"),
        pytest.param("pipx", ("run", "mcp-sandbox", "run", "--", "x"), None, id="the same, by pipx"),
        pytest.param("mcp-sandbox", ("inspect", "--", "x"), None, id="another command of ours"),
        pytest.param("npx", ("-y", "mcp-sandbox", "run"), None, id="another registry's"),
        pytest.param("uvx", ("evil", "mcp-sandbox", "run"), None, id="an argument"),
        pytest.param("uvx", ("--from=./evil", "mcp-sandbox", "run"), None, id="by uvx, from elsewhere"),
        pytest.param("/p/uvx", ("mcp-sandbox", "run"), None, id="by another uvx"),
        pytest.param("./mcp-sandbox", ("run", "--", "x"), None, id="a project's file"),
        pytest.param("${workspaceFolder}/mcp-sandbox", ("run", "--", "x"), None, id="another project's file"),
        pytest.param("/x/not-mcp-sandbox", ("run",), None, id="another program"),
    ],
)
def test_what_is_ours(command: str, args: tuple[str, ...], options: tuple[str, ...] | None) -> None:
    assert ours(command, args) == options


WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
ENTRY = st.builds(
    lambda name, command, args, env: Entry(name, command, tuple(args), tuple(env.items())),
    WORD,
    WORD.filter(lambda text: bool(text.strip())),
    st.lists(WORD, max_size=4),
    st.dictionaries(st.sampled_from(["LOG", "API_KEY", "x-y", "PATH", "LD_PRELOAD"]), WORD, max_size=3),
)


@given(ENTRY)
def test_wrapping_is_undone_and_done_once(entry: Entry) -> None:
    made = wrapped(entry, PROGRAM, Fit(paths=("/data",)))
    if isinstance(made, Left):
        assert is_wrapped(entry)
        return
    again = made.on(entry)
    assert isinstance(wrapped(again, PROGRAM, Fit()), Left)
    assert inner(again) == words_of(entry)
    back = unwrapped(again, entry, (made.command, made.args))
    assert back is not None
    assert (back.command, back.args) == (entry.command, entry.args)
    assert sorted(back.on(again).env) == sorted(entry.env)
    unknown = unwrapped(again, None, None)
    assert unknown is not None
    assert (unknown.command, *unknown.args) == words_of(entry)
    assert sorted(unknown.on(again).env) == sorted(entry.env)


@given(ENTRY)
def test_no_option_comes_of_what_an_entry_says(entry: Entry) -> None:
    """Grants come from variables' names and the paths of the fit, whatever name and values say."""
    made = wrapped(entry, PROGRAM, Fit())
    if isinstance(made, Left):
        return
    options = made.args[1 : made.args.index("--")]
    names = {"--name", "--allow-env", "--secret", "--set-env"}
    assert {word for word in options[::2] if word.startswith("-")} <= names


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param("x /data", ["/data"], id="absolute"),
        pytest.param("x --dir=/data --y=z", ["/data"], id="an option's"),
        pytest.param("x . ./a ../b ~/c", [".", "./a", "../b", "~/c"], id="relative"),
        pytest.param("x data a/b -y", [], id="words"),
        pytest.param("node /srv/index.js /data", ["/data"], id="a script comes with its tree"),
        pytest.param("python3 -m server /data", ["/data"], id="a module"),
        pytest.param("x https://a/b /a:b", [], id="an address, a colon"),
        pytest.param("x ${workspaceFolder}/a ${env:X}", ["${workspaceFolder}/a"], id="variables of places"),
    ],
)
def test_paths_among_the_arguments(words: str, found: list[str]) -> None:
    assert list(candidates(words.split())) == found


@pytest.mark.parametrize(
    ("args", "words"),
    [
        pytest.param("run -q --profile p -- x -- y", "x -- y", id="ours"),
        pytest.param("run --profile=p x -- y", "x -- y", id="somebody's, without our `--`"),
        pytest.param("run --profile p", "", id="its profile has it"),
    ],
)
def test_what_is_inside(args: str, words: str) -> None:
    assert " ".join(inner(Entry("a", PROGRAM, tuple(args.split())))) == words


def test_our_program_is_absolute_and_keeps_its_links(tmp_path: Path) -> None:
    link = tmp_path / "mcp-sandbox"
    link.symlink_to("/usr/bin/true")
    assert our_program(str(link), "/x/python") == str(link)
    assert our_program("mcp-sandbox", "/x/bin/python") == "/x/bin/mcp-sandbox"
    assert our_program("/x/pytest", "/x/bin/python") == "/x/bin/mcp-sandbox"


def test_an_engines_entry_is_known_from_its_record_alone() -> None:
    entry = Entry("t", PROGRAM, ("run", "--backend", "docker", "--profile", "engine-t", "--", "--zone", "x"))
    before: Any = Entry("t", "docker", ("run", "-i", "mcp/time", "--zone", "x"))
    assert unwrapped(entry, None, None) is None
    back = unwrapped(entry, before, None)
    assert back is not None
    assert back.command == "docker"


# --- where our own options end -----------------------------------------------------------------------

SWITCHES = [one for action in parser()._actions if action.nargs == 0 for one in action.option_strings]
OPTIONS = [*SWITCHES, *"-qv -vq --verb --ref --lock --insec --profile --prof --name=n --name".split(),
           *"--allow-read - -x --set-env=A=b --no-such".split()]  # fmt: skip


@given(st.lists(st.sampled_from([*OPTIONS, "./evil.toml", "x", "--"]), max_size=7))
def test_our_options_end_where_the_program_says_so(words: list[str]) -> None:
    """Else a project's entry hides behind a switch which profile it names, and what it starts."""
    try:
        found = parsed(words)
    except (SandboxError, SystemExit):
        return
    entry = Entry("a", PROGRAM, ("run", *words))
    command = found.command[1:] if found.command[:1] == ["--"] else found.command
    assert inner(entry) == tuple(command)
    assert (profiles_named(entry) or (None,))[-1] == found.profile


@pytest.mark.parametrize(
    "switch", ["-q", "-qv", "--verb", *(one for one in SWITCHES if one not in ("-h", "--help"))]
)
def test_no_switch_hides_a_profile(switch: str) -> None:
    """The control: without it."""
    for before in ([], [switch]):
        entry = Entry("a", PROGRAM, ("run", *before, "--profile", "./evil.toml", "--", "x"))
        assert profiles_named(entry) == ("./evil.toml",)
