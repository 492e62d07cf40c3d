"""The host's facts, measured once a boot: what `run` reads before it forks, without a probe or ctypes.

A memory is trusted for speed only: the launcher does the real thing again and fails closed. Bad news
is never remembered, and cgroups are measured again when we are in another one than last time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from sandbox.hints import Any
from sandbox.places import cache_dir
from sandbox.plan.facts import Cgroups, HostFacts, Probe
from sandbox.records import names, replace

_PROBES = ("namespaces", "mounts", "proc", "seccomp", "idmap", "trap", "bubblewrap", "docker", "gvisor")
_TYPES: dict[str, type] = {"kernel": str, "machine": str, "uid": int, "gid": int, "landlock_abi": int}
_SIZE = 1 << 16


def facts(environ: Mapping[str, str], *, refresh: bool = False) -> HostFacts:
    """What this host can do; measured when nothing valid is remembered or `refresh` asks for it."""
    here = where()
    path = f"{cache_dir(environ)}/facts-{os.geteuid()}.json"
    known = None if refresh else recall(path, here)
    if known is None:
        return _measured(environ, path, here)
    remembered, cgroup = known
    directories = remembered.cgroups.directories
    # The service manager hands out a scope wherever we are.
    here_too = cgroup == here["cgroup"] or "scope" in directories
    if here_too and all(os.access(d, os.W_OK) for d in directories.values()):
        return remembered
    from sandbox.host import cgroups  # only where the session moved

    moved = replace(remembered, cgroups=cgroups.find())
    remember(path, here, moved)
    return moved


def _measured(environ: Mapping[str, str], path: str, here: dict[str, str]) -> HostFacts:
    from sandbox.host.probe import probe  # ctypes and sockets: off the warm path

    measured = probe(environ)
    if usable(measured):
        remember(path, here, measured)
    else:
        forget(path)
    return measured


def usable(measured: HostFacts) -> bool:
    """True where the native backend can do everything it must."""
    root = measured.uid == 0
    needed = (measured.namespaces, measured.mounts, measured.proc, measured.seccomp, measured.trap)
    return all(probe.works for probe in needed) and (measured.idmap.works or not root)


def where() -> dict[str, str]:
    """What a memory must agree with: this boot, this kernel, this code; and the cgroup we are in."""
    return {
        "boot": _text("/proc/sys/kernel/random/boot_id").strip(),
        "kernel": os.uname().release,
        "code": _code(),
        "cgroup": _text("/proc/self/cgroup"),
    }


def _code() -> str:
    # Cheaper than the distribution's version (importlib.metadata: 10 ms) and exact for a checkout too.
    folder = os.path.dirname(__file__)
    here = ("probe.py", "trial.py", "cgroups.py", "engines.py")
    names = (*here, "../linux.py", "../scope.py", "../plan/facts.py")
    stats = (os.stat(f"{folder}/{name}") for name in names)
    return ",".join(f"{s.st_mtime_ns:x}.{s.st_size:x}" for s in stats)


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def recall(path: str, here: Mapping[str, str]) -> tuple[HostFacts, str] | None:
    """The facts remembered at `path` and the cgroup they were measured in; None unless all of it fits."""
    import json

    try:
        value = json.loads(own_file(path))
        if not here["boot"] or any(value["where"][key] != here[key] for key in ("boot", "kernel", "code")):
            return None
        decoded = decode(value["facts"])
        current = (os.geteuid(), os.getegid()) == (decoded.uid, decoded.gid)
        return (decoded, str(value["where"]["cgroup"])) if current and usable(decoded) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def own_file(path: str) -> bytes:
    """The content of a file that this user alone can have written; PermissionError for any other."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError(f"{path} is not a private file of ours")
        return os.read(fd, _SIZE)
    finally:
        os.close(fd)


def decode(value: Any) -> HostFacts:
    """Facts from their JSON form; ValueError unless every field is there with its type, and no other."""
    _exactly(value, set(names(HostFacts)))
    for name, kind in _TYPES.items():
        if type(value[name]) is not kind:
            raise ValueError(name)
    probes = {name: _probe(value[name]) for name in _PROBES}
    return HostFacts(**{**value, **probes, "cgroups": _cgroups(value["cgroups"])})


def _exactly(value: Any, keys: set[str]) -> None:
    if not isinstance(value, dict) or value.keys() != keys:
        raise ValueError("other fields than expected")


def _probe(value: Any) -> Probe:
    _exactly(value, {"works", "detail", "hint"})
    if type(value["works"]) is not bool or not _texts(value["detail"], value["hint"]):
        raise ValueError("probe")
    return Probe(**value)


def _cgroups(value: Any) -> Cgroups:
    _exactly(value, {"version", "directories", "detail", "hint", "lacks"})
    places, lacks = value["directories"], value["lacks"]
    if type(value["version"]) is not int or value["version"] not in (0, 1, 2) or not isinstance(places, dict):
        raise ValueError("cgroups")
    if not isinstance(lacks, list) or not _texts(value["detail"], value["hint"], *places.values(), *lacks):
        raise ValueError("cgroups")
    if not all(place.startswith("/") for place in places.values()):
        raise ValueError("cgroups")
    return Cgroups(**{**value, "lacks": tuple(lacks)})


def _texts(*values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def remember(path: str, here: Mapping[str, str], measured: HostFacts) -> None:
    """Writes the facts for the next start."""
    from dataclasses import asdict  # only here, at the first start after a boot

    keep(path, {"where": dict(here), "facts": asdict(measured)})


def keep(path: str, value: Mapping[str, Any]) -> None:
    """Writes JSON, 0600, whole or not at all; an unwritable cache is no failure."""
    import json

    partial = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(json.dumps(value))
        os.replace(partial, path)
    except OSError:
        forget(partial)


def forget(path: str) -> None:
    """Removes a memory, if there is one."""
    try:
        os.unlink(path)
    except OSError:
        return
