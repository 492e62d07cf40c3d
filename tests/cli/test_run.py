"""What `run` tells a person before the start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.cli import starting
from sandbox.policy.flags import Flags
from sandbox.prepare import prepare
from sandbox.prepared import Wish
from tests.conftest import Require
from tests.terminal import at_terminal

RUN = [
    sys.executable,
    "-c",
    "import sys; from sandbox.cli.main import main; sys.exit(main(sys.argv[1:]))",
    "run",
]


def said(*options: str, cwd: Path) -> str:
    argv = [*RUN, *options, "--", "/bin/cat"]
    done = subprocess.run(argv, input="", capture_output=True, text=True, cwd=cwd, timeout=30)
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize(
    "options", [["--profile", "base"], ["--allow-env", "LANG"], ["--quiet"]], ids=lambda words: words[0]
)
def test_an_ordinary_start_says_nothing(options: list[str], tmp_path: Path) -> None:
    assert said(*options, cwd=tmp_path) == ""


def test_a_server_that_no_profile_is_for_is_told_how_to_get_one(tmp_path: Path) -> None:
    line = "mcp-sandbox: no profile is for this server, so it has no files and no network; "
    assert said(cwd=tmp_path) == line + "`mcp-sandbox profile new -- COMMAND` writes one\n"


def test_verbose_says_what_holds_and_where_to_look(tmp_path: Path) -> None:
    lines = said("--verbose", cwd=tmp_path)
    assert "profile base" in lines
    assert "mcp-sandbox audit show" in lines


def test_verbose_says_where_the_server_may_connect() -> None:
    assert "no network but its own" in reach()
    assert "may connect to *.example.com:443, [2001:db8::1]:80" in reach("*.example.com", "[2001:db8::1]:80")


def reach(*hosts: str) -> str:
    """The line of a start that would be told this, without the start."""
    environ = dict(os.environ)
    wish = Wish(("/bin/cat",), environ, "/", flags=Flags(allow_net=hosts))
    return starting.said(prepare(wish, print), verbose=True)[0]


def test_a_waiver_is_shown_even_when_quiet(tmp_path: Path) -> None:
    keys = Path(os.environ["HOME"]) / ".ssh"
    keys.mkdir(mode=0o700)
    profile = tmp_path / "open.toml"
    profile.write_text('schema = 1\nextends = "base"\n[files]\nread = ["~/.ssh"]\nexpose = ["~/.ssh"]\n')
    refused = said("--quiet", "--allow-read", "~/.ssh", cwd=tmp_path)
    assert "secret-place" in refused
    assert "waived: " in said("--quiet", "--profile", str(profile), cwd=tmp_path)


SEARCHING = """
import re2, sys, threading, time
from sandbox.cli.leaving import leave

pattern, text = re2.compile("(?:please|ignore) all .{0,40}password"), b"please ignore al the pass " * 4000

def search():
    while True:
        pattern.search(text)

threading.Thread(target=search, daemon=True).start()
time.sleep(0.05)
sys.exit(leave(7) if sys.argv[1] == "leave" else 7)
"""


def test_a_thread_that_still_searches_is_no_fault() -> None:
    """The interpreter's own end makes it one: sooner or later it aborts."""

    def ended(how: str) -> int:
        return subprocess.run(
            [sys.executable, "-c", SEARCHING, how], capture_output=True, timeout=30
        ).returncode

    assert any(ended("exit") == -signal.SIGABRT for _ in range(40)), "the control aborts"
    assert {ended("leave") for _ in range(8)} == {7}


# --- options are read by a child; what it cannot say this process says --------------------------------


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        pytest.param(["--nonsense", "--", "/bin/cat"], 2, "error: unknown-option", id="no such option"),
        pytest.param(["--profile"], 2, "expected one argument", id="no value"),
        pytest.param(["--token-file", "x", "--", "/bin/cat"], 2, "error: no-listen", id="of a front"),
        pytest.param(["--backend", "moon", "--", "/bin/cat"], 2, "invalid choice", id="no such backend"),
        pytest.param(["--back=moon", "--", "/bin/cat"], 2, "invalid choice", id="the same, spelt shorter"),
        pytest.param(["--", "/no/such"], 127, "error: command-not-found", id="no such program"),
        pytest.param(["--profile", "no-such", "--", "/bin/cat"], 2, "error: ", id="no such profile"),
    ],
)
def test_what_is_wrong_is_said_once_and_to_the_client(words: list[str], status: int, told: str) -> None:
    request = '{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}\n'
    done = subprocess.run([*RUN, *words], input=request, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr.count(told)) == (status, 1), done.stderr
    assert '"error"' in done.stdout
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("option", ["--help", "--hel", "-h"])
def test_help_is_printed_once(option: str) -> None:
    done = subprocess.run([*RUN, option], input="", capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("usage: mcp-sandbox run") == 1


def test_a_terminal_gets_the_usage_once() -> None:
    status, shown = at_terminal([*RUN, "--nonsense", "--", "/bin/cat"], os.environ, "")
    assert (status, shown.count("usage: mcp-sandbox run")) == (2, 1), shown


def test_what_a_server_is_told_is_no_option_of_ours() -> None:
    command = ["--", "/bin/echo", "--backend", "--help"]
    done = subprocess.run([*RUN, "-q", *command], input="", capture_output=True, text=True, timeout=30)
    assert "--backend --help" in done.stderr, "its line is no message: it is shown as noise"


IGNORES = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("ignored", [False, True])
def test_a_client_that_ignores_how_its_children_end(require: Require, ignored: bool) -> None:
    require("native")
    before = [sys.executable, "-c", IGNORES] if ignored else []
    command = ["-q", "--", "/bin/sh", "-c", "exit 7"]
    done = subprocess.run([*before, *RUN, *command], input="", capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (7, "")


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [(["--nonsense"], 2, "error: unknown-option"), (["--", "/bin/cat"], 125, "error: stream-closed")],
)
def test_a_closed_stdin_is_told_after_what_was_typed(words: list[str], status: int, told: str) -> None:
    argv = ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *RUN, *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr.count(told)) == (status, 1), done.stderr


INTERRUPTED = """
import sys, threading
import re2
from sandbox.cli import main

def search():
    while True:
        found.Match(b"abc " * 100_000)

def interrupt(_args):
    threading.Thread(target=search, daemon=True).start()
    raise KeyboardInterrupt

found = re2.Set.SearchSet()
found.Add("x+y")
found.Compile()
main.dispatch = interrupt
sys.exit(main.main(["run"]))
"""


def test_an_interrupt_is_no_crash_while_rules_are_searched() -> None:
    """The interpreter's own end would unwind a thread that is in C++."""
    ends = {subprocess.run([sys.executable, "-c", INTERRUPTED], timeout=30).returncode for _ in range(5)}
    assert ends == {130}
