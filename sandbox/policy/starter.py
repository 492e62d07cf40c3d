"""The profile that somebody begins with: what could be granted stands in it as comments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sandbox.errors import UsageError
from sandbox.records import dataclass

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that the server says it wants to be told."""

    variable: str
    title: str
    secret: bool = False
    required: bool = False
    value: str = ""
    """What it is where nobody says otherwise."""
    header: str = ""
    """Of a server that runs elsewhere: the header that it is sent in."""


@dataclass(frozen=True, slots=True)
class Start:
    """What is known of a server before it ever ran."""

    name: str
    command: tuple[str, ...]
    extends: str
    title: str
    """What it is, as a person says it."""
    package: str = ""
    """`npm:NAME`, `pypi:NAME` or `oci:NAME`; empty where the command starts none."""
    versions: str = ""
    access: str = "none"
    image: str = ""
    paths: tuple[str, ...] = ()
    """What the command names of this machine's files."""
    variables: tuple[str, ...] = ()
    """What the command takes from the environment."""
    url: str = ""
    """Of a server that runs elsewhere, in place of a command."""
    settings: tuple[Setting, ...] = ()
    near: str = ""
    """`host:port` where that is one of this machine's or its network's, which no URL grants by itself."""


_LOGIN = (
    Setting("", "", value="Bearer ${API_TOKEN}", header="Authorization"),
    Setting("API_TOKEN", "", secret=True),
)


def text(start: Start) -> str:
    """A valid profile that grants what its parent grants and nothing else."""
    return "\n".join(_lines(start)) + "\n"


def _lines(start: Start) -> Iterator[str]:
    yield f"# What {start.title} may do."
    yield "#"
    yield "# A line that is a comment grants nothing: take the `#` away from what it needs."
    if start.url:
        yield "# `mcp-sandbox check` finds mistakes; docs/remote.md has what else it may be sent."
    else:
        yield "# `mcp-sandbox check` finds mistakes, `mcp-sandbox score` says how exposed it leaves you, and"
        yield "# `mcp-sandbox learn -- COMMAND` finds out what a server needs by running it contained."
    yield "schema = 1"
    yield f"extends = {quoted(start.extends)}"
    yield f"description = {quoted(start.title)}"
    yield from _match(start)
    if start.url:
        yield from _elsewhere(start)
        return
    yield from _server(start)
    yield from _files(start)
    yield from _rest(start)


def _elsewhere(start: Start) -> Iterator[str]:
    yield ""
    yield f"[server]   # what `mcp-sandbox run --profile {start.name}` speaks to"
    yield f"url = {quoted(start.url)}"
    yield '# pin = ["sha256:…"]   # the server\'s public key'
    yield ""
    yield "# [server.headers]   # or `mcp-sandbox login`, where it wants a login"
    settings = start.settings or _LOGIN
    for one in settings:
        if one.header:
            name = one.header if _BARE.fullmatch(one.header) else quoted(one.header)
            yield f"# {name} = {quoted(one.value)}"
    for one in settings:
        if one.secret:
            yield from _secret(one.variable, _about(one))
    yield from _variables(one for one in settings if not one.secret and not one.header)
    if start.near:
        yield ""
        yield "[network]"
        yield f"allow = [{quoted(start.near)}]   # this machine's own, which a URL alone does not grant"


def _match(start: Start) -> Iterator[str]:
    if not start.package:
        return
    yield ""
    yield "[match]   # `mcp-sandbox run -- COMMAND` finds this profile by the package in its command"
    yield f"packages = [{quoted(start.package)}]"
    if start.versions:
        yield f"versions = {quoted(start.versions)}"
    if start.access != "none":
        yield f"paths = {quoted(start.access)}   # how the paths that the command names are mounted"
    else:
        yield '# paths = "read"   # mounts the paths that the command names; or "write"'


def _server(start: Start) -> Iterator[str]:
    yield ""
    yield f"[server]   # what `mcp-sandbox run --profile {start.name}` starts"
    if start.image:
        yield f"image = {quoted(start.image)}"
        if "@sha256:" not in start.image:
            yield "unpinned = true   # a waiver: better is IMAGE@sha256:…, which nobody can exchange"
    if start.command or not start.image:
        yield f"command = [{', '.join(map(quoted, start.command))}]"


def _files(start: Start) -> Iterator[str]:
    paths = ", ".join(map(quoted, start.paths)) or '"."'
    yield ""
    yield "[files]"
    yield f"# read = [{paths}]    # shown read-only, at their own place"
    yield f"# write = [{paths}]"
    yield f"# persist = {quoted(start.name)}   # keeps its home between runs; else it is empty at every start"


def _rest(start: Start) -> Iterator[str]:
    hidden = [one for one in start.settings if one.secret]
    names = start.variables or () if start.settings else start.variables or ("API_TOKEN",)
    yield ""
    yield "[network]"
    yield '# allow = ["api.example.com", "localhost:5432"]   # port 443 unless said; your own `localhost`'
    yield ""
    yield "[env]"
    yield '# pass = ["LOG_LEVEL"]   # variables of yours that it sees'
    yield from _variables(one for one in start.settings if not one.secret)
    for name, about in (*((name, "") for name in names), *((one.variable, _about(one)) for one in hidden)):
        yield ""
        yield from _secret(name, about)


def _secret(name: str, about: str) -> Iterator[str]:
    told = about or "   # a credential: never in the log, taken out of what the model is told"
    yield f"# [secrets.{name}]{told}"
    yield '# from = "env"   # from where it was started; or "keyring", "file:PATH", "command:…"'


def _variables(settings: Iterable[Setting]) -> Iterator[str]:
    listed = [f"# {one.variable} = {quoted(one.value)}{_about(one)}" for one in settings]
    if listed:
        yield "# [env.set]   # what it says it wants to be told"
        yield from listed


def _about(one: Setting) -> str:
    """What it is, as a comment of one line."""
    title = "".join(char if char.isprintable() else " " for char in one.title[:100]).strip()
    needed = "required" if one.required else ""
    said = ": ".join(filter(None, (needed, title)))
    return f"   # {said}" if said else ""


def quoted(value: str) -> str:
    """A string as TOML writes it (TOML 1.0, basic strings)."""
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise UsageError("not-text", f"`{value.encode('unicode_escape').decode()}` is not UTF-8")
    return '"' + "".join(_character(char) for char in value) + '"'


def _character(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else f"\\U{ord(char):08x}"
