"""An entry that is a URL: the same server through `mcp-sandbox run URL`, and back (P).

Clients replace `$` and braces in arguments themselves. What is secret of a URL or header, or is theirs to
replace, therefore becomes a variable of the entry, and arguments name that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final
from urllib.parse import quote, unquote

from sandbox.clients.credential import is_secret, literal, looked
from sandbox.clients.shapes import SHAPES, Shape
from sandbox.clients.words import Entry
from sandbox.clients.wrapping import Fit, Left, inner, named, options_of
from sandbox.inspect.entropy import looks_random
from sandbox.policy import hosts, remote
from sandbox.records import dataclass, field

HEADER, PART = "MCP_HEADER_", "MCP_URL_"
"""What our variables begin with: of a header's value, and of a part of the URL."""
_HEADERS: Final = ("headers", "http_headers")
_BEARER, _FROM_ENV = "bearer_token_env_var", "env_http_headers"
"""Codex's: a variable that has the token, and by header the variables that have their values."""
_KIND: Final = {"array": ("type", "local", "remote"), "goose": ("type", "stdio", "streamable_http")}
_USUAL: Final = ("command", "args", "env", "envFile", "cwd")
_HELPER: Final = "headersHelper"
"""Claude Code's."""
_LOGIN: Final = re.compile(r"oauth|auth", re.IGNORECASE)
_STRANGE: Final = frozenset("transport zed-nested".split())
"""Shapes in which a remote server is not written side by side with a command's members."""
_PARAMETER: Final = re.compile(r"(?<=[?&])([^=&]+)=([^&]+)")
_SEGMENT: Final = re.compile(r"(?<=[^/:]/)[^/?#]+(?=[^#]*)")
_LONG: Final = 20
_PLAIN: Final = frozenset(
    "user-agent accept-language x-mcp-toolsets x-mcp-tools x-mcp-readonly x-region".split()
)
"""Headers that say nothing secret by what they are."""
_KEY: Final = re.compile(
    r"(?:^|[_.-])(?:token|key|apikey|secret|sig|signature|auth|session|sid|pass(?:word)?|pwd|code)(?:$|[_.-])|api_?key|token$",
    re.IGNORECASE,
)
"""Parameters that hold a credential, whatever it looks like."""
_REFERENCE: Final = re.compile(r"\$\{\{[^}]*\}\}|\$\{[^}]*\}|\{(?:env|file):[^}]*\}|\$[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Reached:
    """The entry's members afterwards, and what has to be said."""

    members: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Made:
    """What becomes of one entry, as far as it is known."""

    options: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    passed: list[str] = field(default_factory=list)

    def variable(self, name: str, value: str) -> None:
        """A variable of the entry, which is a secret; one that the client fills in may be empty."""
        self.env[name] = value
        self.options += ["--secret", name if literal(value) else f"{name}?"]


def wrapped(entry: Entry, members: Mapping[str, Any], program: str, fit: Fit) -> Reached | Left:
    """The entry with a command in place of its URL, or why it cannot have one."""
    if why := _obstacle(entry, members):
        return Left(why)
    made = _Made()
    try:
        for name, value in _headers(members):
            _header(made, name, value)
        _from_environment(made, members)
        address = _address(made, entry, fit)
    except ValueError as why:
        return Left(str(why))
    args = ["run", *named(entry), *made.options, "--", address]
    return Reached(_with_command(entry, members, program, args, made), tuple(_notes(made, members, address)))


def _obstacle(entry: Entry, members: Mapping[str, Any]) -> str:
    if _HELPER in members:
        return f"its headers come from a program (`{_HELPER}`), which the client runs"
    if entry.faults:
        return entry.faults[0]
    if entry.shape in _STRANGE:
        return "a remote server in a form that is not rewritten: `mcp-sandbox run URL` as its command does it"
    if entry.kind not in ("http", "sse"):
        return "a remote server that is spoken to in another way than by HTTP"
    return ""


def _headers(members: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for member in _HEADERS:
        held = members.get(member)
        if held is None:
            continue
        if not isinstance(held, dict) or not all(isinstance(one, str) for one in held.values()):
            raise ValueError(f"`{member}` is not a table of texts")
        if len({name.lower() for name in held}) < len(held):
            raise ValueError(f"`{member}` has a header twice")
        yield from held.items()


def _header(made: _Made, name: str, value: str) -> None:
    header = remote.header_name(name)
    if header in _PLAIN and literal(value) and not looked(value):
        made.options += ["--header", f"{header}: {remote.header_value(header, value)}"]
        return
    variable = HEADER + re.sub(r"[^A-Z0-9]", "_", header.upper())
    if variable in made.env:
        raise ValueError(f"it has the header `{header}` twice")
    if literal(value) and not is_secret(header, value) and not remote.names_a_credential(header):
        # No argument either, which everybody may read; but not looked for in what is said, as a secret is.
        made.env[variable] = value
        made.options += ["--allow-env", variable]
    else:
        made.variable(variable, value)
    made.options += ["--header-from", f"{header}={variable}"]


def _from_environment(made: _Made, members: Mapping[str, Any]) -> None:
    """Codex's headers whose values are in its own environment."""
    given = dict(members.get(_FROM_ENV) or {})
    pairs = [(remote.header_name(str(name)), str(variable)) for name, variable in given.items()]
    for header, variable in pairs:
        made.options += ["--secret", f"{variable}?", "--header-from", f"{header}={variable}"]
        made.passed.append(variable)
    if isinstance(token := members.get(_BEARER), str) and token:
        # The one place with a name in braces: Codex replaces nothing in arguments.
        made.options += ["--secret", f"{token}?", "--header", f"authorization: Bearer ${{{token}}}"]
        made.passed.append(token)


# --- the URL -----------------------------------------------------------------------------------------


def _address(made: _Made, entry: Entry, fit: Fit) -> str:
    """The URL as an argument, and the option without which a service of this machine is not reached."""
    text = _REFERENCE.sub(lambda found: _part(made, found[0], found[0]), entry.url)
    text = _PARAMETER.sub(lambda found: _parameter(made, found), text)
    text = _SEGMENT.sub(lambda found: _segment(made, found[0]), text)
    try:
        url = remote.parse(text)
    except ValueError as why:
        raise ValueError(f"its URL cannot be used: {why}") from None
    if looked(str(url)):
        raise ValueError("its URL holds a credential in a place where no variable can stand")
    if url.host in remote.LOOPBACK or (hosts.literal(url.host) and _inner(url.host)):
        if fit.stranger:
            raise ValueError("a project's file names a service of this machine or its network")
        place = "localhost" if url.host in remote.LOOPBACK else url.host
        made.options += ["--allow-net", hosts.spelt(place, url.port)]
    return str(url)


def _inner(address: str) -> bool:
    from ipaddress import ip_address

    return not ip_address(address).is_global


def _segment(made: _Made, spelt: str) -> str:
    """A part of the path: some servers have their key there."""
    value = unquote(spelt)
    secret = looked(value) or (len(value) >= _LONG and looks_random(value.encode(errors="replace")))
    return _part(made, value, spelt) if secret and not remote.IN_URL.search(spelt) else spelt


def _parameter(made: _Made, found: re.Match[str]) -> str:
    name, value = found[1], found[2]
    secret = _KEY.search(unquote(name)) or is_secret(unquote(name), unquote(value))
    if remote.IN_URL.search(value) or not secret:
        return found[0]
    return f"{name}={_part(made, unquote(value), value)}"


def _part(made: _Made, value: str, spelt: str) -> str:
    """A name in the place of a part of the URL, of which the value is percent-encoded again."""
    if (
        literal(value)
        and quote(value, safe="") != spelt
        and quote(value) != spelt
        and unquote(spelt) != value
    ):
        raise ValueError("a part of its URL is spelt in a way that would change")
    variable = f"{PART}{len([one for one in made.env if one.startswith(PART)]) + 1}"
    made.variable(variable, value)
    return f"{{{variable}}}"


# --- the entry's members -----------------------------------------------------------------------------


def _with_command(
    entry: Entry, members: Mapping[str, Any], program: str, args: Sequence[str], made: _Made
) -> dict[str, Any]:
    shape = SHAPES[entry.shape]
    gone = {*(name for name, _ in shape.urls), *_HEADERS, _BEARER, _FROM_ENV, *_of_a_command(shape)}
    after: dict[str, Any] = {}
    for name, value in members.items():
        if name in gone:
            after |= {} if shape.command in after else _command(shape, program, args)
        else:
            after[name] = value
    key, local, _ = _KIND.get(entry.shape, ("type", "stdio", ""))
    for name in (key, "transport"):
        if isinstance(after.get(name), str):
            after[name] = local
    if made.env:
        after[shape.env] = dict(made.env)
    if made.passed and shape.passed:
        after[shape.passed] = list(made.passed)
    return after


def _of_a_command(shape: Shape) -> set[str]:
    """What a client heeds beside a command alone: in a URL's entry it said nothing, and shall not begin to.

    It would be our own program whose libraries, directory or variables a file of somebody's decides.
    """
    return {shape.command, shape.args, shape.env, shape.passed, *_USUAL} - {""}


def _command(shape: Shape, program: str, args: Sequence[str]) -> dict[str, Any]:
    if not shape.args:
        return {shape.command: [program, *args]}
    return {shape.command: program, shape.args: list(args)}


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _notes(made: _Made, members: Mapping[str, Any], address: str) -> Iterator[str]:
    yield "nothing of this machine is shown to it; what it is told and says is looked at"
    sent = " ".join(made.options)
    if "authorization" not in sent:
        shown = address.partition("?")[0]
        own = [name for name in members if _LOGIN.search(name)]
        before = "the client's own login is not used any more" if own else "if it wants a login"
        yield f"{before}: `mcp-sandbox login {shown}`"


# --- and back ----------------------------------------------------------------------------------------


def unwrapped(entry: Entry, members: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The members with the URL again: as the file had them, else as our own command says."""
    shape = SHAPES[entry.shape]
    ours = {*_of_a_command(shape), *_HEADERS, _BEARER, _FROM_ENV}
    ours |= {"type", "transport", *(name for name, _ in shape.urls)}
    kept = {name: value for name, value in members.items() if name not in ours}
    if before is not None:
        return {**{name: value for name, value in before.items() if name in ours}, **kept}
    return {**_told(entry, members, shape), **kept}


def _told(entry: Entry, members: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    env = _table(members.get(shape.env))
    url = inner(entry)[0]
    for name in remote.names(url, remote.IN_URL):
        value = str(env.pop(name, ""))
        url = url.replace(f"{{{name}}}", quote(value, safe="") if literal(value) else value)
    told: dict[str, Any] = {}
    if "type" in members:
        told["type"] = _KIND.get(entry.shape, ("", "", "http"))[2]
    told[shape.urls[0][0]] = url
    headers = dict(_given(options_of(entry), env))
    bearer = re.fullmatch(r"Bearer \$\{(\w+)\}", headers.get("authorization", ""))
    if bearer and entry.shape == "codex":
        told[_BEARER] = bearer[1]
        del headers["authorization"]
    if headers:
        told[_HEADERS[1] if entry.shape == "codex" else _HEADERS[0]] = headers
    return told | ({shape.env: env} if env else {})


def _given(options: Sequence[str], env: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for option, text in pairwise(options):
        if option == "--header":
            name, _, value = text.partition(":")
            yield name, value.strip()
        elif option == "--header-from":
            name, _, variable = text.partition("=")
            yield name, str(env.pop(variable, f"${{{variable}}}"))


def has_url(entry: Entry, members: Mapping[str, Any]) -> bool:
    """Whether these members are those of a server elsewhere."""
    return any(name in members for name, _ in SHAPES[entry.shape].urls)


def is_remote(entry: Entry) -> bool:
    """Whether a wrapped entry's server is a URL."""
    words = inner(entry)
    return len(words) == 1 and remote.is_url(words[0])
