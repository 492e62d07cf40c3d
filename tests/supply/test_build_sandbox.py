"""Real npm and uv in the real build sandbox, against registries of our own: what they see and run."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sandbox.build import builder
from sandbox.errors import SandboxNotBuilt
from sandbox.host.probe import probe
from sandbox.supply.job import Frozen
from tests.supply import registry
from tests.supply.toolchain import frozen, offline

SPY = """
const fs = require('fs'), os = require('os');
const list = (path) => { try { return fs.readdirSync(path) } catch (error) { return error.code } };
fs.writeFileSync('seen.json', JSON.stringify({
  env: process.env, home: list(os.homedir()), root: list('/root'), homes: list('/home'),
  hidden: list('HIDDEN'), proc: list('/proc').filter((name) => +name > 1).length,
}));
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The caller's environment with a store of this test's own and no registry settings."""
    python = os.path.dirname(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
    node = os.path.dirname(os.path.realpath(shutil.which("node") or "/usr/bin/node"))
    return {
        "HOME": os.environ["HOME"],
        "PATH": f"{python}:{node}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "no_proxy": "127.0.0.1",
    }


def _build(command: str, environ: Mapping[str, str], **more: object) -> Frozen:
    return frozen(command, environ, builder(probe(), environ), **more)  # type: ignore[arg-type]


def _offline(tree: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(offline(tree, *argv), capture_output=True, text=True, timeout=60)


@pytest.mark.threat("S8", proves="a newer package in the registry changes nothing for a pinned one")
@pytest.mark.threat("K4", proves="a frozen server runs offline and without npm")
def test_an_npm_package_is_fetched_once_and_runs_without_a_network(
    npm: registry.Npm, environ: dict[str, str]
) -> None:
    npm.publish("helper", "1.1.0", {"index.js": "module.exports = 'helped'"}, main="index.js")
    npm.publish(
        "tool",
        "1.0.0",
        {"t.js": "#!/usr/bin/env node\nconsole.log(require('helper'), process.argv.slice(2).join())"},
        bin={"tool": "t.js"},
        dependencies={"helper": "^1.0.0"},
    )
    environ["npm_config_registry"] = npm.url
    made = _build("npx -y tool@1.0.0 a b", environ)
    asked = len(npm.asked)
    assert asked > 0
    done = _offline(made.tree, *made.argv)
    assert (done.stdout, done.returncode) == ("helped a,b\n", 0)
    npm.publish("tool", "2.0.0", {"t.js": ""}, bin={"tool": "t.js"})
    assert _build("npx -y tool@1.0.0", environ).digest == made.digest
    assert len(npm.asked) == asked
    assert _build("npx -y tool", environ).resolved == ("tool@2.0.0",)


def test_a_package_is_built_in_a_cache_behind_a_link_with_settings_behind_one(
    npm: registry.Npm, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    settings = tmp_path / "dotfiles-npmrc"
    settings.write_text(f"registry={npm.url}\n")
    (Path(environ["HOME"]) / ".npmrc").symlink_to(settings)
    npm.publish("tool", "1.0.0", {"t.js": "console.log('ran')"}, bin={"tool": "t.js"})
    made = _build("npx -y tool", environ)
    assert _offline(made.tree, *made.argv).stdout == "ran\n"


@pytest.mark.threat(
    "K4",
    proves="an install script runs only if named, and sees no home and no project",
)
@pytest.mark.threat("K5", proves="no token reaches an install script or the tree")
def test_an_install_script_runs_only_when_named_and_sees_nothing_of_the_caller(
    npm: registry.Npm, environ: dict[str, str], tmp_path: Path
) -> None:
    host, project = npm.url.removeprefix("http:"), tmp_path / "project"
    project.mkdir()
    (project / "secret.txt").write_text("s")
    (Path(environ["HOME"]) / ".npmrc").write_text(f"registry={npm.url}\n{host}:_authToken=${{ACME}}\n")
    environ.update(ACME="t0ken-acme", GITHUB_TOKEN="t0ken-github")  # noqa: S106 - decoys
    scripts = {"postinstall": "node spy.js"}
    npm.publish(
        "spy",
        "1.0.0",
        {"spy.js": SPY.replace("HIDDEN", str(project)), "m.js": ""},
        bin={"spy": "m.js"},
        scripts=scripts,
    )
    plain = _build("npx -y spy", environ, cwd=str(project))
    assert not Path(plain.tree, "node_modules/spy/seen.json").exists()
    assert {login for _, login in npm.asked} == {"Bearer t0ken-acme"}
    named = _build("npx -y spy", environ, cwd=str(project), scripts=("spy",))
    seen = json.loads(Path(named.tree, "node_modules/spy/seen.json").read_text())
    assert "t0ken" not in json.dumps(seen)
    assert seen["hidden"] == "ENOENT"
    assert environ["HOME"] not in json.dumps(seen["env"])
    assert seen["root"] in ("ENOENT", "EACCES", [])
    assert seen["homes"] in ("ENOENT", ["mcp"])
    # npm, its shell and node: the host has many more.
    assert seen["proc"] < 10
    assert "t0ken" not in "".join(
        path.read_text(errors="replace") for path in Path(named.tree).rglob("*") if path.is_file()
    )


def test_a_missing_package_and_a_silent_registry_are_told_apart_and_leave_nothing(
    npm: registry.Npm, environ: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(SandboxNotBuilt, match="404") as failed:
        _build("npx -y nothing", {**environ, "npm_config_registry": npm.url})
    assert (failed.value.code, failed.value.exit_status) == ("package-not-found", 125)
    nobody = {"npm_config_registry": "http://127.0.0.1:1/", "npm_config_fetch_retries": "0"}
    with pytest.raises(SandboxNotBuilt) as failed:
        _build("npx -y nothing", {**environ, **nobody})
    assert failed.value.code == "registry-unreachable"
    store = tmp_path / "cache/mcp-sandbox/store"
    assert [list((store / name).iterdir()) for name in ("trees", "keys", "staging")] == [[], [], []]


def _until(true: Callable[[], bool], seconds: float) -> float:
    """Polls until `true`; the seconds it took."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < seconds, "it did not come true in time"
        time.sleep(0.02)
    return time.monotonic() - started


def _free(lock: Path) -> bool:
    with lock.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_first_start_killed_in_its_build_sandbox_frees_the_next_one(
    npm: registry.Npm, environ: dict[str, str], tmp_path: Path
) -> None:
    npm.publish("tool", "1.0.0", {"t.js": "#!/usr/bin/env node\nconsole.log('ran')"}, bin={"tool": "t.js"})
    environ["npm_config_registry"] = npm.url
    npm.open.clear()
    command = [os.path.dirname(sys.executable) + "/mcp-sandbox", "run", "--", "npx", "-y", "tool"]
    starting = subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    store = tmp_path / "cache/mcp-sandbox/store"
    try:
        _until(lambda: bool(npm.asked), 30)
        (lock,) = (store / "locks").iterdir()
        assert not _free(lock)
        assert list((store / "staging").iterdir())
    finally:
        starting.kill()
        starting.communicate()
    # No process of the build sandbox may hold on to the lock.
    _until(lambda: _free(lock), 2)
    npm.open.set()
    made = _build("npx -y tool", environ)
    assert _offline(made.tree, *made.argv).stdout == "ran\n"
    assert not list((store / "staging").iterdir())


@pytest.fixture
def wheels(require: Callable[[str], None], environ: dict[str, str], tmp_path: Path) -> Path:
    """A directory that is the only index, by the user's own uv.toml."""
    require("native")
    folder = tmp_path / "wheels"
    folder.mkdir()
    settings = Path(environ["HOME"]) / ".config/uv/uv.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'no-index = true\nfind-links = ["{folder}"]\n')
    return folder


def test_a_wheel_is_installed_and_runs_without_a_network(wheels: Path, environ: dict[str, str]) -> None:
    source = "import sys\ndef main(): print('ran', *sys.argv[1:], sys.prefix)\n"
    registry.wheel(wheels, "tool", "1.0", {"tool.py": source}, {"tool": "tool:main"})
    made = _build("uvx tool@1.0 a", environ)
    assert made.argv == ("/opt/mcp/bin/python", "/opt/mcp/bin/tool", "a")
    done = _offline(made.tree, *made.argv)
    assert (done.stdout, done.returncode) == ("ran a /opt/mcp\n", 0), done.stderr
    assert list(Path(made.tree).rglob("tool.*.pyc")), "compiled, since a read-only tree cannot be at run time"


@pytest.mark.threat("K4", proves="a wheel's start-up hook does not run while it is installed")
def test_a_wheels_start_up_code_does_not_run_while_it_is_installed(
    wheels: Path, environ: dict[str, str]
) -> None:
    hook = "import os, sys; open(os.path.join(sys.prefix, 'ran'), 'w').close()\n"
    registry.wheel(wheels, "hooked", "1.0", {"hooked.pth": hook, "hooked.py": ""}, {"hooked": "hooked:main"})
    tree = Path(_build("uvx hooked", environ).tree)
    assert list(tree.rglob("hooked.pth"))
    assert not (tree / "ran").exists()
    # The control: the same tree's python does run it, where it can write.
    subprocess.run([tree / "bin/python", "-c", ""], check=True)
    assert (tree / "ran").exists()


@pytest.mark.threat("K4", proves="a source distribution is built only if the profile names it")
def test_a_source_distribution_is_built_only_when_named(wheels: Path, environ: dict[str, str]) -> None:
    registry.source(wheels, "sourced", "1.0")
    with pytest.raises(SandboxNotBuilt) as failed:
        _build("uvx sourced", environ)
    assert failed.value.code == "package-needs-scripts"
    assert "[supply] scripts" in failed.value.hint
    made = _build("uvx sourced", environ, scripts=("sourced",))
    assert _offline(made.tree, *made.argv).stdout == "built\n"


def test_pip_builds_the_same_where_there_is_no_uv(
    wheels: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if subprocess.run(["/usr/bin/python3", "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("the system's python has no pip")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    source = "def main(): print('ran')\n"
    registry.wheel(wheels, "tool", "1.0", {"tool.py": source}, {"tool": "tool:main"})
    environ.update(PATH="/usr/bin:/bin", PIP_FIND_LINKS=str(wheels), PIP_NO_INDEX="1")
    made = _build("pipx run tool", environ)
    assert _offline(made.tree, *made.argv).stdout == "ran\n"


@pytest.mark.threat("D2", proves="EROFS in the package tree that starts share")
def test_the_tree_is_not_writable_from_the_sandbox_that_runs_it(
    wheels: Path, environ: dict[str, str]
) -> None:
    source = (
        "import sys\n"
        "def main():\n"
        "    try: open('/opt/mcp/x', 'w')\n"
        "    except OSError as error: print('errno', error.errno, file=sys.stderr, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    registry.wheel(wheels, "tool", "1.0", {"tool.py": source}, {"tool": "tool:main"})
    command = [os.path.dirname(sys.executable) + "/mcp-sandbox", "run", "--", "uvx", "tool"]
    done = subprocess.run(command, env=environ, input="", capture_output=True, text=True, timeout=60)
    assert "errno 30" in done.stderr
