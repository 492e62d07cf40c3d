"""What is measured: servers, and for each the ways to start it; installed once, in a cache of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmark import memory

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
EVERYTHING = "@modelcontextprotocol/server-everything"
TIME = "mcp-server-time"
# What makes an interpreter recompile at every start, or write otherwise than a user's would.
LYING = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH", "PYTHONHOME")


@dataclass(frozen=True)
class Subject:
    """A server, the call it is asked, and its variants: name -> command line."""

    name: str
    tool: str
    arguments: Mapping[str, object]
    variants: Mapping[str, tuple[str, ...]]
    echoes: bool = True
    """Whether the tool takes a `message` of any size."""
    ended_s: float = 0.3
    """How long an ended session may take before it is killed."""
    before: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    """What must have returned before a variant is started."""
    held: Callable[[int], memory.Held] = memory.own
    """What the processes of ours below a wrapper hold."""


def environ(state: str) -> dict[str, str]:
    """The children's environment; sessions and logs of a run are kept away from the user's own."""
    kept = {name: value for name, value in os.environ.items() if name not in LYING}
    # uvx would otherwise choose an interpreter of its own, and the runs would compare interpreters.
    python = os.path.realpath(cache() / "installed" / "bin" / "python")
    return {**kept, "XDG_STATE_HOME": state, "UV_PYTHON": python}


def cache() -> Path:
    """Where installed copies are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or f"{os.environ['HOME']}/.cache"
    return Path(base, "mcp-sandbox-bench")


def installed() -> str:
    """The command of an installed, compiled copy of this tree; made again when the tree changes."""
    place = cache() / "installed"
    digest = hashlib.sha256()
    for path in sorted([*ROOT.glob("sandbox/**/*"), *ROOT.glob("profiles/*"), ROOT / "pyproject.toml"]):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    stamp = place / ".tree"
    if not stamp.exists() or stamp.read_text() != digest.hexdigest():
        python = _venv(place)
        _pip(python, "--upgrade", f"{ROOT}[uv]")
        _pip(python, "--force-reinstall", "--no-deps", str(ROOT))
        _run(str(python), "-m", "compileall", "-q", str(place / "lib"))
        stamp.write_text(digest.hexdigest())
    return str(place / "bin" / "mcp-sandbox")


def _venv(place: Path) -> Path:
    """As pipx makes one: what the user's program does not need, such as setuptools' hooks, is not there."""
    python = place / "bin" / "python"
    if not python.exists():
        _say(f"making {place}")
        _run(_own_python(), "-m", "venv", "--without-pip", str(place))
    return python


def _own_python() -> str:
    return _run(str(ROOT / "scripts" / "environment"), "demo").strip().splitlines()[-1] + "/bin/python"


def _pip(python: Path, *words: str) -> None:
    _say(f"installing {words[-1]}")
    constraints = str(ROOT / "scripts" / "constraints.txt")
    pip = (_own_python(), "-m", "pip", "--python", str(python))
    _run(*pip, "install", "-q", "--no-input", *words, PIP_CONSTRAINT=constraints)


def _run(*argv: str, **more: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in LYING}
    done = subprocess.run(  # noqa: S603 - our own installer
        argv, env={**kept, **more}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        timeout=600, check=True,
    )  # fmt: skip
    return done.stdout


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")


# --- the servers -----------------------------------------------------------------------------------


def around(program: str, direct: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """A server run directly, and each way to put something around it."""
    python = os.path.join(os.path.dirname(program), "python")
    found = {
        "bare": direct,
        "wrapped": (program, "run", "--", *direct),
        "byte-copy": (python, str(HERE / "byte_copy.py"), *direct),
    }
    bwrap = shutil.which("bwrap")
    if bwrap:
        view = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")
        found["bubblewrap"] = (bwrap, "--unshare-all", "--die-with-parent", *view, "--", *direct)
    return found


def echoes(program: str) -> list[Subject]:
    """Our own two servers, which cost almost nothing themselves."""
    python = os.path.join(os.path.dirname(program), "python")
    commands = {"echo-python": (python, "-I", str(HERE / "echo_server.py"))}
    node = shutil.which("node")
    if node:
        commands["echo-node"] = (node, str(HERE / "echo_server.js"))
    return [Subject(name, "echo", {}, around(program, direct)) for name, direct in commands.items()]


def real(program: str) -> list[Subject]:
    """Servers that people run, directly and by their package runners."""
    found = []
    if shutil.which("node") and shutil.which("npx"):
        found.append(_everything(program))
    found.append(_time(program))
    return found


def everything_entry() -> Path:
    """What node runs as the server `everything`; installed where it is not yet."""
    place = cache() / "npm"
    entry = place / "node_modules" / EVERYTHING / "dist" / "index.js"
    if not entry.exists():
        _say(f"installing {EVERYTHING}")
        place.mkdir(parents=True, exist_ok=True)
        _run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place), EVERYTHING)
    return entry


def _everything(program: str) -> Subject:
    entry = everything_entry()
    node = str(shutil.which("node"))
    variants = around(program, (node, str(entry), "stdio"))
    runner = ("npx", "-y", EVERYTHING)
    return Subject("everything", "echo", {}, variants | by_runner(program, runner))


def _time(program: str) -> Subject:
    place = cache() / "time"
    entry = place / "bin" / TIME
    if not entry.exists():
        _run(str(_venv(place)), "-m", "pip", "install", "-q", "--no-input", TIME)
    uvx = shutil.which("uvx") or os.path.join(os.path.dirname(program), "uvx")
    variants = around(program, (str(entry),)) | by_runner(program, (uvx, TIME))
    return Subject("time", "get_current_time", {"timezone": "Etc/UTC"}, variants, echoes=False)


def by_runner(program: str, runner: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The same package as its runner starts it, and as we do when given the runner's command line."""
    return {"runner": runner, "wrapped-runner": (program, "run", "--", *runner)}
