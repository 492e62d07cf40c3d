"""What tests of source distributions start from: an index of our own, builds, code that spies and forges."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sandbox.build import builder
from sandbox.host.probe import probe
from sandbox.supply.job import Frozen
from sandbox.supply.resolved import Resolution, resolution
from tests.supply import registry, sdists
from tests.supply.toolchain import frozen, offline

UV = Path(sys.executable).with_name("uv")
LEGACY = "from setuptools import setup\nsetup(name='tool', version='1.0', install_requires=['helper'])\n"
# What a build finds of its caller's, and whether it reaches the index: left in the wheel.
SPY = """
import json, urllib.request
saw = {"env": dict(os.environ), "files": {}, "index": ""}
for top in ("/opt/mcp-config", "/etc/uv", "/root", os.path.expanduser("~")):
    for at, _, files in os.walk(top):
        for file in files[:50] if len(saw["files"]) < 200 else ():
            try: saw["files"][at + "/" + file] = open(at + "/" + file, "rb").read(99999).decode("latin1")
            except OSError: pass
try: saw["index"] = urllib.request.urlopen("INDEX", timeout=5).status
except OSError as error: saw["index"] = str(error)
"""
LEFT = "name, version, more={'saw.json': json.dumps(saw)}"
# Everything that is the installer's, and what another package has, is written over where it can be.
FORGE = """
import glob
for path in ["TREE/.build/pylock.toml", *glob.glob("TREE/lib/python*/site-packages/helper.py"),
             *glob.glob("/opt/mcp-config/*"), "/opt/mcp-config/wheels/helper-1.0-py3-none-any.whl"]:
    try:
        with open(path, "w") as file:
            file.write("forged = 1\\n")
    except OSError:
        pass
for place in glob.glob("TREE/lib/python*/site-packages"):
    with open(place + "/helper.py", "w") as file:
        file.write("forged = 1\\n")
"""


def caller(tmp_path: Path) -> dict[str, str]:
    """An environment with a store of this test's own."""
    python = os.path.dirname(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
    return {
        "HOME": os.environ["HOME"],
        "PATH": f"{python}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "no_proxy": "127.0.0.1",
    }


def index_at(tmp_path: Path, environ: Mapping[str, str]) -> Path:
    """A directory that is the only index, by the user's own uv.toml: with a helper and a `setuptools`."""
    folder = tmp_path / "index"
    folder.mkdir()
    settings = Path(environ["HOME"]) / ".config/uv/uv.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'no-index = true\nfind-links = ["{folder}"]\n')
    registry.wheel(folder, "helper", "1.0", {"helper.py": "honest = 1\n"}, {})
    sdists.setuptools(folder)
    return folder


def build(environ: Mapping[str, str], command: str = "uvx tool", *scripts: str) -> Frozen:
    """What is frozen, where the profile names these."""
    return frozen(command, environ, builder(probe(), environ), scripts=scripts or ("tool",))


def known(made: Frozen) -> Resolution:
    """What was resolved."""
    found = resolution(made.tree)
    assert found is not None
    return found


def runs(made: Frozen) -> str:
    """What its program prints, with no network."""
    done = subprocess.run(offline(made.tree, *made.argv), capture_output=True, text=True, timeout=60)
    return done.stdout


def file(made: Frozen, name: str) -> str:
    """A file of its site-packages."""
    (found,) = Path(made.tree).glob(f"lib/*/site-packages/{name}")
    return found.read_text()


def unsandboxed(tmp_path: Path, package: str, **env: str) -> Path:
    """As uv does it by itself, the source's code beside it: the environment that it was installed into."""
    venv, more = tmp_path / "venv", {**os.environ, "UV_CACHE_DIR": str(tmp_path / "uv"), **env}
    subprocess.run([UV, "venv", "--no-project", "-q", venv], check=True, env=more, timeout=60)
    words = ["pip", "install", "-q", "--python", str(venv / "bin/python"), "helper", package]
    subprocess.run([UV, *words], check=True, env=more, timeout=120)
    return venv


def simple(index: Path, tmp_path: Path) -> Path:
    """The same files as an index with hashes: what the directory of one package holds, and a page of it."""
    for path in [*index.iterdir()]:
        folder = tmp_path / "http/simple" / path.name.split("-")[0]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
        lines = [
            f'<a href="{one.name}#sha256={hashlib.sha256(one.read_bytes()).hexdigest()}">{one.name}</a>'
            for one in sorted(folder.iterdir())
            if one.name != "index.html"
        ]
        (folder / "index.html").write_text("\n".join(lines))
    return tmp_path / "http"
