"""What a container engine does for each step of a spec, in the words of its create call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.plan.container import OWN_PROCESSES, engines_own
from sandbox.plan.rows import Row, size
from sandbox.plan.spec import (
    Bind,
    Device,
    Directory,
    File,
    Limits,
    Proc,
    Socket,
    Spec,
    Symlink,
    Tmpfs,
    ViewStep,
)

_HIDDEN = ("Mounts", "Tmpfs", "SecurityOpt", "MaskedPaths", "ReadonlyPaths", "HostConfig", "Env", "Labels")
"""Shown by the steps themselves, or too long for a line; `plan --json` has the whole body."""


def mechanism(step: ViewStep) -> str:
    """How an engine makes one step of the view."""
    match step:
        case Bind():
            access = "" if step.writable else ", read-only, without what is mounted below it"
            return f"bind mount by the engine{access}{', idmapped' if step.idmap else ''}"
        case Tmpfs():
            return "tmpfs by the engine, with size and inode cap, nosuid, nodev"
        case File():
            return "read-only bind mount of a file of the session's folder"
        case Symlink():
            return "what it leads to, mounted there too"
        case Device():
            return "the engine's own"
        case Proc():
            return "new procfs, MaskedPaths and ReadonlyPaths; /sys is empty"
        case Socket():
            return "/dev/null over it"
        case Directory():
            return "the image's"


def said(step: ViewStep) -> bool:
    """Whether a plan names it: what every container has without being asked says nothing."""
    return not isinstance(step, Device | Directory) and not (isinstance(step, Symlink) and engines_own(step))


def process(spec: Spec) -> Iterator[Row]:
    """Who the server is, and what bounds its process."""
    assert spec.image is not None  # noqa: S101 - a container has one
    identity = spec.identity
    own = " of its own, never host uid 0" if identity.drop else ""
    yield Row("process", f"root: image {spec.image.name}", f"{spec.image.id[:19]}, read-only", "server.image")
    yield Row("process", f"runs as uid {identity.uid}, gid {identity.gid}{own}", "User")
    yield Row("process", "sees no process but its own", "pid namespace, the engine's init reaps")
    yield Row(
        "process",
        "shares no mount, host name, semaphore or cgroup name",
        "mount, uts, ipc, cgroup namespaces",
    )
    yield Row("process", "has no capability and can gain none", "CapDrop ALL, no-new-privileges")
    yield Row("process", "leaves no log at the engine", "LogConfig none")
    yield Row("process", "dies with the wrapper", "the keeper removes it, AutoRemove, then the next start")
    kernel = f"runtime {spec.runtime}: a kernel of its own" if spec.runtime else "the engine's own runtime"
    yield Row("process", f"starts {' '.join(spec.argv)}", f"{kernel}, in {spec.cwd}", "isolation.runtime")


def quota(name: str, limits: Limits) -> str:
    """The create argument that holds a quota."""
    return {
        "memory": f"Memory and MemorySwap {size(limits.memory or 0)}: no swap",
        "pids": f"PidsLimit {(limits.pids or 0) + OWN_PROCESSES}, the engine's init included",
        "cpus": "NanoCpus",
        "open files": "Ulimits nofile",
    }[name]


def arguments(body: Mapping[str, Any]) -> Iterator[Row]:
    """Every create argument that is not shown by a step, one a row."""
    flat = {**body, **body["HostConfig"]}
    for name, value in flat.items():
        if name not in _HIDDEN and value not in ("", None, [], {}):
            yield Row("container", f"{name}: {json.dumps(value)}", "create argument")
