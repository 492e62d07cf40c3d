"""A policy: a profile resolved (extends, flags), without any knowledge of the host.

Sizes are bytes, durations seconds, rates per second; `None` means "no limit asked for". Paths are
still as written (`~`, `.`, `$VAR`): the plan resolves them against the host's facts.
"""

from __future__ import annotations

from sandbox.hints import Literal
from sandbox.records import dataclass, field

Tier = Literal["strict", "net", "browser", "compat"]
Pin = Literal["locked", "first-use", "off"]
Poison = Literal["block", "strip", "warn", "off"]
SecretMode = Literal["redact", "block", "log", "off"]
Protocol = Literal["strict", "on", "off"]
Roots = Literal["mounted", "all", "deny"]
Feature = Literal["allow", "ask", "deny"]
AskedAt = Literal["client", "terminal"]
Action = Literal["off", "log", "breach"]
Ending = Literal["kill", "freeze", "warn"]
Stopping = Literal["kill", "freeze", "warn", "deny"]
Restart = Literal["never", "on-crash"]
LockUse = Literal["use", "require"]
Judgement = Literal["require", "warn", "off"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a key was written: a file and line, or a flag (`line` 0)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Server:
    """What is started and how it speaks."""

    command: tuple[str, ...] = ()
    transport: Literal["stdio", "http"] = "stdio"
    port: int | None = None
    path: str | None = None
    ready: float | None = None
    """Seconds within which a server that speaks HTTP has to listen; None: 30."""
    image: str | None = None
    """The container's root: one of ours by name (`node`), or any other by digest."""
    unpinned: bool = False
    """A waiver: the image may be named by a tag, which its owner can move."""
    restart: Restart = "never"
    """What becomes of a server that crashed; never after a breach."""
    restarts: int = 5
    """Restarts in a row after which a crash is the end."""
    url: str | None = None
    """Of a server that runs elsewhere and is spoken to over HTTP; `${NAME}` may stand behind its host."""
    headers: tuple[tuple[str, str], ...] = ()
    """What it is sent with every request: name in lower case, and value, in which `${NAME}` may stand."""
    ca: str | None = None
    """A file of certificates that its own has to lead to, in place of the system's."""
    pin: tuple[str, ...] = ()
    """`sha256:HEX` of public keys, of which it has to have one."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which servers a profile is for: what `run -- COMMAND` finds it by. Its parents' are not its own."""

    packages: tuple[str, ...] = ()
    """`npm:NAME`, `pypi:NAME` or `oci:NAME`, without a version."""
    versions: str = ""
    """The versions that it was proven with (PEP 440's spelling); another one is told, and runs."""
    paths: Literal["none", "read", "write"] = "none"
    """How the paths among the command's own arguments are mounted."""


@dataclass(frozen=True, slots=True)
class PathRule:
    """One entry of `[files] read`, `write` or `programs`: `host` or `host:inside`."""

    source: str
    target: str | None = None
    origin: Origin = Origin("default")


@dataclass(frozen=True, slots=True)
class Files:
    """The view. `expose` names secret places that the profile mounts all the same (a waiver)."""

    read: tuple[PathRule, ...] = ()
    write: tuple[PathRule, ...] = ()
    programs: tuple[PathRule, ...] = ()
    """Trees of programs outside /usr, shown natively where this machine has them; an image has its own."""
    home: int = 64 << 20
    tmp: int = 64 << 20
    persist: str | None = None
    expose: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostRule:
    """One host the server may reach: a canonical name (`*.` prefix for any depth) or literal, and a port."""

    host: str
    port: int
    origin: Origin = Origin("default")
    opaque: bool = False
    """What is spoken there is not checked: neither SNI nor Host has to name the host."""
    private: bool = False
    """The name may resolve to a private address (RFC 1918, 4193, 6598)."""
    anywhere: bool = False
    """It may resolve to any address of one host, but not to a cloud's metadata: a registry of the user's own
    settings, which this machine's name service may lead wherever it is. No profile can say it."""


@dataclass(frozen=True, slots=True)
class HostBudget:
    """How much may pass to what one rule allows; bytes, and a number of connections."""

    host: str
    port: int
    upload: int | None = None
    download: int | None = None
    connections: int | None = None
    origin: Origin = Origin("default")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What outbound traffic may look like: for each pattern, what its sight does, and when it is one."""

    idle: Action = "log"
    """A connection or an upload while no MCP request is open."""
    denied: Action = "log"
    denied_streak: int = 20
    """Denied names or connections in a row, with no allowed connection between them."""
    beacon: Action = "log"
    beacon_count: int = 8
    """Intervals between moments of activity towards one host that must be alike."""
    beacon_jitter: float = 0.1
    """Standard deviation of those intervals over their mean: at or below this they are alike."""


@dataclass(frozen=True, slots=True)
class Network:
    """Where the server may connect, and how much may pass; nothing by default."""

    allow: tuple[HostRule, ...] = ()
    upload: int | None = None
    download: int | None = None
    connections: int | None = None
    budgets: tuple[HostBudget, ...] = ()
    behaviour: Behaviour = Behaviour()


@dataclass(frozen=True, slots=True)
class Env:
    """Variables taken from the caller by name, and variables set outright."""

    passed: tuple[str, ...] = ()
    fixed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that reaches the server as the variable `name`; the profile's `from` is its `source`."""

    name: str
    source: str
    inject: tuple[str, ...] = ()
    origin: Origin = Origin("default")


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits whose excess is a breach."""

    memory: int | None = 512 << 20
    cpus: float | None = 1.0
    pids: int | None = 128
    open_files: int | None = 1024
    disk: int | None = 256 << 20
    wall: float | None = None
    idle: float | None = None
    written: int | None = None
    """Bytes written to files over a session, wherever they are."""
    cpu_time: float | None = None
    """Seconds of processor time over a session."""
    busy: float | None = None
    """Seconds without a pause at the limit of `cpus`."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Limits on MCP messages; `message` is the size cap of one frame."""

    message: int = 10 << 20
    rate: float | None = None
    """Messages of the client's per second."""
    concurrency: int | None = None
    """Requests of the client's that are open at once."""
    timeout: float | None = None
    """Seconds that one request may be open."""
    flood: float | None = 1000.0
    """Messages of the server's per second that answer nothing: notifications, noise, what is refused."""
    waste: int | None = 64 << 20
    """Bytes a minute of the server's stdout that are no message."""
    stall: float | None = 300.0
    """Seconds that a message waits for a server that does not read."""


@dataclass(frozen=True, slots=True)
class ArgumentRule:
    """What one argument of one tool must match; of a list, each of its items."""

    tool: str
    argument: str
    pattern: str | None = None
    """RE2's syntax."""
    enum: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    hosts: tuple[str, ...] = ()
    min_length: int | None = None
    max_length: int | None = None
    """Characters."""
    optional: bool = False
    """The argument may be absent: what the server takes instead is then its own choice."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Which tools may be called, by name pattern."""

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    pin: Pin = "first-use"
    arguments: tuple[ArgumentRule, ...] = ()
    calls: int | None = None
    """Tool calls of a session."""
    rate: float | None = None
    """Tool calls per second."""
    repeat: int | None = None
    """The same tool with the same arguments within `window`."""
    window: float = 60.0
    budget: float | None = None
    """What the calls of a session may cost together."""
    cost: tuple[tuple[str, float], ...] = ()
    """By name pattern, the first that matches; any other call costs 1."""
    ask_tainted: tuple[str, ...] = ()
    """Tools that are asked about once anything was found in what the model has read."""
    ask_at: AskedAt = "client"
    """`client`: by its own forms where it has some; `terminal`: never by those, which a model may fill in."""
    answer: float = 120.0
    """Seconds that a call waits for a person; then it is refused."""
    only: tuple[str, ...] | None = None
    """What one run is narrowed to by `--only-tools`, whatever the rest allows; no profile has it."""


@dataclass(frozen=True, slots=True)
class Inspect:
    """How strict each inspector is."""

    poison: Poison = "block"
    secrets: SecretMode = "redact"
    protocol: Protocol = "on"
    waive: tuple[str, ...] = ()
    """Rules of `poison` and `secrets` that are not applied (waivers)."""


@dataclass(frozen=True, slots=True)
class ClientFeatures:
    """What the server may ask of the client (MCP, Client Features)."""

    roots: Roots = "mounted"
    """`mounted`: of the client's roots, those that the sandbox has."""
    sampling: Feature = "deny"
    elicitation: Feature = "allow"


@dataclass(frozen=True, slots=True)
class Isolation:
    """The kernel boundary and the traps in it."""

    runtime: Literal["default", "gvisor"] = "default"
    decoys: bool = False


@dataclass(frozen=True, slots=True)
class Supply:
    """How an `npx` or `uvx` package is built, and what has to be known of it before it is locked."""

    scripts: tuple[str, ...] = ()
    """Packages whose install scripts may run."""
    hosts: tuple[str, ...] = ()
    """What a build may reach besides the configured registries: `host` or `host:port`."""
    lock: LockUse = "use"
    """`require`: what has no lock does not start."""
    age: float = 259200.0
    """Seconds since a version was published before it is locked; 0: however young."""
    age_waive: tuple[str, ...] = ()
    """Packages that may be younger (waivers)."""
    provenance: Judgement = "warn"
    image_keys: tuple[str, ...] = ()
    """PEM files of public keys, by one of which an image has to be signed (cosign)."""
    advisories: Judgement = "require"
    lookalikes: Judgement = "warn"
    advisories_at: str | None = None
    """A directory, zip or file of OSV records; None: what `MCP_SANDBOX_OSV` names."""


@dataclass(frozen=True, slots=True)
class BreachPolicy:
    """What becomes of a sandbox that breaks a limit, by what was broken; and whom that is told."""

    pids: Ending = "kill"
    open_files: Ending = "kill"
    disk: Ending = "kill"
    written: Ending = "kill"
    cpu_time: Ending = "kill"
    busy: Ending = "kill"
    wall: Ending = "kill"
    idle: Ending = "kill"
    syscall: Ending = "kill"
    traffic: Stopping = "kill"
    """`traffic.*`; `deny` refuses the message alone."""
    calls: Stopping = "kill"
    """`tools.calls`, `rate`, `repeat` and `budget`; `deny` refuses the call alone."""
    grace: float = 0.0
    """Seconds for which a measured quota may be exceeded."""
    answer: float = 120.0
    """Seconds that a frozen sandbox waits for a person; then it is killed."""
    notify: tuple[str, ...] = ()
    """`desktop` and `command:…`, started at every breach."""


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """What the log keeps beyond names, sizes and hashes, and where (`None`: the state directory)."""

    payloads: bool = False
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything one server may do, and where each key was written (`origins`, by dotted key)."""

    name: str
    description: str = ""
    sources: tuple[tuple[str, str], ...] = ()
    match: Match = field(default_factory=Match)
    server: Server = field(default_factory=Server)
    files: Files = field(default_factory=Files)
    network: Network = field(default_factory=Network)
    env: Env = field(default_factory=Env)
    secrets: tuple[Secret, ...] = ()
    quota: Quota = field(default_factory=Quota)
    traffic: Traffic = field(default_factory=Traffic)
    tools: Tools = field(default_factory=Tools)
    inspect: Inspect = field(default_factory=Inspect)
    client: ClientFeatures = field(default_factory=ClientFeatures)
    syscalls: Tier = "net"
    isolation: Isolation = field(default_factory=Isolation)
    supply: Supply = field(default_factory=Supply)
    audit: AuditPolicy = field(default_factory=AuditPolicy)
    breach: BreachPolicy = field(default_factory=BreachPolicy)
    origins: tuple[tuple[str, Origin], ...] = ()

    def origin(self, key: str) -> Origin:
        """The file and line (or flag) that set the dotted `key`; `default` where nothing did."""
        return dict(self.origins).get(key, Origin("default"))
