"""How commands lie on real hosts: version managers, environments, projects, each with a real program."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from sandbox.host.closure import closure
from sandbox.plan.facts import Closure

Require = Callable[[str], None]
SYSTEM_PATH = "/usr/bin:/bin"
# The account's own home, whatever HOME a test sets.
REAL_HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)
HELLO_JS = "console.log('hello ' + process.argv.slice(2).join(' '))\n"
HELLO_PY = "import sys; print('hello', *sys.argv[1:])\n"


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
