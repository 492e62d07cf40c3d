"""What is wrong with the servers that clients start: a table of rules, each a pure question (P)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from sandbox.clients.credential import in_arguments, in_plain_text
from sandbox.clients.variables import steers
from sandbox.clients.words import Entry
from sandbox.clients.wrapping import Fit, inner, is_wrapped, options_of, started, words_of
from sandbox.errors import SandboxError
from sandbox.records import dataclass
from sandbox.supply.docker_run import parse as engine_run
from sandbox.supply.lookalikes import like
from sandbox.supply.request import Request, parse
from sandbox.supply.shell import behind_env, unwrapped

Level = Literal["error", "warning", "note"]
"""SARIF's words; a note alone is no reason to fail."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a lock is to one server."""

    state: str
    """`locked`; `bypassed`: there is one, and the client starts the server past us; `none`; else the code of
    the error with which its start is refused, such as `lock-changed`."""
    path: str = ""
    """The lock's file."""
    fix: str = ""
    """The command that has a lock hold it."""
    what: str = ""
    """Why it is refused."""

    @property
    def refused(self) -> bool:
        """There is a lock, or has to be one, and the server does not start by it."""
        return self.state not in ("locked", "bypassed", "none")


@dataclass(frozen=True, slots=True)
class Server:
    """One entry of one file, and what is known of both."""

    client: str
    scope: str
    path: str
    line: int
    entry: Entry
    fit: Fit
    known: tuple[str, ...] = ()
    """Packages of the servers that have profiles."""
    exposed_file: str = ""
    """Who else may write the file; empty: nobody."""
    tools: frozenset[str] = frozenset()
    """The tools that it had in its last sessions, as far as these are known."""
    program_missing: bool = False
    """It is wrapped, and our program is not where the entry says."""
    cwd: str = ""
    """Where the client starts it, as far as that is known."""
    lock: Held | None = None
    """None: there is nothing to lock, or nobody knows which lock it would be."""

    @property
    def contained(self) -> bool:
        """Whether it is ours that the client starts."""
        return is_wrapped(self.entry) and not self.fit.impostor

    @property
    def locked(self) -> bool:
        """What the client starts is what a lock names, or nothing."""
        return self.contained and self.lock is not None and self.lock.state == "locked"

    @property
    def command(self) -> tuple[str, ...]:
        """The server's own command line."""
        return inner(self.entry) or words_of(self.entry)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one server."""

    rule: str
    level: Level
    reason: str
    server: Server


@dataclass(frozen=True, slots=True)
class Rule:
    """A question to one server: the reasons why the answer is yes."""

    id: str
    level: Level
    what: str
    look: Callable[[Server], Iterable[str]]


def findings(servers: Sequence[Server]) -> list[Finding]:
    """Everything that is wrong, in the order of the servers and of the rules."""
    beyond = {SAME_NAME: _twice(servers), SAME_TOOL: _tools(servers)}
    return [
        Finding(rule.id, rule.level, reason, server)
        for at, server in enumerate(servers)
        for rule in RULES
        for reason in (beyond[rule.id].get(at, ()) if rule.id in beyond else rule.look(server))
    ]


def failing(found: Iterable[Finding]) -> bool:
    """Whether any of it is a reason to fail."""
    return any(one.level != "note" for one in found)


# --- containment -----------------------------------------------------------------------------------


def _is_remote(server: Server) -> bool:
    return bool(server.entry.url) and not server.entry.command


def _uncontained(server: Server) -> Iterator[str]:
    if not server.contained and not _is_remote(server) and server.entry.command:
        yield "it runs with all that its user may read, change and reach"


def _remote(server: Server) -> Iterator[str]:
    if _is_remote(server) and not server.contained:
        yield "no process of this machine: what it says and is told is not looked at until it is wrapped"


_LOOPBACK: Final = re.compile(r"http://(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?=[:/?#]|$)", re.IGNORECASE)


def _plain_http(server: Server) -> Iterator[str]:
    url = server.entry.url
    if url.lower().startswith("http://") and not _LOOPBACK.match(url):
        yield "it is spoken to without encryption"


def _missing(server: Server) -> Iterator[str]:
    if server.program_missing:
        yield f"`{server.entry.command}` is not there: the server does not start; wrap it again"


def _impostor(server: Server) -> Iterator[str]:
    if server.fit.foreign:
        yield f"its profile `{server.fit.foreign}` is none of yours, and may have commands run outside"
    elif server.fit.impostor:
        yield f"`{server.entry.command}` is a file of the project's own, whatever it is called"


_NO_GRANTS: Final = frozenset(("--name", "--profile", "--backend", "--locked", "--quiet", "--verbose"))


def _granting(server: Server) -> Iterator[str]:
    if not server.contained or not server.fit.stranger:
        return
    words = (word.partition("=")[0] for word in options_of(server.entry))
    grants = dict.fromkeys(word for word in words if word.startswith("--"))
    told = [word for word in grants if word not in _NO_GRANTS]
    if told := [*told, *(f"env {name}=…" for name in _variables(server))]:
        yield f"the project's own file says what it may have: {', '.join(f'`{word}`' for word in told)}"


def _variables(server: Server) -> Iterable[str]:
    """What `env` before its program sets, as `--set-env` would."""
    try:
        behind = behind_env(server.command)
    except SandboxError:
        return ()
    return behind[0] if behind else ()


def _steering(server: Server) -> Iterator[str]:
    for name in (*dict(server.entry.env), *server.fit.names):
        if server.contained and steers(name, stranger=server.fit.stranger):
            yield f"its variable `{name}` decides which code mcp-sandbox itself runs, outside of the sandbox"
    if server.contained and server.fit.stranger and server.fit.own_program and request_of(server) is not None:
        runner = started(server.command)[0]
        yield f"`{runner}` is a program of the project's, and would get packages for mcp-sandbox"


_SOCKETS: Final = ("docker.sock", "podman.sock", "containerd.sock")


def _engine(server: Server) -> Iterator[str]:
    run = engine_run(started(words_of(server.entry))) if not server.contained else None
    if run is None:
        return
    if "--privileged" in run.switches:
        yield "`--privileged` gives it the host's devices"
    if "host" in run.values("--network"):
        yield "`--network host` gives it every service of this machine's own"
    for mount in (*run.values("--volume"), *run.values("--mount")):
        if any(socket in mount for socket in _SOCKETS):
            yield "the engine's socket gives it this machine"
        elif re.match(r"(?:/|~/?|\$HOME|\$\{HOME\})(?::|$)", mount):
            yield f"the mount `{mount.partition(':')[0]}` gives it every file"


# --- what is started -------------------------------------------------------------------------------


def request_of(server: Server) -> Request | None:
    """The packages that its command asks a registry for."""
    try:
        return parse(server.command)
    except SandboxError:
        return None


def _unpinned(server: Server) -> Iterator[str]:
    if server.locked:
        return
    request = request_of(server)
    if request is not None and not request.pinned and not server.contained:
        yield f"{request.title} is whatever its owner last published: {_pinning(server, 'one version')}"
    run = engine_run(started(server.command))
    if run is not None and "@sha256:" not in run.image:
        yield f"the image `{run.image}` is whatever its owner last pushed: {_pinning(server, 'its digest')}"


def _frozen(server: Server) -> Iterator[str]:
    request = request_of(server)
    if request is None or request.pinned or not server.contained or server.locked or _is_refused(server):
        return
    by = _pinning(server, "one version")
    yield f"{request.title} is held at what was found first, until `--refresh`: {by}"


def _pinning(server: Server, what: str) -> str:
    """How it comes to start as one thing alone."""
    if server.lock is None or not server.lock.fix:
        return f"name {what}"
    if server.lock.state == "bypassed":
        return f"the lock {server.lock.path} holds it once `{server.lock.fix}` is done"
    return f"`{server.lock.fix}` freezes it{'' if server.contained else ' for mcp-sandbox'}, or name {what}"


def _is_refused(server: Server) -> bool:
    return server.lock is not None and server.lock.refused


def _lock_refused(server: Server) -> Iterator[str]:
    if server.contained and server.lock is not None and server.lock.refused:
        by = f": `{server.lock.fix}`" if server.lock.fix else ""
        yield f"it does not start: {server.lock.what} ({server.lock.state}){by}"


def _look_alike(server: Server) -> Iterator[str]:
    request = request_of(server)
    for spec in request.specs if request else ():
        package = _package(request.ecosystem if request else "", spec)
        if (found := like(package, server.known)) is not None:
            yield f"`{package}` passes for `{found[0]}` ({found[1]})"


def _package(ecosystem: str, spec: str) -> str:
    name = re.split(r"[\[<>=!~;, ]", spec)[0] if ecosystem == "pypi" else spec
    return f"{ecosystem}:{name[: name.index('@', 1)] if '@' in name[1:] else name}"


_SHELLS: Final = frozenset("sh bash dash zsh ksh fish cmd powershell pwsh".split())


def _shell(server: Server) -> Iterator[str]:
    words = server.command
    if not words:
        return
    program = words[0].replace("\\", "/").rpartition("/")[2].removesuffix(".exe").lower()
    if program not in _SHELLS or not any(_runs(word) for word in words[1:]):
        return
    try:
        plain = unwrapped(words) != words
    except SandboxError:
        plain = False
    if not plain and not (program == "cmd" and len(words) > 2 and not re.search(r"[&|<>^]", " ".join(words))):
        yield f"a line of `{program}` is started: what it does is not only its first program"


def _runs(word: str) -> bool:
    return word.lower() in ("/c", "/k", "-command") or bool(re.fullmatch(r"-[a-z]*c[a-z]*", word))


# --- secrets ---------------------------------------------------------------------------------------


def _secret_in_config(server: Server) -> Iterator[str]:
    for name, value in server.entry.env:
        if in_plain_text(name, value):
            yield f"the value of `{name}` stands in the file, where every program of this user reads it"


def _secret_in_arguments(server: Server) -> Iterator[str]:
    count = len(in_arguments(server.command))
    if count:
        held = "one of its arguments is a credential" if count == 1 else f"{count} arguments are credentials"
        yield f"{held}, which every list of processes shows"


# --- the file --------------------------------------------------------------------------------------


def _writable(server: Server) -> Iterator[str]:
    if server.exposed_file:
        yield f"{server.exposed_file} may change what is started"


SAME_NAME: Final = "same-name"
SAME_TOOL: Final = "same-tool"
"""Rules that look at all servers together."""


def _twice(servers: Sequence[Server]) -> Mapping[int, list[str]]:
    """By place in the sequence: where else its client has the name, for another server."""
    groups: dict[tuple[str, str, str], dict[object, Server]] = {}
    for server in servers:
        key = (server.client, server.entry.name, _project(server))
        groups.setdefault(key, {}).setdefault(_started(server), server)
    found: dict[int, list[str]] = {}
    for at, server in enumerate(servers):
        # Claude Code's own servers of two projects are never there together.
        near = [groups.get((server.client, server.entry.name, one), {}) for one in {"", _project(server)}]
        others = (other for group in near for other in group.values() if _differ(other, server))
        if (other := next(others, None)) is not None:
            found[at] = [f"also in {other.path}:{other.line}, where it starts something else"]
    return found


def _project(server: Server) -> str:
    path = server.entry.path
    return str(path[1]) if path[0] == "projects" else ""


def _started(server: Server) -> object:
    return server.command, server.entry.url


def _tools(servers: Sequence[Server]) -> Mapping[int, list[str]]:
    """By place in the sequence: tools of another server of the same client's that are called the same."""
    having: dict[tuple[str, str], list[Server]] = {}
    for server in servers:
        for tool in server.tools:
            having.setdefault((server.client, tool), []).append(server)
    found: dict[int, list[str]] = {}
    for at, server in enumerate(servers):
        shared: dict[str, list[str]] = {}
        for tool in sorted(server.tools):
            for other in having[server.client, tool]:
                if server.entry.name != other.entry.name and _differ(server, other):
                    shared.setdefault(other.entry.name, []).append(tool)
        for name, tools in shared.items():
            told = f"`{tools[0]}`{f' and {len(tools) - 1} more' if len(tools) > 1 else ''}"
            found.setdefault(at, []).append(f"its tool {told} is also one of `{name}`")
    return found


def _differ(left: Server, right: Server) -> bool:
    return _started(left) != _started(right)


def _never(_: Server) -> Iterator[str]:
    return iter(())


RULES: Final = (
    Rule("uncontained", "error", "a server that runs without a sandbox", _uncontained),
    Rule("missing-program", "error", "a wrapped server whose wrapper is gone", _missing),
    Rule("false-wrapper", "error", "a program that only is called mcp-sandbox", _impostor),
    Rule(
        "steering-variable",
        "error",
        "a variable or a program that decides what runs outside of the sandbox",
        _steering,
    ),
    Rule("wide-engine", "error", "a container that is none", _engine),
    Rule("look-alike", "error", "a package that passes for a known server's", _look_alike),
    Rule("writable-config", "error", "a config file that others may change", _writable),
    Rule("secret-in-config", "warning", "a credential in plain text", _secret_in_config),
    Rule("secret-in-arguments", "warning", "a credential among the arguments", _secret_in_arguments),
    Rule("unpinned", "warning", "a package or image without one version", _unpinned),
    Rule("lock-refused", "warning", "a server that its lock keeps from starting", _lock_refused),
    Rule("shell-command", "warning", "a shell's line in place of a program", _shell),
    Rule("plain-http", "warning", "a remote server without encryption", _plain_http),
    Rule(SAME_NAME, "warning", "one name for two servers", _never),
    Rule(SAME_TOOL, "warning", "one name for the tools of two servers", _never),
    Rule("remote", "note", "a remote server that is reached past mcp-sandbox", _remote),
    Rule("granted-by-project", "note", "options of the sandbox that a project's file gives", _granting),
    Rule("unpinned-contained", "note", "a contained package without one version", _frozen),
)
