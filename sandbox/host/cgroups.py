"""Where a cgroup with limits can really be made: created, limited, joined and removed again, each time.

Version 1: a child of our own cgroup for each controller. Version 2: a scope from the service manager, who
alone may write where systemd rules; where there is none, the nearest cgroup above us that hands controllers
to its children and lets us move a process there; our own never does, since it has processes in it
(cgroup-v2.rst, "No Internal Process Constraint").
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Collection, Iterator

from sandbox.plan.facts import Cgroups
from sandbox.records import dataclass

# Controller, a file of its and a value that every kernel takes.
_V1 = {
    "memory": ("memory.limit_in_bytes", str(64 << 20)),
    "pids": ("pids.max", "16"),
    "cpu": ("cpu.cfs_quota_us", "50000"),
    "cpuacct": ("cpuacct.usage", "0"),
    "freezer": ("freezer.state", "THAWED"),
}
_V2 = {"memory.max": str(64 << 20), "pids.max": "16", "cpu.max": "50000 100000"}
_REMOVE_ATTEMPTS = 100
_REMOVE_PAUSE_S = 0.002

_HINT_V1 = (
    "run as root, or on a host with cgroup v2; until then rlimits and polling hold memory and processes"
)
_HINT_V2 = "give this user a service manager, which hands out cgroups: loginctl enable-linger"
_HINT_BARE = (
    "an administrator can hand this user a cgroup: with memory, pids and cpu in cgroup.subtree_control"
)
_HINT_CPU = "an administrator can hand it to users: `Delegate=cpu memory pids` for user@.service"


@dataclass(frozen=True, slots=True)
class Mounted:
    """One hierarchy: where it is mounted, and which part of it (`root`) the mount shows."""

    point: str
    root: str


def find() -> Cgroups:
    """The directories in which the launcher may make its own, or version 0 with the reason."""
    mounted, own = _mounted(_read("/proc/self/mountinfo")), _own(_read("/proc/self/cgroup"))
    if "memory" in mounted:
        return _version_1(mounted, own)
    if "unified" in mounted:
        return _version_2(mounted["unified"], own.get("unified", "/"))
    return Cgroups(detail="no cgroup filesystem is mounted", hint=_HINT_V2)


def directories(pid: int) -> dict[str, str]:
    """Controller (or `unified`) -> the directory of a process's cgroup."""
    mounted, own = _mounted(_read("/proc/self/mountinfo")), _own(_read(f"/proc/{pid}/cgroup"))
    return {name: _directory(mounted[name], path) for name, path in own.items() if name in mounted}


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _mounted(mountinfo: str) -> dict[str, Mounted]:
    """Controller (or `unified`) -> its hierarchy, from proc_pid_mountinfo(5)."""
    found: dict[str, Mounted] = {}
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        kind, _, options = tail.partition(" ")
        place = Mounted(_unescaped(fields.split()[4]), _unescaped(fields.split()[3]))
        if kind == "cgroup2":
            found.setdefault("unified", place)
        elif kind == "cgroup":
            for name in _V1.keys() & set(options.split(" ")[-1].split(",")):
                found.setdefault(name, place)
    return found


def _unescaped(text: str) -> str:
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


def _own(text: str) -> dict[str, str]:
    """Controller (or `unified`) -> the path of our own cgroup, from cgroups(7)."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(",") if controllers else ["unified"]:
            found[name] = path
    return found


def _directory(mounted: Mounted, path: str) -> str:
    # A mount may show only a part of the hierarchy (containers): its root is then no longer in our path.
    if mounted.root != "/" and (path == mounted.root or path.startswith(f"{mounted.root}/")):
        path = path[len(mounted.root) :]
    return f"{mounted.point}/{path.strip('/')}".rstrip("/")


def _version_1(mounted: dict[str, Mounted], own: dict[str, str]) -> Cgroups:
    found: dict[str, str] = {}
    for controller, (file, value) in _V1.items():
        if controller not in mounted:
            problem: str = "not mounted"
        else:
            parent = _directory(mounted[controller], own.get(controller, "/"))
            problem = _try(parent, {file: value})
            if not problem:
                found[controller] = parent
                continue
        # Without these two there is no quota worth the name; the plan refuses a CPU share it cannot hold.
        if controller in ("memory", "pids"):
            return Cgroups(detail=f"v1 {controller}: {problem}", hint=_HINT_V1)
    if "unified" in mounted:
        # Hybrid: an almost empty version 2 beside version 1, good for killing a whole tree at once.
        parent = _directory(mounted["unified"], own.get("unified", "/"))
        if not _try(parent, {}, must_have="cgroup.kill"):
            found["unified"] = parent
    detail = f"v1 {', '.join(name for name in found if name != 'unified')}"
    return Cgroups(1, found, detail + (" and v2 cgroup.kill" if "unified" in found else ""))


def _version_2(mounted: Mounted, own: str) -> Cgroups:
    found, refused = _from_manager(mounted)
    if found is not None:
        return found
    problem = "v2 at our own cgroup: nothing was handed to us"
    for wanted in ({"memory", "pids", "cpu"}, {"memory", "pids"}):
        for parent in _upward(mounted.point, _directory(mounted, own)):
            if not wanted <= set(_read(f"{parent}/cgroup.subtree_control").split()):
                continue
            failed = _try(parent, _settings(wanted))
            if not failed:
                return _found({"unified": parent}, f"v2 below {parent}", wanted)
            problem = f"v2 {parent}: {failed}"
    hint = _HINT_V2 if os.path.isdir("/run/systemd/system") else _HINT_BARE
    return Cgroups(detail=f"{problem}; {refused}", hint=hint)


def _settings(handed: Collection[str]) -> dict[str, str]:
    return {file: value for file, value in _V2.items() if file.partition(".")[0] in handed}


def _found(directories: dict[str, str], detail: str, handed: Collection[str]) -> Cgroups:
    if "cpu" in handed:
        return Cgroups(2, directories, detail)
    return Cgroups(2, directories, f"{detail}, without the cpu controller", _HINT_CPU, ("cpu",))


def _from_manager(mounted: Mounted) -> tuple[Cgroups | None, str]:
    """The slice of a scope that a child of ours really got, with a cgroup in it; or why it did not."""
    from sandbox import scope
    from sandbox.host.trial import Tell, attempt  # where no manager rules nothing of it is needed

    def body(tell: Tell) -> None:
        tell("scope")
        place = _directory(mounted, scope.enter(f"mcp-sandbox-probe-{os.getpid()}"))
        tell("controllers")
        handed = scope.settle(place)
        tell("limits")
        failed = _try(place, _settings({"memory", "pids", *handed}))
        if failed:
            raise OSError(errno.EPERM, failed)
        tell(os.path.dirname(place))
        tell(" ".join(handed))

    outcome = attempt(body, timeout=2 * scope.DEADLINE_S)
    if not outcome.works:
        return None, f"{outcome.step}: {outcome.message.partition('] ')[2] or outcome.message}"
    place, handed = outcome.steps[-3], outcome.steps[-2].split()
    return _found({"scope": place}, f"v2, a scope for each sandbox below {place}", handed), ""


def _upward(point: str, folder: str) -> Iterator[str]:
    while folder.startswith(point):
        yield folder
        if folder == point:
            return
        folder = os.path.dirname(folder)


def _try(parent: str, values: dict[str, str], must_have: str = "") -> str:
    """Makes a child of `parent`, limits it, moves a process in, removes it; the problem, or nothing."""
    child = f"{parent}/mcp-sandbox-probe-{os.getpid()}"
    try:
        os.mkdir(child)
    except OSError as error:
        return f"mkdir: {error.strerror}"
    try:
        for file, value in values.items():
            _write(f"{child}/{file}", value)
        if must_have and not os.path.exists(f"{child}/{must_have}"):
            return f"it has no {must_have}"
        return _joins(child)
    except OSError as error:
        return f"{os.path.basename(str(error.filename or 'fork'))}: {error.strerror}"
    finally:
        _remove(child)


def _joins(child: str) -> str:
    """A process of ours, moved by its parent as the launcher moves the sandbox's first."""
    process = os.fork()
    if process == 0:
        try:
            signal.pause()
        finally:
            os._exit(0)
    try:
        _write(f"{child}/cgroup.procs", str(process))
        joined = str(process) in _read(f"{child}/cgroup.procs").split()
        return "" if joined else "the process did not move"
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from error
    finally:
        os.close(fd)


def _remove(child: str) -> None:
    # A dead task leaves its cgroup a moment after it was reaped.
    for _ in range(_REMOVE_ATTEMPTS):
        try:
            os.rmdir(child)
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(_REMOVE_PAUSE_S)
        else:
            return
