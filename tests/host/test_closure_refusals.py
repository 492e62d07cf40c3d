"""What a closure never exposes, and how a bad command is told."""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path

import pytest

from sandbox.errors import CannotEnforce, CommandNotExecutable, CommandNotFound, SandboxError
from sandbox.host import elf
from tests.host.layouts import (
    HELLO_PY,
    Require,
    exposed,
    find,
    link,
    make_venv,
    nvm,
    write,
)

# --- what must not be exposed ----------------------------------------------------------------------


@pytest.mark.threat(
    "D1", proves="a hostile environment's pyvenv.cfg and .pth files expose nothing of the home"
)
def test_an_environment_cannot_name_trees_outside_its_project(home: Path) -> None:
    venv = home / "code/hostile/.venv"
    make_venv(venv)
    site = next((venv / "lib").glob("python3*")) / "site-packages"
    write(site / "evil.pth", f"{home}/letters\n{home}\n")
    write(site / "__editable___x_finder.py", f"MAPPING: dict = {{'x': '{home}/.ssh'}}\n")
    write(venv / "pyvenv.cfg", f"home = {home}/letters\n")
    program = write(home / "letters/python3", "#!/bin/sh\n", program=True)

    found = find([venv / "bin/python"], home)

    assert exposed(found) == {str(venv), str(program)}
    assert set(found.skipped) == {f"{home}/letters", str(home), f"{home}/.ssh"}


@pytest.mark.threat("D1", proves="nothing in ~/.ssh is exposed, not even a program that lies there")
def test_a_program_in_a_secret_place_is_refused(home: Path) -> None:
    program = write(home / ".ssh/server", "#!/bin/sh\n", program=True)

    with pytest.raises(CommandNotExecutable, match="never mounted"):
        find([program], home)


def elf_program(path: Path, needed: str, runpath: str) -> Path:
    """The least ELF file that names one library and the directory it is in (elf(5))."""
    strings = b"\0" + needed.encode() + b"\0" + runpath.encode() + b"\0"
    dynamic_at, strings_at = 64 + 2 * 56, 64 + 2 * 56 + 4 * 16
    entries = ((1, 1), (29, 2 + len(needed)), (5, strings_at), (0, 0))
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    size = strings_at + len(strings)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 4096)
    table = struct.pack("<IIQQQQQQ", 2, 6, dynamic_at, dynamic_at, 0, len(dynamic), len(dynamic), 8)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + load + table + dynamic + strings)
    path.chmod(0o755)
    return path


def test_a_library_of_the_programs_own_comes_along(home: Path) -> None:
    library = elf_program(home / "apps/lib/libown.so", "libc.so.6", "")
    program = elf_program(home / "apps/tool", "libown.so", "$ORIGIN/lib")

    assert exposed(find([program], home)) == {str(program), str(library)}


@pytest.mark.threat("D1", proves="a program that names a host file as its library gets no such file")
def test_a_library_that_is_no_library_is_not_exposed(home: Path) -> None:
    program = elf_program(home / "code/hostile/tool", "private.txt", str(home / "letters"))
    absolute = elf_program(home / "code/hostile/other", str(home / "letters/private.txt"), "")

    assert exposed(find([program], home)) == {str(program)}
    assert exposed(find([absolute], home)) == {str(absolute)}


@pytest.mark.parametrize("cut", range(0, 260, 13))
def test_a_damaged_program_names_no_library(cut: int, home: Path) -> None:
    library = elf_program(home / "apps/lib/libown.so", "libc.so.6", "")
    program = elf_program(home / "apps/tool", "libown.so", "$ORIGIN/lib")
    whole = program.read_bytes()
    program.write_bytes(whole[:cut])

    assert set(elf.own_libraries(str(program))) <= {str(library)}

    program.write_bytes(whole[:cut] + b"\xff" * (len(whole) - cut))

    assert set(elf.own_libraries(str(program))) <= {str(library)}


@pytest.mark.parametrize(
    "version",
    [
        pytest.param("../../letters", id="a path that climbs"),
        pytest.param("/etc", id="an absolute path"),
        pytest.param("..", id="the parent"),
    ],
)
def test_a_version_file_cannot_name_a_path(version: str, home: Path) -> None:
    root = home / ".pyenv"
    write(root / "shims/tool", "#!/bin/sh\n", program=True)
    write(home / "letters/bin/tool", "#!/bin/sh\n", program=True)
    write(home / "bin/tool", "#!/bin/sh\n", program=True)
    write(home / "code/.python-version", f"{version}\n")
    (root / "versions").mkdir()

    with pytest.raises(CommandNotFound, match="is a shim"):
        find(["tool"], home, cwd=home / "code", PATH=f"{root}/shims")


def test_a_manifest_above_the_repository_does_not_widen_it(home: Path, require: Require) -> None:
    require("node")
    write(home / "code/package.json", "{}")
    write(home / "code/other/private.txt", "")
    write(home / "code/repo/bin/server.js", "")
    before = exposed(find(["node", "bin/server.js"], home, cwd=home / "code/repo"))
    write(home / "code/repo/.git/HEAD", "")

    found = find(["node", "bin/server.js"], home, cwd=home / "code/repo")

    # The control: node itself would take the manifest, and without a repository's boundary so do we.
    assert before == {str(home / "code")}
    assert exposed(found) == {str(home / "code/repo/bin")}


def test_a_script_among_many_projects_shows_itself_alone(home: Path) -> None:
    write(home / "code/other/private.txt", "")
    script = write(home / "code/tool.py", HELLO_PY)

    assert exposed(find(["/usr/bin/python3", script], home)) == {str(script)}


def test_a_manifest_in_the_home_does_not_expose_the_home(home: Path, require: Require) -> None:
    require("node")
    write(home / "package.json", "{}")
    write(home / "servers/a.js", "")

    assert exposed(find(["node", "servers/a.js"], home)) == {str(home / "servers")}


# --- bad input -------------------------------------------------------------------------------------


def _broken(home: Path) -> None:
    write(home / "plain.txt", "words\n")
    write(home / "neither", "words\n", program=True)
    write(home / "no-interpreter", "#!/nowhere/python\n", program=True)
    write(home / "no-env", "#!/usr/bin/env nowhere-to-be-found\n", program=True)
    link(home / "dangling", "gone")
    link(home / "ring", "ring")
    write(home / "code/x/pyproject.toml", "")


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        pytest.param([], 127, "no command", id="nothing"),
        pytest.param([""], 127, "empty", id="an empty name"),
        pytest.param(["nowhere-to-be-found"], 127, "no directory of PATH", id="a name that is nowhere"),
        pytest.param(["./nowhere"], 127, "does not exist", id="a path that is nowhere"),
        pytest.param(["./dangling"], 127, "does not exist", id="a link to nothing"),
        pytest.param(["./ring"], 127, "does not exist", id="a link to itself"),
        pytest.param(["./plain.txt"], 126, "not executable", id="a file without the x bit"),
        pytest.param(["./letters"], 126, "a directory", id="a directory"),
        pytest.param(["./neither"], 126, "neither ELF", id="a file that is no program"),
        pytest.param(["./no-interpreter"], 126, "/nowhere/python", id="a missing interpreter"),
        pytest.param(["./no-env"], 126, "nowhere-to-be-found", id="an interpreter that PATH lacks"),
        pytest.param(["uv", "run", "--with", "x", "y"], 125, "--with", id="a uv run option we cannot honour"),
        pytest.param(["uv", "run", "--directory"], 127, "wants a value", id="uv run with half an option"),
        pytest.param(["uv", "run"], 127, "no command", id="uv run of nothing"),
        pytest.param(
            ["uv", "--directory", "code/x", "run", "y"], 127, "no environment", id="uv before a sync"
        ),
    ],
)
def test_a_bad_command_is_told_with_its_exit_status(
    argv: list[str], status: int, says: str, home: Path
) -> None:
    _broken(home)
    with pytest.raises(SandboxError, match=says) as caught:
        find(argv, home)
    assert caught.value.exit_status == status
    assert isinstance(caught.value, CommandNotFound | CommandNotExecutable | CannotEnforce)


def test_a_client_without_the_shells_path_is_told_where_the_program_is(home: Path) -> None:
    program = write(home / ".nvm/versions/node/v20.1.0/bin/node-tool", "#!/bin/sh\n", program=True)

    with pytest.raises(CommandNotFound) as caught:
        find(["node-tool"], home)

    assert str(program) in caught.value.hint


def test_it_is_quick_and_starts_no_process(home: Path, require: Require) -> None:
    require("node")
    argv, cwd, env, _ = nvm(home)
    events: list[str] = []
    watching = [True]
    sys.addaudithook(lambda event, _: events.append(event) if watching[0] else None)
    try:
        times = [_timed(argv, home, cwd, env) for _ in range(20)]
    finally:
        watching[0] = False

    assert not {e for e in events if e.startswith(("subprocess", "os.fork", "os.posix_spawn", "os.exec"))}
    assert sorted(times)[10] < 0.005


def _timed(argv: list[str | Path], home: Path, cwd: Path, env: dict[str, str]) -> float:
    began = time.perf_counter()
    find(argv, home, cwd=cwd, **env)
    return time.perf_counter() - began
