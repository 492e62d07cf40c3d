"""A command's closure, proved by starting the command in a view that holds /usr and the closure alone."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.host.closure import closure_of_program
from sandbox.plan.facts import Closure
from tests.host.layouts import (
    HELLO_PY,
    LAYOUTS,
    NEEDS_CWD,
    REAL_HOME,
    SYSTEM_PATH,
    USES_NODE,
    Layout,
    Require,
    _python_prefix,
    assert_narrow,
    exposed,
    find,
    make_venv,
    start,
    uv_run,
    write,
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_the_command_starts_with_its_closure_alone(
    layout: Callable[[Path], Layout], home: Path, require: Require
) -> None:
    require("bwrap")
    if layout in USES_NODE:
        require("node")
    argv, cwd, env, trees = layout(home)

    found = find(argv, home, cwd=cwd, **env)

    assert exposed(found) == {str(tree) for tree in trees}
    assert_narrow(found, home)
    if layout in NEEDS_CWD:
        found = Closure(
            (*("/usr/bin/env", "-C", found.cwd), *found.argv), found.binds, found.links, found.path
        )
    assert start(found) == "hello you"


def test_a_system_command_needs_nothing_of_the_host(home: Path) -> None:
    found = find(["sh", "-c", "true"], home)

    assert (found.argv, found.binds, found.links, found.path) == (("/usr/bin/sh", "-c", "true"), (), (), ())


def test_the_arguments_of_the_server_are_left_alone(home: Path, require: Require) -> None:
    require("node")
    write(home / "code/a.js", "")
    write(home / "code/b.js", "")

    found = find(["node", "a.js", "b.js", "./b.js"], home, cwd=home / "code")

    assert found.argv == ("/usr/bin/node", str(home / "code/a.js"), "b.js", "./b.js")


def test_uv_run_brings_its_directory_and_its_variables(home: Path) -> None:
    argv, cwd, env, _ = uv_run(home)

    found = find(argv, home, cwd=cwd, **env)

    project = home / "code/server"
    assert found.cwd == str(project)
    assert dict(found.env)["VIRTUAL_ENV"] == str(project / ".venv")
    assert found.argv[0] == str(project / ".venv/bin/python")


def test_the_closure_of_an_interpreter_alone(home: Path) -> None:
    prefix = home / ".pyenv/versions/3.11.7"
    _python_prefix(prefix)

    found = closure_of_program(str(prefix / "bin/python3"), environ={"HOME": str(home), "PATH": SYSTEM_PATH})

    assert exposed(found) == {str(prefix)}
    assert found.argv == (str(prefix / "bin/python3"),)


def test_the_real_pyenv_of_this_host(home: Path, require: Require) -> None:
    require("bwrap")
    real = sorted((REAL_HOME / ".pyenv/versions").glob("3.11*/bin/python3"))
    if not real:
        pytest.skip("this host has no pyenv")

    found = find([real[0], "-c", "import ssl, sqlite3; print('hello you')"], home)

    assert exposed(found) == {str(real[0].parent.parent)}
    assert start(found) == "hello you"


def test_a_binary_brings_the_libraries_beside_it(home: Path) -> None:
    real = sorted((REAL_HOME / ".pyenv/versions").glob("3.11*/lib/libpython3.11.so.1.0"))
    if not real:
        pytest.skip("this host has no program with a library of its own")
    program = home / "apps/python/bin/snake"
    program.parent.mkdir(parents=True)
    program.write_bytes((real[0].parent.parent / "bin/python3.11").read_bytes())
    program.chmod(0o755)

    found = find([program], home)

    assert exposed(found) == {str(program), str(real[0])}


@pytest.mark.threat("D1", proves="an environment's server does not see the user's other packages")
def test_the_users_own_packages_are_not_shown_to_an_environment(home: Path) -> None:
    write(home / ".local/lib/python3.11/site-packages/other.py", "")
    make_venv(home / "code/server/.venv")

    found = find([home / "code/server/.venv/bin/python"], home)
    alone = closure_of_program("/usr/bin/python3", environ={"HOME": str(home), "PATH": SYSTEM_PATH})

    assert exposed(found) == {str(home / "code/server/.venv")}
    assert (alone.binds, alone.env) == ((), ())


def test_a_link_at_the_top_shows_the_tree_at_both_places(tmp_path: Path, require: Require) -> None:
    """As on systems where /home is a link to /var/home."""
    require("bwrap")
    script = write(tmp_path / "inner/home/code/server/main.py", HELLO_PY)
    top = Path("/mcp-sandbox-test-home")
    if os.geteuid() != 0 or os.path.lexists(top):
        pytest.skip("only root can make a link at the top")
    top.symlink_to(tmp_path / "inner/home")
    try:
        found = find(["python3", top / "code/server/main.py", "you"], top)
    finally:
        top.unlink()

    assert set(found.binds) == {
        (str(script.parent), str(script.parent)),
        (str(script.parent), f"{top}/code/server"),
    }
    assert start(found) == "hello you"


@pytest.mark.parametrize(
    ("path", "cwd"),
    [
        pytest.param("code", ".", id="a relative directory"),
        pytest.param(".", "code", id="the current directory"),
        pytest.param("/nowhere::/usr/bin", "code", id="an empty entry is the current directory"),
    ],
)
def test_the_directories_of_path_are_read_as_the_shell_reads_them(path: str, cwd: str, home: Path) -> None:
    write(home / "code/tool", "#!/bin/sh\n", program=True)

    assert find(["tool"], home, cwd=home / cwd, PATH=path).argv == (str(home / "code/tool"),)


def test_a_caller_without_home_still_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from sandbox.host.lookup import home_of

    assert home_of({}) == home_of({"HOME": "relative"}) == os.path.realpath(os.path.expanduser(f"~{_me()}"))


def _me() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    ("tree", "wide"),
    [
        pytest.param("/", True, id="the root"),
        pytest.param("/opt", True, id="a top directory"),
        pytest.param("/home/u", True, id="the home"),
        pytest.param("/home/other", True, id="another home"),
        pytest.param("/home/u/.local", True, id="the home's local tree"),
        pytest.param("/home/u/.config", True, id="all settings"),
        pytest.param("/home/u/Documents", True, id="all documents"),
        pytest.param("/home/u/.ssh", True, id="keys"),
        pytest.param("/home/u/.aws/cli", True, id="below credentials"),
        pytest.param("/home/u/.config/nvm/versions/node/v20", False, id="a node below the settings"),
        pytest.param("/home/u/.sshfs/tool", False, id="a name that only begins alike"),
        pytest.param("/home/u/code/server", False, id="a project"),
        pytest.param("/opt/tool", False, id="a prefix"),
    ],
)
def test_a_tree_that_holds_more_than_a_program_is_too_wide(tree: str, wide: bool) -> None:
    from sandbox.host.lookup import too_wide

    assert too_wide(tree, "/home/u") is wide
