"""`clients scan` and `wrap` beside locks: what is held is said to be, and nothing else is."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.cli.main import main
from sandbox.records import replace
from sandbox.supply import accepted
from tests.e2e.caller import PROGRAM
from tests.locked_world import COMMAND, World

Out = pytest.CaptureFixture[str]


class Clients:
    """The servers of one user's Cursor, or of a project's, with that world's package locked or not."""

    def __init__(self, world: World, capsys: Out) -> None:
        self.world, self.capsys = world, capsys
        self.users = Path(world.environ["HOME"]) / ".cursor/mcp.json"
        self.projects = world.project / ".cursor/mcp.json"

    def say(self, *command: str, contained: bool = True, file: Path | None = None, **more: Any) -> None:
        at = file or self.users
        words = [PROGRAM, "run", "--", *command] if contained else [*command]
        at.parent.mkdir(exist_ok=True)
        entry = {"command": words[0], "args": words[1:], **more}
        at.write_text(json.dumps({"mcpServers": {"a": entry}}))

    def scan(self) -> tuple[dict[str, Any] | None, dict[str, str]]:
        """What is said of the one server's lock, and what is found, by rule."""
        main(["clients", "scan", "--json"])
        found = json.loads(self.capsys.readouterr().out)
        (server,) = found["servers"]
        return server["lock"], {one["rule"]: one["reason"] for one in found["findings"]}

    def exposure(self) -> float:
        main(["clients", "scan", "--json"])
        (server,) = json.loads(self.capsys.readouterr().out)["servers"]
        exposure: float = server["exposure"]
        return exposure

    def table(self) -> str:
        main(["clients", "scan"])
        return self.capsys.readouterr().out

    def sarif(self) -> set[str]:
        main(["clients", "scan", "--sarif"])
        (run,) = json.loads(self.capsys.readouterr().out)["runs"]
        return {one["ruleId"] for one in run["results"]}


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> Clients:
    world = World(tmp_path)
    world.built()
    for name, value in world.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(world.project)
    return Clients(world, capsys)


# --- what is held -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["pkg", "pkg@latest", "pkg@^1"])
def test_a_server_that_a_lock_holds_is_not_unpinned(clients: Clients, spec: str) -> None:
    """The control: without the lock it is, and the fix is a command."""
    clients.say("npx", "-y", spec)
    lock, rules = clients.scan()
    assert (lock or {})["state"] == "none"
    assert "`mcp-sandbox lock -- npx -y " in rules["unpinned-contained"]
    before = clients.exposure()
    at = clients.world.put()
    lock, rules = clients.scan()
    assert lock == {"state": "locked", "path": str(at), "fix": None}
    assert rules == {}
    assert clients.exposure() < before
    assert f"locked by {at}" in clients.table()
    assert clients.sarif() == set()


def test_a_server_behind_env_is_held_too(clients: Clients) -> None:
    clients.world.put()
    clients.say("env", "A=b", *COMMAND)
    lock, rules = clients.scan()
    assert (lock or {})["state"] == "locked"
    assert rules == {}
    clients.say("nice", *COMMAND)
    lock, _ = clients.scan()
    assert (lock or {})["state"] == "none"


def test_what_the_client_starts_itself_is_held_by_no_lock(clients: Clients) -> None:
    at = clients.world.put()
    clients.say(*COMMAND, contained=False)
    lock, rules = clients.scan()
    assert lock == {"state": "bypassed", "path": str(at), "fix": "mcp-sandbox clients wrap cursor a"}
    assert f"the lock {at} holds it once `mcp-sandbox clients wrap cursor a` is done" in rules["unpinned"]
    assert {"uncontained", "unpinned"} <= clients.sarif()
    assert "not what the client starts" in clients.table()


def test_a_name_that_looks_like_an_option_is_not_pasted(clients: Clients) -> None:
    clients.world.put()
    clients.users.parent.mkdir(exist_ok=True)
    clients.users.write_text(json.dumps({"mcpServers": {"--yes": {"command": "npx", "args": ["-y", "pkg"]}}}))
    lock, _ = clients.scan()
    assert (lock or {})["fix"] == "mcp-sandbox clients wrap cursor"


# --- what does not count ----------------------------------------------------------------------------


def _changed(clients: Clients) -> None:
    at = clients.world.put()
    at.write_text(at.read_text().replace('by = "ana"', 'by = "eve"'))


def _gone(clients: Clients) -> None:
    clients.world.put().unlink()


def _elsewhere(clients: Clients) -> None:
    world = clients.world
    world.put(trees=(replace(world.lock().trees[0], fits="linux-riscv64 node-1"),))


def _inside(clients: Clients) -> None:
    world = clients.world
    world.put(trees=(replace(world.lock().trees[0], fits=f"linux-{os.uname().machine} image node"),))


def _other_version(clients: Clients) -> None:
    clients.world.put()
    clients.say("npx", "-y", "pkg@^2")


def _other_profile(clients: Clients) -> None:
    clients.world.put(profile="node")


def _not_accepted(clients: Clients) -> None:
    at = clients.world.put()
    Path(accepted._file(clients.world.environ)).unlink()
    clients.world.projects.parent.mkdir()
    at.rename(clients.world.projects)
    clients.say(*COMMAND, file=clients.projects)
    clients.users.unlink()


@pytest.mark.parametrize(
    ("spoil", "code", "fix"),
    [
        pytest.param(_changed, "lock-changed", "mcp-sandbox trust {users}", id="changed"),
        pytest.param(_gone, "lock-gone", "mcp-sandbox lock --remove pkg", id="gone"),
        pytest.param(_elsewhere, "lock-other-machine", "mcp-sandbox update pkg", id="another processor"),
        pytest.param(_inside, "lock-other-machine", "mcp-sandbox update pkg", id="an image's"),
        pytest.param(_other_version, "lock-mismatch", "mcp-sandbox update pkg", id="another version"),
        pytest.param(_other_profile, "profile-changed", "mcp-sandbox update pkg", id="another profile"),
        pytest.param(_not_accepted, "untrusted-lock", "mcp-sandbox trust {projects}", id="not accepted"),
    ],
)
def test_a_lock_that_does_not_count_is_said_with_what_mends_it(
    clients: Clients, spoil: Callable[[Clients], None], code: str, fix: str
) -> None:
    """By the check that the start makes, which `test_locks` has."""
    clients.say(*COMMAND)
    spoil(clients)
    lock, rules = clients.scan()
    fix = fix.format(users=clients.world.users, projects=clients.world.projects)
    assert ((lock or {})["state"], (lock or {})["fix"]) == (code, fix)
    assert list(rules) == ["lock-refused"]
    assert f"`{fix}`" in rules["lock-refused"]
    assert f"not locked ({code})" in clients.table()
    assert clients.sarif() == {"lock-refused"}


def test_what_is_asked_for_is_not_shown_as_the_lock(clients: Clients) -> None:
    at = clients.world.put()
    clients.say("npx", "--registry", "/other.lock", "-y", "pkg")
    lock, _ = clients.scan()
    assert ((lock or {})["state"], (lock or {})["path"]) == ("lock-mismatch", str(at))


def test_a_projects_lock_counts_once_it_is_accepted_and_in_its_project_alone(clients: Clients) -> None:
    clients.world.put(clients.world.projects)
    clients.say(*COMMAND, file=clients.projects)
    lock, _ = clients.scan()
    assert (lock or {})["state"] == "locked"
    held = clients.exposure()
    clients.projects.unlink()
    clients.say(*COMMAND)  # Cursor starts the user's own servers where it likes
    lock, _ = clients.scan()
    assert (lock or {})["state"] == "none"
    assert clients.exposure() > held


def test_a_link_to_another_projects_locks_holds_nothing(clients: Clients) -> None:
    other = clients.world.root / "other/.mcp-sandbox"
    clients.world.put(other / "pkg.lock")
    (clients.world.project / ".mcp-sandbox").symlink_to(other)
    clients.say(*COMMAND, file=clients.projects)
    lock, _ = clients.scan()
    assert (lock or {})["state"] == "none"


@pytest.mark.parametrize("name", ["XDG_CONFIG_HOME", "HOME"])
def test_an_entry_that_has_locks_of_its_own_looked_at_is_not_said_to_be_locked(
    clients: Clients, name: str
) -> None:
    clients.world.put()
    clients.say(*COMMAND, env={name: "/somewhere"})
    lock, rules = clients.scan()
    assert lock is None
    assert "unpinned-contained" in rules
    held = clients.exposure()
    clients.say(*COMMAND)
    assert clients.exposure() < held


def test_a_server_that_has_to_be_locked_and_is_not_does_not_start(clients: Clients) -> None:
    clients.users.parent.mkdir(exist_ok=True)
    entry = {"command": PROGRAM, "args": ["run", "--locked", "--", *COMMAND]}
    clients.users.write_text(json.dumps({"mcpServers": {"a": entry}}))
    lock, rules = clients.scan()
    assert lock == {"state": "not-locked", "path": None, "fix": "mcp-sandbox lock -- npx -y pkg"}
    assert "`mcp-sandbox lock -- npx -y pkg`" in rules["lock-refused"]


def test_what_a_project_has_chosen_begins_no_line_and_drives_no_terminal(clients: Clients) -> None:
    evil = "a\x1b[2Jb\nerror: `rm -rf ~` \u202e"
    at = clients.world.projects.with_name(f"{evil}.lock")
    clients.world.put(at)
    Path(accepted._file(clients.world.environ)).unlink()
    clients.say("npx", "-y", "pkg", evil, file=clients.projects)
    shown = clients.table()
    assert "untrusted-lock" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert not any(line.startswith("error") for line in shown.splitlines())


def test_a_program_that_is_only_called_so_is_held_by_nothing(clients: Clients) -> None:
    clients.world.put()
    fake = clients.world.project / "bin/mcp-sandbox"
    fake.parent.mkdir()
    fake.touch(0o755)
    clients.projects.parent.mkdir()
    entry = {"command": str(fake), "args": ["run", "--", *COMMAND]}
    clients.projects.write_text(json.dumps({"mcpServers": {"a": entry}}))
    lock, rules = clients.scan()
    assert lock is None
    assert "false-wrapper" in rules


# --- the words that are pasted ----------------------------------------------------------------------


def test_what_is_pasted_locks_this_very_server(clients: Clients, require: Callable[[str], None]) -> None:
    """A script in the place of a package: what is looked at is the words."""
    require("native")
    script = clients.world.project / "server.py"
    script.write_text("import sys\nsys.stdin.read()\n")
    clients.say("python3", str(script), "an argument")
    lock, _ = clients.scan()
    fix = (lock or {})["fix"]
    words = shlex.split(fix)
    assert words[:3] == ["mcp-sandbox", "lock", "--"]
    subprocess.run([PROGRAM, *words[1:2], "--blind", *words[2:]], check=True, timeout=60, capture_output=True)
    lock, _ = clients.scan()
    assert (lock or {})["state"] == "locked"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        pytest.param(["npx", "-y", "pkg", "/a b"], "npx -y pkg '/a b'", id="a space"),
        pytest.param(["npx", "-y", "pkg", "; rm -rf ~"], "npx -y pkg '; rm -rf ~'", id="a shell's words"),
        pytest.param(["npx", "-y", "pkg", "--token", "q8Zr2LmW0pXc5Tn7"], "npx -y pkg", id="a credential"),
        pytest.param(["npx", "-y", "pkg", "${HOME}/x"], "npx -y pkg", id="the client's variable"),
        pytest.param(["npx", "-y", "pkg", "a\x1b[2J"], "npx -y pkg", id="what drives a terminal"),
        pytest.param(["npx", "-y", "pkg", "x" * 400], "npx -y pkg", id="a long one"),
        pytest.param(["npx", "--registry", "https://u:p@r.example", "pkg"], "COMMAND", id="a login"),
        pytest.param(["env", "TOKEN=q8Zr2LmW0pXc5Tn7", "npx", "-y", "pkg"], "npx -y pkg", id="env"),
    ],
)  # fmt: skip
def test_the_command_says_no_credential_and_nothing_that_a_shell_reads_otherwise(
    clients: Clients, words: list[str], shown: str
) -> None:
    clients.say(*words)
    lock, rules = clients.scan()
    assert lock == {"state": "none", "path": None, "fix": f"mcp-sandbox lock -- {shown}"}
    assert "q8Zr2LmW0pXc5Tn7" not in json.dumps(rules)


def test_a_projects_file_has_nobody_paste_a_grant(clients: Clients) -> None:
    """The control: of the user's own file the options are the user's."""
    words = ["run", "--allow-net", "x.example", "--allow-write", "/srv", "--name", "b", "--", *COMMAND]
    for file, grants in (
        (clients.users, " --allow-net=x.example --allow-write=/srv"),
        (clients.projects, ""),
    ):
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"mcpServers": {"a": {"command": PROGRAM, "args": words}}}))
        lock, _ = clients.scan()
        assert (lock or {})["fix"] == f"mcp-sandbox lock --name=b{grants} -- npx -y pkg"
        file.unlink()


def test_a_projects_file_has_nobody_paste_a_profile_that_it_chose(clients: Clients) -> None:
    """The control: the one that is for the package, or the user's own file, may name it."""
    clients.projects.parent.mkdir()
    clients.users.parent.mkdir(exist_ok=True)
    time, fix = ("uvx", "mcp-server-time"), "mcp-sandbox lock --profile={} -- {}"
    for file, profile, command, wanted in (
        (clients.projects, "desktop-commander", COMMAND, None),
        (clients.projects, "time", time, fix.format("time", "uvx mcp-server-time")),
        (clients.users, "desktop-commander", COMMAND, fix.format("desktop-commander", "npx -y pkg")),
    ):
        words = ["run", "--profile", profile, "--", *command]
        file.write_text(json.dumps({"mcpServers": {"a": {"command": PROGRAM, "args": words}}}))
        lock, _ = clients.scan()
        assert lock == {"state": "none", "path": None, "fix": wanted}
        file.unlink()


def test_a_projects_file_has_nobody_paste_a_runner_of_its_own(clients: Clients) -> None:
    """The control: the runner that the user has."""
    for runner, wanted in ((f"{clients.world.project}/npx", None), ("npx", "mcp-sandbox lock -- npx -y pkg")):
        clients.say(runner, "-y", "pkg", file=clients.projects)
        lock, found = clients.scan()
        assert lock == {"state": "none", "path": None, "fix": wanted}
        assert ("steering-variable" in found) is (wanted is None)


# --- wrap -------------------------------------------------------------------------------------------


def test_wrap_ends_with_one_hint_where_something_is_not_locked(clients: Clients) -> None:
    """The control: what a lock holds is no reason for a hint."""
    clients.say(*COMMAND, contained=False)
    assert main(["clients", "wrap", "--program", PROGRAM, "--yes"]) == 0
    said = clients.capsys.readouterr().err
    line = "hint: `mcp-sandbox lock --name=a -- npx -y pkg` freezes a server as it is now; not locked: a"
    assert said.splitlines()[-1] == line
    assert main(["clients", "unwrap", "--yes"]) == 0
    assert "lock" not in clients.capsys.readouterr().err
    clients.world.put()
    assert main(["clients", "wrap", "--program", PROGRAM, "--yes"]) == 0
    assert "mcp-sandbox lock" not in clients.capsys.readouterr().err
    lock, _ = clients.scan()
    assert (lock or {})["state"] == "locked"
