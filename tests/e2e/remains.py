"""What a sandbox left: processes, namespaces, mounts, cgroups, leases, files, and all it had at an engine."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
PAUSE_S = 0.01


@contextmanager
def adopted_orphans() -> Iterator[None]:
    """Whoever loses its parent becomes our child: the whole tree can be seen, however it was cut."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        for pid in [pid for pid, parent, state in processes() if parent == os.getpid() and state == "Z"]:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def processes() -> Iterator[tuple[int, int, str]]:
    """Pid, parent and state of every process (proc(5), stat)."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            fields = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
            yield int(name), int(fields[1]), fields[0].decode()


def descendants(root: int) -> list[int]:
    """Every living process below `root`, parents first."""
    children: dict[int, list[int]] = {}
    for pid, parent, state in processes():
        if state not in "ZX":
            children.setdefault(parent, []).append(pid)
    found, left = [], [root]
    while left:
        below = children.get(left.pop(0), [])
        found += below
        left += below
    return found


def named(comm: str, root: int) -> int:
    """The one descendant of `root` that calls itself `comm`."""
    (pid,) = [pid for pid in descendants(root) if text(f"/proc/{pid}/comm").strip() == comm]
    return pid


def text(path: str) -> str:
    """A file of /proc, empty where its process is gone or another's."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def memory(pid: int) -> bytes:
    """All that a process can read of its own."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", 0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area, rights, _, _, _, name = (*line.split(None, 5), "")[:6]
            if rights.startswith("r") and not name.startswith("[v"):
                start, end = (int(one, 16) for one in area.split("-"))
                file.seek(start)
                found.append(file.read(end - start))
    return b"\n".join(found)


def mounts() -> set[str]:
    """The mounts of this process's namespace; a kept namespace would show as one, of type nsfs."""
    return set(text("/proc/self/mountinfo").splitlines())


def namespaces(pids: list[int]) -> set[str]:
    """The namespaces that the processes are in and we are not."""
    found = set()
    for pid in pids:
        for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
            with suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
    return found - {os.readlink(f"/proc/self/ns/{one}") for one in os.listdir("/proc/self/ns")}


@dataclass
class Remains:
    """Counts what carries `mark` (the session's name and a word of the server's command line)."""

    mark: str
    state: Path
    scratch: Path
    """The wrapper's TMPDIR, empty at first."""
    mounted: set[str] = field(default_factory=mounts)
    others: set[int] = field(default_factory=lambda: {os.getpid(), *descendants(os.getpid())})
    """Processes below us that were there before."""
    engine: Any = None
    """A client of the container engine, where that is asked too."""
    seen: set[str] = field(default_factory=set)
    """Ids of containers that were there: their cgroups are looked for later."""

    def now(self) -> dict[str, list[str]]:
        """Everything that is left, by kind; empty when nothing is."""
        pids = self.processes()
        found = {
            "processes": [f"{pid} {text(f'/proc/{pid}/comm').strip()}" for pid in pids],
            "namespaces": sorted(namespaces(pids)),
            "mounts": sorted(filter(self._ours, mounts() - self.mounted)),
            "cgroups": self.cgroups(),
            "leases": sorted(os.listdir(self.leases)) if self.leases.is_dir() else [],
            "control sockets": self._files("control"),
            "temporary files": [str(path) for path in self.scratch.rglob("*")],
            **self._at_engine(),
        }
        return {kind: left for kind, left in found.items() if left}

    def _ours(self, mount: str) -> bool:
        """An engine's mounts, and those of an image that is built, come and go; our files there are ours."""
        if self.engine is not None:
            return str(self.state) in mount
        others = ("/overlay2/", "/netns/", "/mcp-sandbox/containers/", "/mmdebstrap.")
        return not any(place in mount for place in others)

    def _at_engine(self) -> dict[str, list[str]]:
        if self.engine is None:
            return {}
        mine = {"label": "io.mcp-sandbox.session"}
        containers = [
            one
            for one in self.engine.containers(all=True, filters=mine)
            if self.mark in one["Labels"]["io.mcp-sandbox.session"]
        ]
        self.seen |= {one["Id"] for one in containers}
        named = self.engine.volumes()["Volumes"] or []
        networks = self.engine.networks()
        staged = [path for name in ("containers", "holders") for path in self._files(name)]
        return {
            "containers": [f"{one['Names'][0]} {one['State']}" for one in containers],
            "volumes": [one["Name"] for one in named if self.mark in str(one)],
            "networks": [one["Name"] for one in networks if self.mark in str(one)],
            "staged files": staged,
        }

    def _files(self, name: str) -> list[str]:
        folder = self.state / "mcp-sandbox" / name
        return [str(path) for path in folder.iterdir()] if folder.is_dir() else []

    @property
    def leases(self) -> Path:
        return self.state / "mcp-sandbox" / "sessions"

    def processes(self) -> list[int]:
        """Our own descendants, adopted ones too, and strangers whose command line has the mark."""
        ours = descendants(os.getpid())
        marked = [pid for pid, _, state in processes() if state != "Z" and self._marked(pid)]
        return sorted({*ours, *marked} - self.others)

    def _marked(self, pid: int) -> bool:
        return self.mark in text(f"/proc/{pid}/cmdline")

    def cgroups(self) -> list[str]:
        """Directories of ours below every cgroup mount."""
        return [
            path
            for path, _, _ in os.walk("/sys/fs/cgroup")
            if (os.path.basename(path).startswith("mcp-sandbox-") and self.mark in path)
            or os.path.basename(path) in self.seen
        ]

    def within(self, seconds: float) -> dict[str, list[str]]:
        """What is still left when it is gone or when the time is up."""
        deadline = time.monotonic() + seconds
        while (left := self.now()) and time.monotonic() < deadline:
            time.sleep(PAUSE_S)
        return left
