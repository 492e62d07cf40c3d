"""Programs outside the store: what is locked of them, what is found changed, and the commit of a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import program_locks
from sandbox.errors import SandboxNotBuilt
from sandbox.host.closure import closure
from sandbox.plan.facts import Closure
from sandbox.supply import places
from tests.conftest import Require

NODE = shutil.which("node") or "/usr/bin/node"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A server of node's in a project of its own."""
    found = tmp_path / "home" / "work" / "proj"
    (found / "lib").mkdir(parents=True)
    (found / "package.json").write_text("{}")
    (found / "server.js").write_text("require('./lib/tool')\n")
    (found / "lib" / "tool.js").write_text("module.exports = 1\n")
    return found


def environ(project: Path) -> dict[str, str]:
    home = str(project.parent.parent)
    return {"HOME": home, "PATH": os.environ["PATH"], "XDG_STATE_HOME": f"{home}/state"}


def closed(project: Path, *command: str) -> Closure:
    return closure(command or (NODE, "server.js"), environ=environ(project), cwd=str(project))


def test_a_program_as_it_was_locked_starts(project: Path) -> None:
    found = closed(project)
    (one,) = program_locks.places(found, environ(project))
    assert (one.path, one.files, one.commit) == (str(project), 4, "")
    for deep in (False, True):
        program_locks.check((one,), found, environ(project), deep=deep)


def flip(project: Path) -> str:
    (project / "lib" / "tool.js").write_text("module.exports = 2\n")
    return "lib/tool.js"


def add(project: Path) -> str:
    (project / "lib" / "tool.json").write_text("{}")
    return "lib"


def remove(project: Path) -> str:
    (project / "lib" / "tool.js").unlink()
    return "lib"


def swap(project: Path) -> str:
    (project / "server.js").unlink()
    (project / "server.js").symlink_to("lib/tool.js")
    return "server.js"


def lie(project: Path) -> str:
    """The same size, and the time that it had: only its inode's own time is another."""
    place = project / "server.js"
    was = place.stat()
    place.write_text("require('./lib/tool')\r")
    os.utime(place, ns=(was.st_atime_ns, was.st_mtime_ns))
    return "server.js"


@pytest.mark.parametrize("change", [flip, add, remove, swap, lie])
@pytest.mark.parametrize("deep", [False, True], ids=["start", "deep"])
def test_a_change_is_refused_and_named(project: Path, change: Callable[[Path], str], deep: bool) -> None:
    found = closed(project)
    locked = program_locks.places(found, environ(project))
    program_locks.check(locked, found, environ(project))
    named = change(project)
    with pytest.raises(SandboxNotBuilt) as raised:
        program_locks.check(locked, closed(project), environ(project), name="mine", deep=deep)
    assert raised.value.code == "tree-changed"
    assert raised.value.hint == "mcp-sandbox update mine"
    assert f"{project}/{named}" in raised.value.what


def test_a_place_that_was_not_locked_is_refused(project: Path) -> None:
    locked = program_locks.places(closed(project), environ(project))
    above = project.parent / "node_modules"
    above.mkdir()
    with pytest.raises(SandboxNotBuilt) as raised:
        program_locks.check(locked, closed(project), environ(project))
    assert raised.value.code == "place-changed"
    assert str(above) in raised.value.what


def test_a_place_that_is_gone_is_refused(project: Path) -> None:
    found = closed(project)
    locked = program_locks.places(found, environ(project))
    shutil.rmtree(project)
    with pytest.raises(SandboxNotBuilt) as raised:
        program_locks.check(locked, found, environ(project))
    assert str(project) in raised.value.what


# --- what counts -------------------------------------------------------------------------------------


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An installation of node, with a package installed globally, as version managers have them."""
    found = tmp_path / "home" / "versions" / "v20"
    package = found / "lib" / "node_modules" / "tool"
    package.mkdir(parents=True)
    (found / "include" / "node").mkdir(parents=True)
    (found / "bin").mkdir()
    (found / "bin" / "node").symlink_to(os.path.realpath(NODE))
    (package / "cli.js").write_text("#!/usr/bin/env node\n")
    (package / "cli.js").chmod(0o755)
    return found


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        pytest.param(("{prefix}/bin/node", "/x/server.js"), (), id="the interpreter alone"),
        pytest.param(
            ("{prefix}/lib/node_modules/tool/cli.js",), ("{prefix}",), id="a program that lies in it"
        ),
        pytest.param(
            ("{prefix}/bin/node", "{prefix}/lib/node_modules/tool/cli.js"), ("{prefix}",), id="its script"
        ),
    ],
)
def test_an_interpreter_is_no_place_unless_the_program_is_in_it(
    prefix: Path, argv: tuple[str, ...], wanted: tuple[str, ...]
) -> None:
    words = tuple(word.format(prefix=prefix) for word in argv)
    found = program_locks.roots(Closure(words, ((str(prefix), str(prefix)),)))
    assert found == tuple(one.format(prefix=prefix) for one in wanted)


def test_a_project_that_looks_like_an_interpreter_is_locked_all_the_same(tmp_path: Path) -> None:
    """Who wrote it may have put the marks of an installation there, to be left out of the lock."""
    project = tmp_path / "proj"
    for mark in ("include/node", "lib/node_modules", "lib/python3.11", "bin"):
        (project / mark).mkdir(parents=True)
    (project / "lib" / "python3.11" / "os.py").touch()
    (project / "bin" / "python3").symlink_to(sys.executable)
    bind = ((str(project), str(project)),)
    for found in (
        Closure(("/usr/bin/python3", "-m", "server"), bind, cwd=str(project)),
        Closure(("/usr/bin/python3", "-m", "server"), bind),
        Closure(("/usr/bin/node", f"{project}/server.js"), bind),
    ):
        assert program_locks.roots(found) == (str(project),)


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        pytest.param(("/usr/bin/env",), (os.path.realpath("/usr/bin/env"),), id="a program of the system"),
        pytest.param(("/usr/bin/python3", "-m", "json.tool"), (), id="a module of the system"),
        pytest.param(
            ("/usr/bin/python3", "/usr/bin/env"), (os.path.realpath("/usr/bin/env"),), id="a script"
        ),
    ],
)
def test_of_the_system_a_program_is_locked_by_itself(argv: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    assert program_locks.roots(Closure(argv)) == wanted


def test_nothing_to_lock_is_said(tmp_path: Path) -> None:
    with pytest.raises(SandboxNotBuilt) as raised:
        program_locks.places(Closure(("/usr/bin/python3", "-c", "1")), {"HOME": str(tmp_path)})
    assert raised.value.code == "nothing-to-lock"


def test_what_is_locked_twice_is_the_same(project: Path) -> None:
    first = program_locks.places(closed(project), environ(project))
    os.utime(project / "server.js", (1, 1))
    assert program_locks.places(closed(project), environ(project)) == first


# --- git ---------------------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_GLOBAL": "/dev/null"}
    named = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", *named, *words],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(require: Require, project: Path) -> Path:
    require("git")
    git(project, "init", "-q", "-b", "main")
    git(project, "add", ".")
    git(project, "commit", "-qm", "one")
    return project


def loose(project: Path) -> Path:
    return project


def packed(project: Path) -> Path:
    git(project, "pack-refs", "--all")
    assert not (project / ".git" / "refs" / "heads" / "main").exists()
    return project


def detached(project: Path) -> Path:
    git(project, "checkout", "-q", "--detach")
    return project


def worktree(project: Path) -> Path:
    git(project, "worktree", "add", "-q", "-b", "side", "../side")
    return project.parent / "side"


def below(project: Path) -> Path:
    return project / "lib"


@pytest.mark.parametrize("made", [loose, packed, detached, worktree, below])
def test_the_commit_is_read_as_git_says_it(checkout: Path, made: Callable[[Path], Path]) -> None:
    place = made(checkout)
    assert places.commit(str(place)) == git(place, "rev-parse", "HEAD")


def test_a_look_at_a_checkout_changes_nothing(checkout: Path) -> None:
    found = closed(checkout)
    locked = program_locks.places(found, environ(checkout))
    (checkout / ".git" / "index").write_bytes(b"another")
    git_file = checkout / ".git" / "FETCH_HEAD"
    git_file.write_text("x")
    for deep in (False, True):
        program_locks.check(locked, found, environ(checkout), deep=deep)
    assert locked[0].commit == places.commit(str(checkout))


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"ref: ../../secret\n", id="a way out"),
        pytest.param(b"ref: refs/../../../secret\n", id="a way out below refs"),
        pytest.param(b"secret words of a file\n", id="no hash"),
        pytest.param(b"\xff" * 40, id="no text"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_of_a_strangers_repository_nothing_but_a_hash_is_kept(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "secret").write_text("0" * 40)
    (tmp_path / "p" / ".git").mkdir(parents=True)
    (tmp_path / "p" / ".git" / "HEAD").write_bytes(head)
    assert places.commit(str(tmp_path / "p")) == ""


def test_a_pipe_in_a_repository_holds_nothing_up(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    os.mkfifo(tmp_path / ".git" / "HEAD")
    assert places.commit(str(tmp_path)) == ""
