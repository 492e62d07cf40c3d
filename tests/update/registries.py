"""Registry programs that others keep, on the loopback: verdaccio for npm, pypiserver for PyPI."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

VERDACCIO = "6.1.6"
# Its own dependency asks for a tag that not every mirror of the registry has.
OVERRIDES = {"node-fetch": "2.7.0"}
CONFIG = """
storage: {root}/storage
auth: {{}}
web: {{enable: false}}
uplinks: {{}}
packages: {{"**": {{access: $all, publish: $all}}}}
log: {{type: stdout, format: json, level: error}}
"""
STARTS_S = 60.0


def verdaccio_in(folder: Path) -> str:
    """Its program, installed once."""
    program = folder / "node_modules/.bin/verdaccio"
    if not (folder / "made").exists():
        folder.mkdir(parents=True, exist_ok=True)
        wanted = {"private": True, "dependencies": {"verdaccio": VERDACCIO}, "overrides": OVERRIDES}
        (folder / "package.json").write_text(json.dumps(wanted))
        quiet = ["--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"]
        install = ["npm", "install", *quiet, f"--cache={folder}/npm", f"--prefix={folder}"]
        subprocess.run(install, cwd=folder, check=True, timeout=300, stdout=subprocess.DEVNULL)
        (folder / "made").touch()
    return str(program)


def pypiserver_in(folder: Path) -> str:
    """Its program, installed once."""
    if not (folder / "made").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
        install = [str(folder / "bin/pip"), "install", "--quiet", "pypiserver"]
        subprocess.run(install, check=True, timeout=300, stderr=subprocess.DEVNULL)
        (folder / "made").touch()
    return str(folder / "bin/pypi-server")


@contextmanager
def verdaccio(program: str, root: Path) -> Iterator[str]:
    """The URL of one that answers, until the block ends."""
    config = root / "config.yaml"
    config.write_text(CONFIG.format(root=root))
    port = _free_port()
    with _running([program, "--config", str(config), "--listen", f"127.0.0.1:{port}"], port, "/-/ping"):
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def pypiserver(program: str, packages: Path) -> Iterator[str]:
    """The URL of its simple index, until the block ends; `packages`: the folder that it serves."""
    port = _free_port()
    with _running([program, "run", "-i", "127.0.0.1", "-p", str(port), str(packages)], port, "/simple/"):
        yield f"http://127.0.0.1:{port}/simple/"


def publish(
    url: str, folder: Path, name: str, version: str, files: Mapping[str, str], **more: object
) -> None:
    """By npm itself."""
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": version, **more}))
    for file, text in files.items():
        (folder / file).write_text(text)
    login = f"--{url.removeprefix('http:')}:_authToken=anybody"
    words = ["npm", "publish", "--registry", url, login, "--loglevel=error", f"--cache={folder}/.npm"]
    subprocess.run([*words, "--ignore-scripts"], cwd=folder, check=True, timeout=60, capture_output=True)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def _running(words: Sequence[str], port: int, path: str) -> Iterator[None]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    process = subprocess.Popen(words, env=kept, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await(process, f"http://127.0.0.1:{port}{path}")
        yield
    finally:
        process.kill()
        process.wait()


def _await(process: subprocess.Popen[bytes], url: str) -> None:
    """Returns once it answers."""
    until = time.monotonic() + STARTS_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < until:
        assert process.poll() is None, "the registry has ended"
        try:
            with opener.open(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)  # nothing else tells that it listens
    raise TimeoutError(url)
