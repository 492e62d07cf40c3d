"""A command's closure, proved by starting the command in a view that holds /usr and the closure alone."""

from __future__ import annotations

import os
import pwd
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sandbox.errors import CannotEnforce, CommandNotExecutable, CommandNotFound, SandboxError
from sandbox.host import elf
from sandbox.host.closure import closure, closure_of_program
from sandbox.plan.facts import Closure

Require = Callable[[str], None]
SYSTEM_PATH = "/usr/bin:/bin"
# The account's own home, whatever HOME a test sets.
REAL_HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)
HELLO_JS = "console.log('hello ' + process.argv.slice(2).join(' '))\n"
HELLO_PY = "import sys; print('hello', *sys.argv[1:])\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with things in it that no closure may show."""
    place = tmp_path / "home"
    for secret in (".ssh/id_ed25519", ".aws/credentials", "letters/private.txt"):
        write(place / secret, "secret\n")
    return place


def write(path: Path, text: str, *, program: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755 if program else 0o644)
    return path


def link(path: Path, to: str | Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)
    return path


def find(argv: Sequence[str | Path], home: Path, *, cwd: Path | None = None, **env: str) -> Closure:
    environ = {"HOME": str(home), "PATH": SYSTEM_PATH, **env}
    return closure([str(word) for word in argv], environ=environ, cwd=str(cwd or home))


def start(found: Closure) -> str:
    """What the command prints where nothing exists but /usr and its closure."""
    argv = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", "--proc", "/proc"]
    argv += ["--clearenv", "--setenv", "PATH", ":".join((*found.path, SYSTEM_PATH)), "--dev", "/dev"]
    for name in ("bin", "lib", "lib64"):
        argv += ["--symlink", f"usr/{name}", f"/{name}"]
    for source, target in found.binds:
        argv += ["--ro-bind", source, target]
    for place, text in found.links:
        argv += ["--dir", os.path.dirname(place), "--symlink", text, place]
    for name, value in found.env:
        argv += ["--setenv", name, value]
    done = subprocess.run([*argv, "--", *found.argv], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{found}\n{done.stderr}"
    return done.stdout.strip()


def exposed(found: Closure) -> set[str]:
    return {source for source, _ in found.binds}


def assert_narrow(found: Closure, home: Path) -> None:
    """No bind shows the home's secrets, the home, or a parent of it."""
    for source in exposed(found):
        assert not f"{home}/".startswith(f"{source}/"), f"{source} holds the home"
        for secret in (".ssh", ".aws", "letters"):
            assert not f"{home}/{secret}/".startswith(f"{source}/"), f"{source} holds {secret}"


# --- layouts -------------------------------------------------------------------------------------
# Each makes a layout below the home with a program that prints "hello you", and returns the command line,
# the directory it starts in, the variables it needs, and the trees that may be shown.

Layout = tuple[list[str | Path], Path, dict[str, str], set[Path]]


def _node_prefix(prefix: Path) -> Path:
    (prefix / "include/node").mkdir(parents=True)
    return _interpreter(prefix / "bin/node", "/usr/bin/node")


def _npm_tool(prefix: Path, text: str = "#!/usr/bin/env node\n" + HELLO_JS) -> Path:
    write(prefix / "lib/node_modules/tool/cli.js", text, program=True)
    write(prefix / "lib/node_modules/tool/package.json", "{}")
    return link(prefix / "bin/tool", "../lib/node_modules/tool/cli.js")


def _interpreter(target: Path, real: str) -> Path:
    """A file of its own, as version managers install it: two lines that start the system's."""
    return write(target, f'#!/bin/sh\nexec {real} "$@"\n', program=True)


def _python_prefix(prefix: Path) -> Path:
    write(prefix / "lib/python3.11/os.py", "")
    return _interpreter(prefix / "bin/python3", "/usr/bin/python3")


def nvm(home: Path) -> Layout:
    prefix = home / ".nvm/versions/node/v20.1.0"
    _node_prefix(prefix)
    _npm_tool(prefix)
    return ["tool", "you"], home, {"PATH": f"{prefix}/bin:{SYSTEM_PATH}"}, {prefix}


def nvm_current(home: Path) -> Layout:
    prefix = home / ".nvm/versions/node/v20.1.0"
    _node_prefix(prefix)
    _npm_tool(prefix)
    link(home / ".nvm/current", "versions/node/v20.1.0")
    return [home / ".nvm/current/bin/tool", "you"], home, {"PATH": f"{home}/.nvm/current/bin"}, {prefix}


def npm_prefix(home: Path) -> Layout:
    _npm_tool(home / ".npm-global")
    return [home / ".npm-global/bin/tool", "you"], home, {}, {home / ".npm-global/lib/node_modules"}


def shebang_with_s(home: Path) -> Layout:
    text = "#!/usr/bin/env -S node --no-warnings\n" + HELLO_JS
    _npm_tool(home / ".npm-global", text)
    return [home / ".npm-global/bin/tool", "you"], home, {}, {home / ".npm-global/lib/node_modules"}


def node_project(home: Path) -> Layout:
    project = home / "code/server"
    write(project / "package.json", '{"type": "commonjs"}')
    write(project / "node_modules/say/index.js", "module.exports = w => console.log('hello ' + w)\n")
    write(project / "dist/index.js", "require('say')(process.argv[2])\n")
    return ["node", "--no-warnings", "dist/index.js", "you"], project, {}, {project}


def node_workspace(home: Path) -> Layout:
    root = home / "code/mono"
    write(root / ".git/HEAD", "")
    write(root / "node_modules/say/index.js", "module.exports = w => console.log('hello ' + w)\n")
    write(root / "packages/a/package.json", "{}")
    write(root / "packages/a/index.js", "require('say')(process.argv[2])\n")
    return ["node", "packages/a/index.js", "you"], root, {}, {root / "packages/a", root / "node_modules"}


def script_in_home(home: Path) -> Layout:
    write(home / "server.js", HELLO_JS)
    return ["node", "server.js", "you"], home, {}, {home / "server.js"}


def python_project(home: Path) -> Layout:
    project = home / "code/server"
    write(project / "pyproject.toml", "")
    write(project / "src/greet.py", "word = 'hello'\n")
    write(project / "src/main.py", "import sys, greet; print(greet.word, sys.argv[1])\n")
    return ["python3", "-u", "src/main.py", "you"], project, {}, {project}


def executable_script(home: Path) -> Layout:
    script = write(home / "code/server/run.py", "#!/usr/bin/env python3\n" + HELLO_PY, program=True)
    return [script, "you"], home, {}, {home / "code/server"}


def program_in_local_bin(home: Path) -> Layout:
    script = write(home / ".local/bin/tool", "#!/usr/bin/python3\n" + HELLO_PY, program=True)
    return ["tool", "you"], home, {"PATH": f"{home}/.local/bin:{SYSTEM_PATH}"}, {script}


def user_site(home: Path) -> Layout:
    site = home / ".local/lib/python3.11"
    write(site / "site-packages/greetings.py", HELLO_PY)
    text = "#!/usr/bin/python3\nimport greetings\n"
    script = write(home / ".local/bin/tool", text, program=True)
    return [script, "you"], home, {}, {script, site}


def pipx(home: Path) -> Layout:
    venv = home / ".local/share/pipx/venvs/tool"
    make_venv(venv)
    write(venv / "bin/tool", f"#!{venv}/bin/python\n" + HELLO_PY, program=True)
    link(home / ".local/bin/tool", venv / "bin/tool")
    return [home / ".local/bin/tool", "you"], home, {}, {venv}


def uv_python(home: Path) -> Layout:
    base = home / ".local/share/uv/python/cpython-3.11.9"
    _python_prefix(base)
    link(base.parent / "cpython-3.11", "cpython-3.11.9")
    venv = home / "code/server/.venv"
    write(venv / "pyvenv.cfg", f"home = {base.parent}/cpython-3.11/bin\n")
    link(venv / "bin/python", base.parent / "cpython-3.11/bin/python3")
    script = write(venv / "bin/tool", f"#!{venv}/bin/python\n" + HELLO_PY, program=True)
    return [script, "you"], home, {}, {venv, base}


def uv_run(home: Path) -> Layout:
    project = home / "code/server"
    make_venv(project / ".venv")
    write(project / "pyproject.toml", "")
    write(project / "server.py", HELLO_PY)
    write(home / "bin/uv", "#!/bin/sh\nexit 9\n", program=True)
    argv: list[str | Path] = ["uv", "--directory", project, "run", "--frozen", "server.py", "you"]
    return argv, home, {"PATH": f"{home}/bin"}, {project}


def pyenv(home: Path) -> Layout:
    root = home / ".pyenv"
    _python_prefix(root / "versions/3.11.7")
    _python_prefix(root / "versions/3.12.1")
    write(root / "shims/python3", "#!/usr/bin/env bash\nexit 9\n", program=True)
    write(root / "version", "3.12.1\n")
    write(home / "code/server/.python-version", "3.11\n")
    script = write(home / "code/server/main.py", HELLO_PY)
    env = {"PATH": f"{root}/shims:{SYSTEM_PATH}"}
    return ["python3", script, "you"], script.parent, env, {root / "versions/3.11.7", script.parent}


def pyenv_shebang(home: Path) -> Layout:
    root = home / ".pyenv"
    _python_prefix(root / "versions/3.11.7")
    shim = write(root / "shims/python3", "#!/usr/bin/env bash\nexit 9\n", program=True)
    write(root / "version", "3.11.7\n")
    script = write(home / "code/server/main.py", f"#!{shim}\n" + HELLO_PY, program=True)
    return [script, "you"], home, {}, {root / "versions/3.11.7", script.parent}


def asdf(home: Path) -> Layout:
    root = home / ".asdf"
    prefix = root / "installs/nodejs/20.1.0"
    _node_prefix(prefix)
    write(root / "shims/node", "#!/bin/sh\n# asdf-plugin: nodejs 20.1.0\nexit 9\n", program=True)
    write(home / ".tool-versions", "python 3.11.7\nnodejs 20.1.0 # the server's\n")
    script = write(home / "code/server/main.js", HELLO_JS)
    return ["node", script, "you"], script.parent, {"PATH": f"{root}/shims"}, {prefix, script.parent}


def mise(home: Path) -> Layout:
    root = home / ".local/share/mise"
    _node_prefix(root / "installs/node/20.1.0")
    _node_prefix(root / "installs/node/22.2.0")
    link(root / "installs/node/latest", "./22.2.0")
    mise_program = write(home / ".local/bin/mise", "#!/bin/sh\nexit 9\n", program=True)
    link(root / "shims/node", mise_program)
    script = write(home / "code/server/main.js", HELLO_JS)
    write(script.parent / "mise.toml", '[tools]\nnode = "20"\n')
    env = {"PATH": f"{root}/shims"}
    return ["node", script, "you"], script.parent, env, {root / "installs/node/20.1.0", script.parent}


def volta(home: Path) -> Layout:
    root = home / ".volta"
    _node_prefix(root / "tools/image/node/20.1.0")
    write(root / "bin/volta-shim", "#!/bin/sh\nexit 9\n", program=True)
    link(root / "bin/node", "volta-shim")
    write(root / "tools/user/platform.json", '{"node": {"runtime": "20.1.0", "npm": null}}')
    script = write(home / "code/server/main.js", HELLO_JS)
    env = {"PATH": f"{root}/bin"}
    return ["node", script, "you"], script.parent, env, {root / "tools/image/node/20.1.0", script.parent}


def fnm(home: Path) -> Layout:
    prefix = home / ".local/share/fnm/node-versions/v20.1.0/installation"
    _node_prefix(prefix)
    link(home / ".local/state/fnm_multishells/17_1", prefix)
    script = write(home / "code/server/main.js", HELLO_JS)
    env = {"PATH": f"{home}/.local/state/fnm_multishells/17_1/bin"}
    return ["node", script, "you"], script.parent, env, {prefix, script.parent}


def env_in_front(home: Path) -> Layout:
    script = write(home / "code/server/main.js", HELLO_JS)
    return ["/usr/bin/env", "A=1", "node", script, "you"], home, {}, {script.parent}


def module_here(home: Path) -> Layout:
    project = home / "code/server"
    write(project / "greeter/__main__.py", HELLO_PY)
    write(project / "pyproject.toml", "")
    return ["python3", "-m", "greeter", "you"], project, {"PYTHONNOUSERSITE": "1"}, {project}


def make_venv(place: Path) -> None:
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", place], check=True, timeout=60)


LAYOUTS = [
    *(nvm, nvm_current, npm_prefix, shebang_with_s, node_project, node_workspace, script_in_home),
    *(python_project, executable_script, program_in_local_bin, user_site, pipx, uv_python, uv_run),
    *(pyenv, pyenv_shebang, asdf, mise, volta, fnm, env_in_front, module_here),
]
# They start in the directory that the command names, which bwrap is not told here.
NEEDS_CWD = {module_here}
USES_NODE = {nvm, nvm_current, npm_prefix, shebang_with_s, node_project, node_workspace, script_in_home}
USES_NODE |= {asdf, mise, volta, fnm, env_in_front}


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
