"""The Spec: one concrete sandbox, neutral of the backend that realises it.

The view is an ordered list of steps that describe themselves; `plan` prints them and a backend
performs them in that order. Sizes are bytes, durations seconds, modes octal.
"""

from __future__ import annotations

from sandbox.hints import Literal
from sandbox.plan.image import Image
from sandbox.policy.model import Network
from sandbox.records import dataclass

Tier = Literal["strict", "net", "browser", "compat"]


@dataclass(frozen=True, slots=True)
class Directory:
    """An empty directory of the read-only root."""

    target: str
    mode: int = 0o755

    def describe(self) -> str:
        return f"directory {self.target}"


@dataclass(frozen=True, slots=True)
class Bind:
    """A host path mounted inside, recursively nosuid and nodev, read-only unless `writable`."""

    source: str
    target: str
    writable: bool = False
    why: str = ""
    owner: tuple[int, int] = (0, 0)
    """uid and gid of the host path: under a root caller the mount maps them to the sandbox's own."""
    idmap: bool = False
    is_dir: bool = True
    origin: str = ""
    """The profile's file and line, or the flag, that asked for it."""

    def describe(self) -> str:
        place = self.target if self.target == self.source else f"{self.source} at {self.target}"
        return f"{'read-write' if self.writable else 'read-only'} {place}"


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """An empty writable tree in memory with a size and an inode cap."""

    target: str
    size: int
    inodes: int = 65536
    mode: int = 0o755

    def describe(self) -> str:
        return f"empty {self.target}, at most {self.size >> 20} MiB"


@dataclass(frozen=True, slots=True)
class File:
    """A file we wrote; `copied` ones hold the bytes of a public file of the host's, all others none."""

    target: str
    content: bytes
    mode: int = 0o444
    copied: bool = False

    def describe(self) -> str:
        return f"{'copy of' if self.copied else 'synthetic'} {self.target}"


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link of the read-only root."""

    target: str
    to: str

    def describe(self) -> str:
        return f"link {self.target} -> {self.to}"


@dataclass(frozen=True, slots=True)
class Device:
    """A harmless device node of the host's, by name below /dev."""

    name: str

    def describe(self) -> str:
        return f"device /dev/{self.name}"


@dataclass(frozen=True, slots=True)
class Proc:
    """A /proc of the sandbox's own processes; `masked` paths are empty, `readonly` ones cannot be written."""

    masked: tuple[str, ...]
    readonly: tuple[str, ...]

    def describe(self) -> str:
        return f"/proc of its own, {len(self.masked)} paths masked, {len(self.readonly)} read-only"


@dataclass(frozen=True, slots=True)
class Socket:
    """A socket of the host's in a mounted tree, covered: to connect(2) a read-only mount is no obstacle."""

    target: str

    def describe(self) -> str:
        return f"socket {self.target} covered"


ViewStep = Directory | Bind | Tmpfs | File | Symlink | Device | Proc | Socket


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the server is: inside it has the numbers `uid` and `gid`; on the host it is never uid 0."""

    uid: int
    gid: int
    drop: bool = False
    """A root caller: the launcher takes a dedicated uid of its own per session instead of `uid`."""
    name: str = "mcp"
    home: str = "/home/mcp"
    hostname: str = "sandbox"


@dataclass(frozen=True, slots=True)
class Limits:
    """Quotas with the mechanism that enforces each: a `cgroup-…`, `rlimit`, or the `engine`'s own."""

    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    open_files: int | None = None
    wall: float | None = None
    idle: float | None = None
    written: int | None = None
    cpu_time: float | None = None
    busy: float | None = None
    mechanism: Literal["cgroup-v1", "cgroup-v2", "rlimit", "engine"] = "rlimit"
    cgroups: tuple[tuple[str, str], ...] = ()
    """Controller (or `unified`) and the parent directory in which the launcher creates ours."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server that speaks HTTP is found by the bridge, in the sandbox's own network namespace."""

    host: str
    """`127.0.0.1` for a server inside; else the name of a remote one, which the trap answers for."""
    port: int
    path: str
    tls: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    """Name and value; `${NAME}` in a value stands for the secret or variable of that name."""
    ready: float = 30.0
    """Seconds within which a server inside has to accept its first connection."""
    remote: bool = False
    """The server runs elsewhere: the bridge is all that runs here, and `${NAME}` may stand in `path` too."""
    ca: str = ""
    """The host's file of certificates that a TLS server's has to lead to; empty: those of the system."""
    pins: tuple[str, ...] = ()
    """`sha256:HEX` of public keys, of which the TLS server has to have one; none: any that is certified."""


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything a backend needs, and nothing it has to decide."""

    server: str
    argv: tuple[str, ...]
    cwd: str
    env: tuple[tuple[str, str], ...]
    identity: Identity
    view: tuple[ViewStep, ...]
    limits: Limits
    syscalls: Tier = "net"
    forbidden: Literal["kill", "refuse"] = "refuse"
    """What a container's filter does with a dangerous call; natively the wrapper is asked, each time."""
    narrows: bool = False
    """It may put a filter of its own upon ours (seccomp(2)): a build job's, whose uv may start nothing."""
    network: Literal["trap", "host"] = "trap"
    """`trap`: `lo` alone, where every attempt ends in our listeners; `host`: for the build sandbox alone."""
    egress: Network = Network()
    """What the gateway lets through the trap, and what it counts and watches."""
    message: int = 10 << 20
    secrets: tuple[tuple[str, str], ...] = ()
    """Variable and source; the value is read at launch and is in no event, plan or cache."""
    waivers: tuple[str, ...] = ()
    backend: Literal["native", "docker"] = "native"
    image: Image | None = None
    """Of a container alone: what stands where the native view has the host's own programs."""
    runtime: str = ""
    """The OCI runtime by the engine's name for it; empty: the engine's own choice."""
    notes: tuple[str, ...] = ()
    """What a person should know about this plan: what was left out, what could not be guarded."""
    endpoint: Endpoint | None = None
    """Of a server that speaks HTTP; None where it speaks over stdin and stdout."""
    observed: bool = False
    """Natively, what the server does with files is told too (`learn`); nothing more is let through by it."""


def own_port(spec: Spec) -> int:
    """Where a server inside listens; 0 for one that does not."""
    return 0 if spec.endpoint is None or spec.endpoint.remote else spec.endpoint.port
