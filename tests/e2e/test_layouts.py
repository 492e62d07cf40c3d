"""Each way people start a server finds the same interpreter, packages and files inside as outside."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Require
from tests.e2e.caller import Caller

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

REQUEST = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}\n'
# Each says which interpreter it is, where its own code came from, and what it read beside itself.
NODE = """\
const greeting = require('greeting');
const text = require('fs').readFileSync(require('path').join(__dirname, 'data.txt'), 'utf8');
process.stdin.on('data', () => console.log(JSON.stringify({jsonrpc: '2.0', id: 1, result: {
  serverInfo: {name: greeting, version: process.version},
  seen: [process.execPath, __filename, text, process.argv.slice(2)],
}})));
"""
PYTHON = """\
import greeting, json, os, sys
text = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data.txt')).read()
for line in sys.stdin:
    seen = [sys.executable, sys.prefix, os.path.abspath(__file__), greeting.__file__, text, sys.argv[1:]]
    info = {'name': greeting.NAME, 'version': sys.version}
    print(json.dumps({'jsonrpc': '2.0', 'id': 1, 'result': {'serverInfo': info, 'seen': seen}}), flush=True)
"""


@dataclass(frozen=True)
class Layout:
    """A command, where it is started, and what the caller's PATH begins with."""

    command: tuple[str, ...]
    cwd: Path
    path: tuple[Path, ...] = ()
    bare: tuple[str, ...] = ()
    """The same server where the command's runner is not there to compare with."""


def node_project(home: Path) -> Path:
    """A script, its data and its package."""
    place = home / "projects/notes"
    package = place / "node_modules/greeting"
    package.mkdir(parents=True)
    (place / "package.json").write_text('{"name": "notes"}')
    (place / "server.js").write_text(NODE)
    (place / "data.txt").write_text("beside it")
    (package / "index.js").write_text("module.exports = 'hello';\n")
    return place


def python_project(home: Path, packages: Path | None = None) -> Path:
    """A module and its data, with what it imports beside it or in `packages`."""
    place = packages or home / "projects/notes"
    place.mkdir(parents=True, exist_ok=True)
    (place / "notes_server.py").write_text("#!/usr/bin/env python3\n" + PYTHON)
    (place / "notes_server.py").chmod(0o755)
    (place / "greeting.py").write_text("NAME = 'hello'\n")
    (place / "data.txt").write_text("beside it")
    return place


def environment(caller: Caller, place: Path) -> Path:
    """A virtual environment of the caller's with the module in it; the directory of its packages."""
    give(caller)
    make = ("/usr/bin/python3", "-m", "venv", "--without-pip", str(place))
    caller.run(*make, cwd=place.parent).check_returncode()
    return next(place.glob("lib/python*/site-packages"))


def _node_absolute(_caller: Caller, home: Path) -> Layout:
    return Layout(("node", str(node_project(home) / "server.js"), "--flag"), home)


def _node_relative(_caller: Caller, home: Path) -> Layout:
    return Layout(("node", "./server.js"), node_project(home))


def _node_of_nvm(_caller: Caller, home: Path) -> Layout:
    binaries = home / ".nvm/versions/node/v20.1.0/bin"
    binaries.mkdir(parents=True)
    shutil.copy2("/usr/bin/node", binaries / "node")
    return Layout(("node", str(node_project(home) / "server.js")), home, path=(binaries,))


def _script_by_relative_path(_caller: Caller, home: Path) -> Layout:
    return Layout(("./notes_server.py", "x y"), python_project(home))


def _module_of_a_venv(caller: Caller, home: Path) -> Layout:
    venv = home / "tools/venv"
    venv.parent.mkdir()
    python_project(home, environment(caller, venv))
    return Layout((str(venv / "bin/python"), "-m", "notes_server", "--flag"), home)


def _console_script(caller: Caller, home: Path) -> Layout:
    venv = home / "tools/venv"
    venv.parent.mkdir()
    python_project(home, environment(caller, venv))
    script = venv / "bin/notes"
    script.write_text(f"#!{venv}/bin/python\nimport notes_server\n")
    script.chmod(0o755)
    return Layout((str(script),), home)


def _uv_run(caller: Caller, home: Path) -> Layout:
    place = home / "projects/notes"
    place.mkdir(parents=True)
    (place / "pyproject.toml").write_text('[project]\nname = "notes"\nversion = "1"\n')
    python_project(home, environment(caller, place / ".venv"))
    bare = (str(place / ".venv/bin/python"), "-m", "notes_server")
    return Layout(("uv", "--directory", str(place), "run", "python", "-m", "notes_server"), home, bare=bare)


def _python_of_pyenv(_caller: Caller, home: Path) -> Layout:
    root = home / ".pyenv"
    real = Path("/usr/bin/python3").resolve()
    binaries = root / "versions/3.99.1/bin"
    binaries.mkdir(parents=True)
    (root / "shims").mkdir()
    shutil.copy2(real, binaries / "python3")
    (root / "version").write_text("3.99.1\n")
    shim = root / "shims/python3"
    shim.write_text(f'#!/usr/bin/env bash\nexport PYENV_ROOT="{root}"\nexec "{binaries}/python3" "$@"\n')
    shim.chmod(0o755)
    return Layout(("python3", str(python_project(home) / "notes_server.py")), home, path=(root / "shims",))


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(_node_absolute, id="node and an absolute path"),
        pytest.param(_node_relative, id="node and a relative path"),
        pytest.param(_node_of_nvm, id="a node of nvm"),
        pytest.param(_script_by_relative_path, id="a script by its relative path"),
        pytest.param(_module_of_a_venv, id="a module of a virtual environment"),
        pytest.param(_console_script, id="a virtual environment's console script"),
        pytest.param(_uv_run, id="uv run in a project"),
        pytest.param(_python_of_pyenv, id="a python of pyenv"),
    ],
)
def test_a_server_finds_inside_what_it_finds_outside(
    build: Callable[[Caller, Path], Layout], caller: Caller, require: Require
) -> None:
    require("node")
    layout = build(caller, home_of(caller))
    give(caller)
    started_with = {**caller.environ, "PATH": ":".join([*map(str, layout.path), caller.environ["PATH"]])}
    one = Caller(caller.name, caller.prefix, started_with, caller.ground, caller.uid, caller.gid)
    outside = one.run(*(layout.bare or layout.command), cwd=layout.cwd, text=REQUEST)
    inside = one.run(*one.sandboxed("--", *layout.command), cwd=layout.cwd, text=REQUEST)
    assert json.loads(outside.stdout)["result"]["serverInfo"]["name"] == "hello", outside.stderr
    assert inside.stdout, inside.stderr
    assert json.loads(inside.stdout) == json.loads(outside.stdout)
    assert inside.returncode == 0


@pytest.mark.parametrize("build", [_node_of_nvm, _python_of_pyenv], ids=["nvm", "pyenv"])
def test_a_client_of_the_desktop_finds_what_a_shell_finds(
    build: Callable[[Caller, Path], Layout], caller: Caller, require: Require
) -> None:
    require("node")
    layout = build(caller, home_of(caller))
    if build is _node_of_nvm:
        (alias := home_of(caller) / ".nvm/alias").mkdir()
        (alias / "default").write_text("20\n")
    give(caller)
    shell = ":".join([*map(str, layout.path), caller.environ["PATH"]])

    def started(path: str, *words: str) -> subprocess.CompletedProcess[str]:
        bare = ("/usr/bin/env", "-u", "PYENV_ROOT", "-u", "NVM_DIR", f"PATH={path}")
        return caller.run(*bare, *words, cwd=layout.cwd, text=REQUEST)

    inside = caller.sandboxed("--", *layout.command)
    assert started("/nonexistent", *layout.command).returncode == 127, "without us it does not start"
    desktop, terminal = started("/nonexistent", *inside), started(shell, *inside)
    assert json.loads(desktop.stdout) == json.loads(terminal.stdout)
    assert f"`{layout.command[0]}` is on no directory of PATH" in desktop.stderr
    assert "PATH" not in terminal.stderr


def home_of(caller: Caller) -> Path:
    return Path(caller.environ["HOME"])


def give(caller: Caller) -> None:
    """What the test wrote in the caller's home becomes the caller's."""
    if caller.prefix:
        owner = f"{caller.uid}:{caller.gid}"
        subprocess.run(["chown", "-R", owner, caller.environ["HOME"]], check=True)


def test_npm_exec_is_the_package_frozen_for_npx(caller: Caller) -> None:
    package = "@modelcontextprotocol/server-everything"
    place = caller.directory()
    request = json.dumps(
        {
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {"protocolVersion": "2025-06-18", "capabilities": {},
                       "clientInfo": {"name": "t", "version": "1"}},
        }
    )  # fmt: skip
    words = caller.sandboxed("--", "npm", "exec", "--yes", "--", package)
    done = caller.run(*words, cwd=place, text=request + "\n", timeout=110)
    assert json.loads(done.stdout)["result"]["serverInfo"]["name"] == "mcp-servers/everything", done.stderr
