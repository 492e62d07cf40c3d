"""The profile file, whole, as pydantic models: every key, what it may hold, and its words in the JSON Schema.

Merging along `extends`: tables merge key by key. The lists `files.read`, `files.write`,
`files.programs`, `files.expose`, `network.allow`, `network.opaque`, `network.private`, `env.pass`,
`tools.deny`, `tools.ask`, `inspect.waive`, `supply.scripts`, `supply.hosts` and `supply.age_waive` are
added to the parent's; every other value replaces the parent's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from pydantic import model_validator as after_all

from sandbox.policy import hosts
from sandbox.policy.argument_table import STRICT, ArgumentTable
from sandbox.policy.fields import (
    Amount,
    Cost,
    Count,
    Cpus,
    Frame,
    Glob,
    Host,
    Memory,
    Name,
    Notify,
    OpaqueHost,
    OpenFiles,
    Package,
    Path,
    Pids,
    Place,
    PrivateHost,
    Rate,
    RuleName,
    Seconds,
    Source,
    Space,
    Text,
    Variable,
    Version,
    Versions,
)
from sandbox.policy.model import (
    Action,
    AskedAt,
    Ending,
    Feature,
    Pin,
    Poison,
    Protocol,
    Roots,
    SecretMode,
    Stopping,
    Tier,
)
from sandbox.policy.server_table import ServerTable
from sandbox.policy.supply_table import SupplyTable

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


class _Table(BaseModel):
    """A table of the profile: a key it does not know is an error, and so is a value of another type."""

    model_config = STRICT


class MatchTable(_Table):
    """Which servers this profile is for; what a parent is for does not count."""

    packages: list[Package] = Field(default=[], description="`npm:NAME`, `pypi:NAME`, `oci:NAME`")
    versions: Versions = Field(default="", description="What it was proven with, such as `>=2025.1,<2027`")
    paths: Literal["none", "read", "write"] = Field(
        default="none", description="How the paths among the command's own arguments are mounted"
    )


class FilesTable(_Table):
    """What of the host's files exists inside; lists are added to the parent's."""

    read: list[Path] = Field(default=[], description="Host paths mounted read-only; `host:inside` moves one")
    write: list[Path] = Field(default=[], description="Host paths mounted read-write")
    programs: list[Path] = Field(
        default=[],
        description="Programs outside /usr, read-only where this machine has them; an image has its own",
    )
    home: Space | None = Field(default=None, description="Size of the empty home directory in memory (64M)")
    tmp: Space | None = Field(default=None, description="Size of the empty /tmp in memory (64M)")
    persist: Name | None = Field(
        default=None, description="Keeps the home directory between runs by this name"
    )
    expose: list[Place] = Field(
        default=[], description="Secret places mounted all the same, by name (a waiver)"
    )


class BudgetTable(_Table):
    """How much may pass to what one rule allows, per session."""

    upload: Amount | None = Field(default=None, description="Bytes out")
    download: Amount | None = Field(default=None, description="Bytes in")
    connections: Count | None = None

    @after_all(mode="after")
    def _says_something(self) -> BudgetTable:
        if not self.model_fields_set:
            raise ValueError("the budget is empty: give `upload`, `download` or `connections`")
        return self


class BehaviourTable(_Table):
    """What outbound traffic may look like: what is done where a pattern is seen, and when it is one."""

    idle: Action = Field(default="log", description="A connection or an upload while no request is open")
    denied: Action = Field(default="log", description="Denied names and connections in a row")
    denied_streak: int = Field(default=20, ge=1, le=10_000, description="How many in a row are too many")
    beacon: Action = Field(default="log", description="Regular traffic to one host")
    beacon_count: int = Field(default=8, ge=3, le=1000, description="Intervals that must be alike")
    beacon_jitter: float = Field(
        default=0.1,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Deviation over mean of intervals that are alike",
    )


class NetworkTable(_Table):
    """Where the server may connect; nothing by default. The lists are added to the parent's."""

    allow: list[Host] = Field(
        default=[], description="`host`, `host:port` (443 unless said), `*.example.com`"
    )
    opaque: list[OpaqueHost] = Field(
        default=[], description="Allowed, and not checked to be spoken to by name (a waiver)"
    )
    private: list[PrivateHost] = Field(
        default=[], description="Allowed, and may resolve to a private address"
    )
    upload: Amount | None = Field(default=None, description="Bytes out, per session")
    download: Amount | None = Field(default=None, description="Bytes in, per session")
    connections: Count | None = None
    budget: dict[Host, BudgetTable] = Field(
        default={}, description="Per host, spelt as one of the lists allows it"
    )
    behaviour: BehaviourTable = BehaviourTable()

    @after_all(mode="after")
    def _one_budget_a_host(self) -> NetworkTable:
        spelt = [hosts.spelling(text) for text in self.budget]
        if twice := sorted({text for text in spelt if spelt.count(text) > 1}):
            raise ValueError(f"`{twice[0]}` has two budgets: write one")
        return self


class EnvTable(_Table):
    """The server's environment, which is empty but for this; `pass` is added to the parent's."""

    passed: list[Variable] = Field(default=[], alias="pass", description="Variables taken from the caller")
    fixed: dict[Variable, Text] = Field(default={}, alias="set", description="Variables with their values")


class SecretTable(_Table):
    """A value that reaches the server as an environment variable and is logged nowhere."""

    source: Source = Field(
        alias="from", description="`env`, `env?` (if it is set), `keyring`, `file:PATH` or `command:…`"
    )
    inject: list[Host] = Field(
        default=[], description="Hosts for which a placeholder is replaced on the way out"
    )


class QuotaTable(_Table):
    """Limits whose excess ends the sandbox."""

    memory: Memory | None = None
    cpus: Cpus | None = None
    pids: Pids | None = None
    open_files: OpenFiles | None = None
    disk: Space | None = None
    wall: Seconds | None = Field(default=None, description="Life of a session; absent: no limit")
    idle: Seconds | None = Field(
        default=None, description="Silence after which a session ends; absent: no limit"
    )
    written: Amount | None = Field(default=None, description="Bytes written to files; absent: no limit")
    cpu_time: Seconds | None = Field(default=None, description="Processor time; absent: no limit")
    busy: Seconds | None = Field(
        default=None, description="Time at the limit of `cpus` without a pause; absent: no limit"
    )


class TrafficTable(_Table):
    """Limits on MCP messages."""

    message: Frame | None = Field(default=None, description="Size of one message (10M)")
    rate: Rate | None = Field(default=None, description="Messages of the client's; absent: no limit")
    concurrency: Count | None = Field(default=None, description="Open requests; absent: no limit of ours")
    timeout: Seconds | None = Field(default=None, description="Life of one request; absent: no limit")
    flood: Rate | None = Field(
        default=None, description="Messages of the server's that answer nothing (1000/s)"
    )
    waste: Amount | None = Field(
        default=None, description="Bytes a minute on the server's stdout that are no message (64M)"
    )
    stall: Seconds | None = Field(
        default=None, description="How long a message waits for a server that does not read (5m)"
    )


class ToolsTable(_Table):
    """Which tools may be called; deny outranks ask, ask outranks allow. `deny` and `ask` are added."""

    allow: list[Glob] = ["*"]
    deny: list[Glob] = []
    ask: list[Glob] = []
    pin: Pin = Field(
        default="first-use",
        description="`locked`: only what was approved; `first-use`: also what was first seen",
    )
    arguments: dict[Glob, dict[str, ArgumentTable]] = {}
    calls: Count | None = Field(default=None, description="Tool calls of a session; absent: no limit")
    rate: Rate | None = Field(default=None, description="Tool calls; absent: no limit")
    repeat: Count | None = Field(
        default=None, description="The same call with the same arguments within `window`; absent: no limit"
    )
    window: Seconds = Field(default=60.0, description="In which `repeat` counts (60s)")
    budget: Cost | None = Field(default=None, description="What all calls may cost; absent: no limit")
    cost: dict[Glob, Cost] = Field(default={}, description="What a call of these tools costs (1)")
    ask_tainted: list[Glob] = Field(
        default=[], description="Asked about once something was found in what the model has read"
    )
    ask_at: AskedAt = Field(
        default="client", description="Where a person is asked: `client`, else `terminal`"
    )
    answer: Seconds = Field(default=120.0, description="How long a call waits for a person (2m)")


class InspectTable(_Table):
    """How strict each inspector is."""

    poison: Poison = "block"
    secrets: SecretMode = "redact"
    protocol: Protocol = Field(
        default="on",
        description="Messages against the revision, calls against schemas; `strict`: all that is wrong",
    )
    waive: list[RuleName] = Field(
        default=[], description="Rules that are not applied, such as `poison.ID` or `secrets.ID` (waivers)"
    )


class ClientTable(_Table):
    """What the server may ask of the client."""

    roots: Roots = Field(default="mounted", description="`mounted`: those of its roots that the sandbox has")
    sampling: Feature = Field(default="deny", description="Whether it may have the client's model write")
    elicitation: Feature = Field(default="allow", description="Whether it may ask the person questions")


class SyscallsTable(_Table):
    """Which system calls exist."""

    tier: Tier = "net"


class IsolationTable(_Table):
    """The kernel boundary and the traps in it."""

    runtime: Literal["default", "gvisor"] = "default"
    decoys: bool = False


class BreachTable(_Table):
    """What becomes of a sandbox that breaks a limit: `kill` (all by default), `freeze` or `warn`."""

    pids: Ending = "kill"
    open_files: Ending = "kill"
    disk: Ending = "kill"
    written: Ending = "kill"
    cpu_time: Ending = "kill"
    busy: Ending = "kill"
    wall: Ending = "kill"
    idle: Ending = "kill"
    syscall: Ending = Field(default="kill", description="A dangerous system call; it is never made")
    traffic: Stopping = Field(default="kill", description="`[traffic]`; `deny` refuses the message alone")
    calls: Stopping = Field(default="kill", description="`[tools]`; `deny` refuses the call alone")
    grace: Seconds | None = Field(
        default=None, description="How long a measured quota may be exceeded; absent: not at all"
    )
    answer: Seconds = Field(
        default=120.0, description="How long a frozen sandbox waits for `mcp-sandbox resume` (2m)"
    )
    notify: list[Notify] = Field(default=[], description="`desktop` and `command:…`, at every breach")


class AuditTable(_Table):
    """What the log keeps, and where."""

    payloads: bool = False
    path: Place | None = None


class Profile(_Table):
    """A profile of mcp-sandbox: everything one MCP server may do."""

    version: Version = Field(alias="schema", description="The version of this format")
    extends: Name | None = Field(default=None, description="The profile this one adds to, by name")
    description: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    match: MatchTable = MatchTable()
    server: ServerTable = ServerTable()
    files: FilesTable = FilesTable()
    network: NetworkTable = NetworkTable()
    env: EnvTable = EnvTable()
    secrets: dict[Variable, SecretTable] = {}
    quota: QuotaTable = QuotaTable()
    traffic: TrafficTable = TrafficTable()
    tools: ToolsTable = ToolsTable()
    inspect: InspectTable = InspectTable()
    client: ClientTable = ClientTable()
    syscalls: SyscallsTable = SyscallsTable()
    isolation: IsolationTable = IsolationTable()
    supply: SupplyTable = SupplyTable()
    audit: AuditTable = AuditTable()
    breach: BreachTable = BreachTable()

    @after_all(mode="after")
    def _one_source_a_variable(self) -> Profile:
        names = [*self.env.passed, *self.env.fixed, *self.secrets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"`{twice[0]}` is given twice among `env.pass`, `env.set` and `secrets`")
        return self


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a profile file, for editors."""
    plain = _without_null(Profile.model_json_schema(by_alias=True))
    return {"$schema": SCHEMA_ID, **plain}


def _said(default: Any) -> bool:
    return default is not None and not isinstance(default, dict)


def _without_null(schema: Any) -> Any:
    """The schema without `null`, which TOML cannot write: a key that is not set is left out."""
    if isinstance(schema, list):
        return [_without_null(one) for one in schema if one != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    # A table's default is its keys' defaults once more, with every `null` among them.
    kept = {key: _without_null(one) for key, one in schema.items() if key != "default" or _said(one)}
    only = kept.get("anyOf", ())
    return {**only[0], **{k: v for k, v in kept.items() if k != "anyOf"}} if len(only) == 1 else kept
