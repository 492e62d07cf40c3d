"""What is measured of locks: a server started from its lock, without, by its runner, bare, and in docker.

The bare program is a copy of the very tree that the lock names, so that all ways start the same files. In
docker it is started as tools do that put servers into containers: hardened, from an image that has it all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark import containers
from benchmark.client import Failed
from benchmark.measure import Amount, starts
from benchmark.subjects import EVERYTHING, HERE, TIME, Subject

MOUNT = "/opt/mcp"
INTERPRETER = "{interpreter}"
LOCK_S = 300.0
END_S = 2.0
"""Some servers do not end with their input; a container takes tenths of a second to."""
HARDENED = (
    *("run", "-i", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),  # noqa: S108 - inside
    *("--security-opt", "no-new-privileges", "--pids-limit", "128", "--memory", "1g", "--user", "65534"),
)  # fmt: skip
"""`--network none` is the fastest of docker's networks: the usual bridge costs a start more."""


@dataclass(frozen=True)
class Place:
    """What is measured, and where it may write."""

    program: str
    environ: Mapping[str, str]
    scratch: str

    @property
    def with_locks(self) -> dict[str, str]:
        """The environment in which the locks lie."""
        return {**self.environ, "XDG_CONFIG_HOME": f"{self.scratch}/locked"}

    @property
    def unlocked(self) -> tuple[str, ...]:
        """A `run` that finds no lock."""
        return ("env", f"XDG_CONFIG_HOME={self.scratch}/unlocked", self.program, "run", "--")


def measure(place: Place, amount: Amount, say: Callable[[str], None]) -> dict[str, Any]:
    """Milliseconds of every start, by server and variant."""
    image = _images(place.program)
    found: dict[str, Any] = {}
    for subject in _subjects(place, image, say):
        say(f"{subject.name}: {amount.starts} starts of each of {', '.join(subject.variants)}")
        samples = starts(subject, amount, place.with_locks, place.scratch)
        found[subject.name] = {"samples_ms": {"start": samples}}
    return found


def _images(program: str) -> dict[str, str]:
    """The tags of our images; none where no engine has them."""
    try:
        known = containers.tags(program)
        containers.said(containers.docker(), "image", "inspect", *known.values())
    except Failed:
        return {}
    return known


def _subjects(place: Place, image: Mapping[str, str], say: Callable[[str], None]) -> list[Subject]:
    found = [_script(place, image)]
    if shutil.which("npx"):
        found.append(_npm(place, image, say))
    return [*found, _pypi(place, image, say)]


def locked(place: Place, command: tuple[str, ...]) -> dict[str, Any]:
    """Locks a command, as a person does, and reads what was written."""
    folder = Path(place.with_locks["XDG_CONFIG_HOME"], "mcp-sandbox", "locks")
    before = set(folder.glob("*.lock"))
    done = subprocess.run(  # noqa: S603 - ours
        [place.program, "lock", "--yes", "--", *command], env=place.with_locks, cwd=place.scratch,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LOCK_S, check=False,
    )  # fmt: skip
    made = set(folder.glob("*.lock")) - before
    if done.returncode or len(made) != 1:
        raise Failed(f"`lock -- {' '.join(command)}`: {done.stderr.strip()}")
    return tomllib.loads(made.pop().read_text())


# --- the servers -----------------------------------------------------------------------------------


def _script(place: Place, image: Mapping[str, str]) -> Subject:
    """A script that lies on this machine: nothing of a package manager is in its way."""
    python = os.path.realpath(os.path.join(os.path.dirname(place.program), "python"))
    folder = f"{place.scratch}/echo"
    os.makedirs(folder)
    script = shutil.copy(HERE / "echo_server.py", folder)
    direct = (python, "-I", script)
    locked(place, direct)
    variants = {"bare": direct, "locked": (place.program, "run", "--", *direct)}
    variants["unlocked"] = (*place.unlocked, *direct)
    if image:
        inside = ("python3", "-I", f"{MOUNT}/echo_server.py")
        variants["docker"] = _in_docker(folder, image["python"], inside)
    return Subject("echo-python", "echo", {}, variants, ended_s=END_S)


def _npm(place: Place, image: Mapping[str, str], say: Callable[[str], None]) -> Subject:
    runner = ("npx", "-y", EVERYTHING)
    words, tree = _tree(place, runner, say)
    node = str(shutil.which("node"))
    variants = _by_lock(place, runner, (node, *_at(words[1:], tree)))
    if image:
        variants["docker"] = _in_docker(tree, image["node"], ("node", *words[1:]))
    return Subject("everything", "echo", {}, variants, ended_s=END_S)


def _pypi(place: Place, image: Mapping[str, str], say: Callable[[str], None]) -> Subject:
    uvx = shutil.which("uvx") or os.path.join(os.path.dirname(place.program), "uvx")
    words, tree = _tree(place, (uvx, TIME), say)
    variants = _by_lock(place, (uvx, TIME), _at(words, tree))
    site = next(Path(tree, "lib").glob("python*/site-packages"), None)
    if image and site is not None:
        inside = (
            "env",
            f"PYTHONPATH={MOUNT}/{site.relative_to(tree)}",
            "python3",
            "-m",
            TIME.replace("-", "_"),
        )
        variants["docker"] = _in_docker(tree, image["python"], inside)
    return Subject("time", "get_current_time", {}, variants, ended_s=END_S)


def _by_lock(place: Place, runner: tuple[str, ...], direct: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {
        "bare": direct,
        "locked": (place.program, "run", "--", *runner),
        "unlocked": (*place.unlocked, *runner),
        "runner": runner,
    }


def _tree(place: Place, runner: tuple[str, ...], say: Callable[[str], None]) -> tuple[tuple[str, ...], str]:
    """The words that start a locked package, and a copy of its tree, since a bare start may write."""
    say(f"locking {runner[-1]}")
    lock = locked(place, runner)
    (tree,) = lock["trees"]
    base = place.environ.get("XDG_CACHE_HOME") or f"{place.environ['HOME']}/.cache"
    source = f"{base}/mcp-sandbox/store/trees/{tree['digest']}/tree"
    copy = f"{place.scratch}/{tree['digest'][:16]}"
    subprocess.run(["cp", "-a", source, copy], check=True, timeout=LOCK_S)  # noqa: S603, S607 - times too
    subprocess.run(["chmod", "-R", "u+w", copy], check=True, timeout=LOCK_S)  # noqa: S603, S607 - to remove it
    name = tree.get("default") or runner[-1]
    return tuple(tree["starts"][name]), copy


def _at(words: tuple[str, ...], tree: str) -> tuple[str, ...]:
    return tuple(word.replace(MOUNT, tree) for word in words)


def _in_docker(tree: str, image: str, words: tuple[str, ...]) -> tuple[str, ...]:
    return (containers.docker(), *HARDENED, "-v", f"{tree}:{MOUNT}:ro", image, *words)
