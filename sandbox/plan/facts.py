"""What this host offers and what the command needs of it: values only, gathered by `sandbox.host`."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.hints import Literal
from sandbox.plan.image import Image
from sandbox.records import dataclass, field


@dataclass(frozen=True, slots=True)
class Probe:
    """The outcome of one functional probe; `hint` is a command or a sentence that helps when it failed."""

    works: bool
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where we may create a cgroup: `directories` maps a controller (or `unified`) to our parent.

    `scope` instead of `unified`: the slice in which the service manager gives each sandbox a parent.
    """

    version: Literal[0, 1, 2] = 0
    directories: Mapping[str, str] = field(default_factory=dict)
    detail: str = ""
    hint: str = ""
    lacks: tuple[str, ...] = ()
    """Of version 2: controllers that are not handed to us."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What answers at a container engine's endpoint, and what it says it can enforce."""

    endpoint: str
    kind: Literal["docker", "podman"] = "docker"
    version: str = ""
    api: str = ""
    place: Literal["local", "vm", "remote"] = "local"
    """`local`: same kernel and same files; `vm`: same files, another kernel; `remote`: neither."""
    rootless: bool = False
    cgroup: Literal[0, 1, 2] = 0
    seccomp: bool = False
    limits: tuple[str, ...] = ()
    """Of `memory`, `swap`, `pids`, `cpu`: those that its cgroups hold."""
    runtimes: tuple[str, ...] = ()
    machine: str = ""
    gvisor: str = ""
    """The runtime that is gVisor and set up as we need it: the sandbox's own network, our filter applied."""
    root: str = ""
    """The engine's data directory, on its own machine."""


@dataclass(frozen=True, slots=True)
class Container:
    """What a plan for a container stands on: who realises it, from which root, as which uid of the host."""

    engine: Engine
    image: Image
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the kernel and this user can do; cached per boot."""

    kernel: str
    machine: str
    uid: int
    gid: int
    namespaces: Probe
    mounts: Probe
    proc: Probe
    seccomp: Probe
    idmap: Probe
    trap: Probe = Probe(False, "not tried")
    """The routes, listeners and packet socket of egress in a network namespace of its own."""
    landlock_abi: int = 0
    cgroups: Cgroups = Cgroups()
    bubblewrap: Probe = Probe(False)
    docker: Probe = Probe(False)
    gvisor: Probe = Probe(False)


@dataclass(frozen=True, slots=True)
class PathFact:
    """One path of the host as it is now: its real path, kind and owner (`kind` "" where nothing is there)."""

    real: str
    kind: Literal["file", "dir", "other", ""]
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Closure:
    """What a command needs to start: its program, the trees it reads, the interpreter chain that said so."""

    argv: tuple[str, ...]
    binds: tuple[tuple[str, str], ...] = ()
    """Host path and place inside, all read-only."""
    links: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    why: str = ""
    cwd: str = ""
    """The directory the command itself asks for (`uv --directory D run`); empty: the caller's."""
    skipped: tuple[str, ...] = ()
    """Host paths that the command points at and that are not mounted: they lie outside its own trees."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The per-run facts: who calls, from where, with which environment, and every path the policy names."""

    home: str
    cwd: str
    environ: Mapping[str, str]
    closure: Closure
    paths: Mapping[str, PathFact] = field(default_factory=dict)
    etc: Mapping[str, bytes] = field(default_factory=dict)
    system: Mapping[str, str] = field(default_factory=dict)
    protected: Mapping[str, str] = field(default_factory=dict)
    sockets: tuple[str, ...] = ()
    """Sockets of the host's in the trees that will be mounted, by their real paths."""
    unsearched: tuple[str, ...] = ()
    """Trees with more entries than were looked at for sockets."""
