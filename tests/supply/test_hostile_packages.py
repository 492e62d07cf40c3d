"""Packages that would run their own code while they are installed, though no profile named them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sandbox.build import builder
from sandbox.errors import SandboxNotBuilt
from sandbox.host.probe import probe
from sandbox.supply import npm as npm_maker
from sandbox.supply import pypi as pypi_maker
from sandbox.supply.job import Frozen
from tests.supply import registry
from tests.supply.toolchain import frozen

GIT = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
HELPER = '#!/bin/sh\necho "$NPM_TOKEN" > /opt/mcp/stolen\nexec git "$@"\n'


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    node = os.path.dirname(os.path.realpath(shutil.which("node") or "/usr/bin/node"))
    return {
        "HOME": os.environ["HOME"],
        "PATH": f"{node}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "no_proxy": "127.0.0.1",
    }


@pytest.fixture
def repositories(require: Callable[[str], None], tmp_path: Path) -> Iterator[str]:
    """Two git repositories over HTTP: `inner`, and `evil`, whose `.npmrc` names its own program as git."""
    require("git")
    root = tmp_path / "repositories"
    root.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    url = f"git+http://127.0.0.1:{server.server_address[1]}"
    evil = (
        '{"name": "evil", "version": "1.0.0", "scripts": {"prepare": "true"}, '
        f'"devDependencies": {{"inner": "{url}/inner.git"}}}}'
    )
    _publish(root, "inner", {"package.json": '{"name": "inner", "version": "1.0.0"}'})
    _publish(root, "evil", {"package.json": evil, ".npmrc": "git=./helper\n", "helper": HELPER})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield url
    server.shutdown()
    server.server_close()
    thread.join()


def _publish(root: Path, name: str, files: dict[str, str]) -> None:
    work = root / name
    work.mkdir()
    for file, text in files.items():
        (work / file).write_text(text)
        (work / file).chmod(0o755)
    bare = root / f"{name}.git"
    for command in (
        ["git", *GIT, "init", "-q"],
        ["git", "add", "-A"],
        ["git", *GIT, "commit", "-qm", "x"],
        ["git", "clone", "-q", "--bare", ".", str(bare)],
        ["git", "--git-dir", str(bare), "update-server-info"],
    ):
        subprocess.run(command, cwd=work, check=True, timeout=30, env={**os.environ, "HOME": str(root)})


def _build(command: str, environ: dict[str, str]) -> Frozen:
    return frozen(command, environ, builder(probe(), environ))


@pytest.mark.threat("K4", proves="a dependency from git runs nothing and sees no token")
def test_a_dependency_from_git_is_refused(
    require: Callable[[str], None],
    repositories: str,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control: `--ignore-scripts` alone lets its `.npmrc` name a program, which finds the token."""
    require("native")
    require("npm")
    with registry.npm() as served:
        served.publish(
            "tool", "1.0.0", {"m.js": ""}, bin={"tool": "m.js"},
            dependencies={"evil": f"{repositories}/evil.git"},
        )  # fmt: skip
        environ.update(npm_config_registry=served.url, NPM_TOKEN="t0ken")  # noqa: S106 - a decoy
        with pytest.raises(SandboxNotBuilt) as refused:
            _build("npx -y tool", environ)
        assert refused.value.code == "package-not-from-registry"
        careless = tuple(word for word in npm_maker._INSTALL if word not in npm_maker._REGISTRY_ONLY)
        monkeypatch.setattr(npm_maker, "_INSTALL", careless)
        reached = builder(probe(), environ, (repositories.removeprefix("git+http://"),))
        tree = Path(frozen("npx -y tool", environ, reached).tree)
        assert (tree / "stolen").read_text() == "t0ken\n"


@pytest.mark.threat("K4", proves="a wheel cannot name a source distribution that is built unasked")
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_wheel_that_requires_a_source_by_its_place(
    installer: str,
    require: Callable[[str], None],
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require("native")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    registry.source(wheels, "sourced", "1.0")
    (place,) = wheels.glob("sourced*")
    registry.wheel(
        wheels, "tool", "1.0", {"tool.py": "def main(): pass\n"}, {"tool": "tool:main"},
        requires=f"sourced @ file://{place}",
    )  # fmt: skip
    if installer == "pip":
        if subprocess.run(["/usr/bin/python3", "-m", "pip", "--version"], capture_output=True).returncode:
            pytest.skip("the system's python has no pip")
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        environ.update(PATH="/usr/bin:/bin", PIP_FIND_LINKS=str(wheels), PIP_NO_INDEX="1")
    else:
        settings = Path(environ["HOME"]) / ".config/uv/uv.toml"
        settings.parent.mkdir(parents=True)
        settings.write_text(f'no-index = true\nfind-links = ["{wheels}"]\n')
    with pytest.raises(SandboxNotBuilt) as refused:
        _build("pipx run tool", environ)
    assert refused.value.code in ("package-needs-scripts", "package-not-from-registry"), refused.value
    if installer == "uv":
        return  # it builds no such dependency for anybody; pip is the control
    unguarded = pypi_maker._NO_PROCESS.replace("sys.addaudithook(refuse)", "")
    monkeypatch.setattr(pypi_maker, "_NO_PROCESS", unguarded)
    assert list(Path(_build("pipx run tool", environ).tree).rglob("sourced.py"))
