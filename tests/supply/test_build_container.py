"""npm and uv of the images in a real build container, against registries of our own and the real ones."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sandbox import containers, engine, images
from sandbox.container_build import builder
from sandbox.errors import SandboxNotBuilt
from sandbox.host.probe import probe
from sandbox.plan.facts import Closure, Container
from sandbox.policy.model import Policy
from sandbox.supply.job import BuildJob, BuildOutcome, Frozen
from tests.conftest import Ready, Require
from tests.supply import reaching, registry
from tests.supply.toolchain import asked, frozen

WRAPPER = os.path.dirname(sys.executable) + "/mcp-sandbox"
SPY = """
const fs = require('fs'), os = require('os');
const list = (path) => { try { return fs.readdirSync(path) } catch (error) { return error.code } };
const read = (path) => { try { return fs.readFileSync(path, 'latin1') } catch (error) { return error.code } };
const config = [].concat(list('/opt/mcp-config')).map((name) => read('/opt/mcp-config/' + name));
fs.writeFileSync('seen.json', JSON.stringify({
  env: process.env, first: read('/proc/1/environ'), config: config, home: list(os.homedir()),
  hidden: list('HIDDEN'), users: list('USERS'), uid: process.getuid(), status: read('/proc/self/status'),
}));
"""
TOOL = "#!/usr/bin/env node\nconsole.error('ran', process.version, process.argv.slice(2).join());\n"


@pytest.fixture
def environ(require: Require, ready: Ready, own_home: Path, tmp_path: Path) -> dict[str, str]:
    """A caller who has no node, npm, python or uv of its own, and no registry settings."""
    require("docker")
    _find_images(own_home, ready)
    given = {name: os.environ[name] for name in ("DOCKER_HOST", "DOCKER_CONTEXT") if name in os.environ}
    return {
        **given,
        "HOME": str(own_home),
        "PATH": "/nonexistent",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "no_proxy": "127.0.0.1",
    }


def _find_images(home: Path, ready: Ready) -> None:
    """The engine's own word is enough: whoever runs the tests, they are built once."""
    try:
        for name in ("base", "node", "python"):
            images.find(name, os.environ)
    except SandboxNotBuilt:
        note = home / ".local/state/mcp-sandbox/images.json"
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(ready("docker"))


@pytest.fixture
def npm(environ: dict[str, str]) -> Iterator[registry.Npm]:
    with registry.npm() as served:
        environ["npm_config_registry"] = served.url
        yield served


@pytest.fixture
def wheels(environ: dict[str, str], tmp_path: Path) -> Path:
    """A directory that is the only index, by the user's own uv.toml."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    settings = Path(environ["HOME"]) / ".config/uv/uv.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'no-index = true\nfind-links = ["{folder}"]\n')
    return folder


def place(command: str, environ: Mapping[str, str]) -> Container:
    return containers.container(Policy(name="t"), probe(), Closure(()), asked(command), environ)


def build(command: str, environ: Mapping[str, str], **more: Any) -> Frozen:
    where = place(command, environ)
    return frozen(command, environ, builder(probe(), where, environ), image=where.image, **more)


def start(environ: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """`mcp-sandbox run --backend docker`, with a client that says nothing and goes."""
    command = [WRAPPER, "run", "--backend", "docker", "--", *words]
    return subprocess.run(command, env={**environ}, input="", capture_output=True, text=True, timeout=120)


def until(true: Callable[[], bool], seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not come true in time"
        time.sleep(0.02)


def containers_of(pid: int) -> list[dict[str, Any]]:
    """What the engine knows of the containers that build for a wrapper."""
    api = engine.connect(os.environ)
    try:
        found = api.containers(all=True, filters={"label": "io.mcp-sandbox.role=build"})
        mine = [one for one in found if one["Labels"]["io.mcp-sandbox.lease"].startswith(f"{pid}~")]
        return [api.inspect_container(one["Id"]) for one in mine]
    finally:
        api.close()


def free(lock: Path) -> bool:
    with lock.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def texts(tree: str) -> str:
    return "".join(path.read_text(errors="replace") for path in Path(tree).rglob("*") if path.is_file())


def test_an_npm_package_is_built_once_and_runs_on_the_images_node(
    npm: registry.Npm, environ: dict[str, str]
) -> None:
    npm.publish("tool", "1.0.0", {"t.js": TOOL}, bin={"tool": "t.js"})
    first = start(environ, "npx", "-y", "tool@1.0.0", "a", "b")
    assert "building tool@1.0.0 (npm) in a container…" in first.stderr
    assert "built tool@1.0.0 in" in first.stderr
    assert "ran v" in first.stderr
    assert "a,b" in first.stderr
    requests = len(npm.asked)
    second = start(environ, "npx", "-y", "tool@1.0.0", "c")
    assert "building" not in second.stderr
    assert "c" in second.stderr
    assert len(npm.asked) == requests


def test_a_floating_version_is_asked_for_again_only_on_demand(
    npm: registry.Npm, environ: dict[str, str]
) -> None:
    npm.publish("tool", "1.0.0", {"t.js": TOOL}, bin={"tool": "t.js"})
    assert build("npx -y tool", environ).resolved == ("tool@1.0.0",)
    npm.publish("tool", "2.0.0", {"t.js": TOOL}, bin={"tool": "t.js"})
    assert build("npx -y tool", environ).resolved == ("tool@1.0.0",)
    assert build("npx -y tool", environ, refresh=True).resolved == ("tool@2.0.0",)


@pytest.mark.threat("K4", proves="an install script runs in a container only if named", backend="docker")
@pytest.mark.threat("K5", proves="no token reaches an install script or a container's tree", backend="docker")
def test_an_install_script_runs_only_when_named_and_sees_nothing_of_the_caller(
    npm: registry.Npm, environ: dict[str, str], tmp_path: Path
) -> None:
    host, project = npm.url.removeprefix("http:"), tmp_path / "project"
    project.mkdir()
    (project / "secret.txt").write_text("s")
    (Path(environ["HOME"]) / ".npmrc").write_text(f"{host}:_authToken=${{ACME}}\n")
    environ.update(ACME="t0ken-acme", GITHUB_TOKEN="t0ken-github")  # noqa: S106 - decoys
    source = SPY.replace("HIDDEN", str(project)).replace("USERS", os.path.dirname(environ["HOME"]))
    scripts = {"postinstall": "node spy.js"}
    npm.publish("spy", "1.0.0", {"spy.js": source, "m.js": ""}, bin={"spy": "m.js"}, scripts=scripts)
    plain = build("npx -y spy", environ, cwd=str(project))
    assert not Path(plain.tree, "node_modules/spy/seen.json").exists()
    assert {login for _, login in npm.asked} == {"Bearer t0ken-acme"}
    named = build("npx -y spy", environ, cwd=str(project), scripts=("spy",))
    seen = json.loads(Path(named.tree, "node_modules/spy/seen.json").read_text())
    assert "t0ken" not in json.dumps(seen)
    assert "t0ken" not in texts(named.tree)
    assert (seen["hidden"], seen["users"]) == ("ENOENT", "ENOENT")
    assert "npm" in json.dumps(seen["env"]), "the control: it saw its environment"
    assert seen["uid"] != 0
    status = dict(line.split(":\t", 1) for line in seen["status"].splitlines() if ":\t" in line)
    assert [status[name] for name in ("CapEff", "CapPrm", "CapBnd")] == ["0" * 16] * 3
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


@pytest.mark.threat(
    "K4", proves="an install script in a container reaches nothing, and is told", backend="docker"
)
def test_an_install_script_in_a_container_reaches_nothing_and_is_reported(
    npm: registry.Npm, environ: dict[str, str], tmp_path: Path
) -> None:
    outcomes: list[BuildOutcome] = []
    told: list[str] = []
    where = place("npx -y spy", environ)
    run = builder(probe(), where, environ, (), told.append)

    def kept(job: BuildJob) -> BuildOutcome:
        outcomes.append(run(job))
        return outcomes[-1]

    with reaching.sink() as sink:
        reaching.publish(npm, Path(environ["HOME"]), tmp_path, sink)
        made = frozen("npx -y spy", environ, kept, scripts=("spy",), image=where.image)
        assert sink.heard == []
    saw = reaching.saw(Path(made.tree))
    assert (saw["project"], saw["home"]) == ("ENOENT", "ENOENT")
    assert (saw["name"], saw["literal"], saw["sink"]) == ("ENOTFOUND", "ECONNREFUSED", "ECONNREFUSED")
    assert saw["registry"] == "ECONNREFUSED"
    assert {reaching.NAME, f"{reaching.LITERAL}:443", f"localhost:{sink.port}"} <= set(outcomes[-1].reached)
    assert outcomes[0].reached == (), "the registry of the settings, and nothing else, was asked"
    assert any(reaching.NAME in line for line in told)


@pytest.mark.threat("K5", proves="no login stands where the engine's own users read", backend="docker")
def test_a_build_container_shows_no_login_and_ends_with_a_killed_wrapper(
    npm: registry.Npm, environ: dict[str, str], tmp_path: Path
) -> None:
    npm.publish("tool", "1.0.0", {"t.js": TOOL}, bin={"tool": "t.js"})
    host = npm.url.removeprefix("http:")
    environ[f"npm_config_{host}:_authToken"] = "t0ken-of-env"
    npm.open.clear()
    starting, (made,) = started(npm, environ)
    store, state = tmp_path / "cache/mcp-sandbox/store", Path(environ["HOME"]) / ".local/state/mcp-sandbox"
    try:
        assert npm.asked[0][1] == "Bearer t0ken-of-env", "the control: npm has it"
        assert "t0ken" not in json.dumps(made)
        config, settings = made["HostConfig"], made["Config"]
        assert (config["ReadonlyRootfs"], config["CapDrop"], config["AutoRemove"]) == (True, ["ALL"], True)
        assert config["NetworkMode"].startswith("container:")
        assert not config["Privileged"]
        assert any(option.startswith("seccomp=") for option in config["SecurityOpt"])
        assert config["PidsLimit"] == 513
        assert config["Memory"] == config["MemorySwap"] == 2 << 30
        assert not settings["User"].startswith("0")
        assert [mount["Destination"] for mount in made["Mounts"] if mount["RW"]] == ["/opt/mcp"]
        (lock,) = (store / "locks").iterdir()
        assert not free(lock)
    finally:
        starting.kill()
        starting.communicate()
    until(lambda: not containers_of(starting.pid) and free(lock), 10)
    # The holder goes after the container that it holds, and the lease last.
    until(lambda: not [*(state / "containers").iterdir(), *(state / "sessions").iterdir()], 10)
    npm.open.set()
    again = start(environ, "npx", "-y", "tool", "later")
    assert "later" in again.stderr
    assert not list((store / "staging").iterdir())


def started(
    npm: registry.Npm, environ: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], list[dict[str, Any]]]:
    """A wrapper whose build waits for an answer of the registry, and the container that it builds in."""
    command = [WRAPPER, "run", "--backend", "docker", "--", "npx", "-y", "tool"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    starting = subprocess.Popen(command, env={**environ}, stdin=subprocess.PIPE, **quiet)  # type: ignore[call-overload]
    try:
        until(lambda: bool(npm.asked), 30)
        return starting, containers_of(starting.pid)
    except BaseException:
        starting.kill()
        starting.communicate()
        raise


def test_what_a_build_left_whose_keeper_was_killed_too_is_gone_before_the_next_one(
    npm: registry.Npm, environ: dict[str, str], tmp_path: Path
) -> None:
    npm.publish("tool", "1.0.0", {"t.js": TOOL}, bin={"tool": "t.js"})
    npm.open.clear()
    starting, (made,) = started(npm, environ)
    children = Path(f"/proc/{starting.pid}/task/{starting.pid}/children").read_text().split()
    for pid in (str(starting.pid), *children):
        os.kill(int(pid), signal.SIGKILL)
    starting.communicate()
    assert [one["Id"] for one in containers_of(starting.pid)] == [made["Id"]], "the control: it is left"
    npm.open.set()
    assert "ran v" in start(environ, "npx", "-y", "tool").stderr
    assert not containers_of(starting.pid)
    assert not list((tmp_path / "cache/mcp-sandbox/store/staging").iterdir())
    assert not list((Path(environ["HOME"]) / ".local/state/mcp-sandbox/containers").iterdir())


def test_a_build_that_fails_quotes_its_log_and_leaves_nothing(
    npm: registry.Npm, environ: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(SandboxNotBuilt, match="404") as failed:
        build("npx -y nothing", environ)
    assert (failed.value.code, failed.value.exit_status) == ("package-not-found", 125)
    store = tmp_path / "cache/mcp-sandbox/store"
    assert [list((store / name).iterdir()) for name in ("trees", "keys", "staging")] == [[], [], []]


def test_a_plan_builds_nothing_and_shows_the_tree_once_there_is_one(
    npm: registry.Npm, environ: dict[str, str]
) -> None:
    npm.publish("tool", "1.0.0", {"t.js": TOOL}, bin={"tool": "t.js"})
    command = [WRAPPER, "plan", "--all", "--backend", "docker", "--", "npx", "-y", "tool"]

    def planned() -> str:
        done = subprocess.run(command, env={**environ}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "not frozen yet" in planned()
    assert not npm.asked
    tree = build("npx -y tool", environ).tree
    assert f"{tree} at /opt/mcp" in planned()


def test_a_wheel_is_installed_for_the_images_python(wheels: Path, environ: dict[str, str]) -> None:
    source = "import sys\ndef main(): print('ran', *sys.argv[1:], sys.prefix, file=sys.stderr)\n"
    registry.wheel(wheels, "tool", "1.0", {"tool.py": source}, {"tool": "tool:main"})
    done = start(environ, "uvx", "tool@1.0", "a")
    assert "ran a /opt/mcp" in done.stderr
    made = build("uvx tool@1.0 a", environ)
    assert made.reused
    assert made.argv == ("/opt/mcp/bin/python", "/opt/mcp/bin/tool", "a")
    assert os.readlink(f"{made.tree}/bin/python") == "/usr/bin/python3"
    assert list(Path(made.tree).rglob("tool.*.pyc")), "compiled, since a read-only tree cannot be at run time"


@pytest.mark.threat("K4", proves="a wheel's code does not run in a build container", backend="docker")
def test_a_wheels_start_up_code_does_not_run_while_it_is_installed(
    wheels: Path, environ: dict[str, str]
) -> None:
    hook = "import sys; sys.stderr.write('at start-up'); open(sys.prefix + '/ran', 'w')\n"
    files = {"hooked.pth": hook, "hooked.py": "def main(): pass\n"}
    registry.wheel(wheels, "hooked", "1.0", files, {"hooked": "hooked:main"})
    tree = Path(build("uvx hooked", environ).tree)
    assert list(tree.rglob("hooked.pth"))
    assert not (tree / "ran").exists()
    # The control: the server's own python does run it.
    assert "at start-up" in start(environ, "uvx", "hooked").stderr


@pytest.mark.threat("K4", proves="a source distribution is built only if named", backend="docker")
def test_a_source_distribution_is_built_only_when_named(wheels: Path, environ: dict[str, str]) -> None:
    registry.source(wheels, "sourced", "1.0")
    with pytest.raises(SandboxNotBuilt) as failed:
        build("uvx sourced", environ)
    assert failed.value.code == "package-needs-scripts"
    assert build("uvx sourced", environ, scripts=("sourced",)).resolved == ("sourced==1.0",)


def test_a_python_that_the_image_does_not_have_is_an_error(wheels: Path, environ: dict[str, str]) -> None:
    registry.wheel(wheels, "tool", "1.0", {"tool.py": "def main(): pass\n"}, {"tool": "tool:main"})
    with pytest.raises(SandboxNotBuilt, match=r"3\.7") as failed:
        build("uvx --python 3.7 tool", environ)
    assert failed.value.code == "python-not-found"


@pytest.mark.threat("D2", proves="EROFS in the package tree in a container", backend="docker")
def test_the_tree_is_not_writable_from_the_container_that_runs_it(
    wheels: Path, environ: dict[str, str]
) -> None:
    source = (
        "import sys\n"
        "def main():\n"
        "    try: open('/opt/mcp/x', 'w')\n"
        "    except OSError as error: print('errno', error.errno, file=sys.stderr, flush=True)\n"
    )
    registry.wheel(wheels, "tool", "1.0", {"tool.py": source}, {"tool": "tool:main"})
    assert "errno 30" in start(environ, "uvx", "tool").stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("command", "name"),
    [
        pytest.param("npx -y @modelcontextprotocol/server-everything", "everything", id="npm"),
        pytest.param("uvx mcp-server-time", "mcp-time", id="PyPI"),
    ],
)
def test_a_package_of_the_real_registry_answers(command: str, name: str, environ: dict[str, str]) -> None:
    # The machine's own settings: how its registries are reached.
    environ = {**os.environ, **environ, "no_proxy": os.environ.get("no_proxy", "")}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
    opening = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    line = [WRAPPER, "run", "--backend", "docker", "--", *command.split()]
    with subprocess.Popen(
        line, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(opening) + "\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        server.stdin.close()
        assert name in answer["result"]["serverInfo"]["name"]
        assert server.wait(10) == 0
