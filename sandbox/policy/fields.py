"""What the values of a profile may be: each a pydantic type that reads, checks and describes itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from sandbox.policy import hosts, paths, quota, remote

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]{0,127}"


def _read(function: Callable[[object], Any], pattern: str, *examples: object, number: str = "integer") -> Any:
    """A field whose value `function` reads; the schema tells an editor both spellings."""
    schema = {"anyOf": [{"type": number}, {"type": "string", "pattern": pattern}], "examples": list(examples)}
    return [BeforeValidator(function), WithJsonSchema(schema)]


_SIZE = r"^[0-9]+(\.[0-9]+)? ?[KMGTkmgt]?(iB)?$"
_TIME = r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)$"

Memory = Annotated[int, *_read(quota.memory, _SIZE, "512M", "2G")]
Space = Annotated[int, *_read(quota.space, _SIZE, "64M")]
Frame = Annotated[int, *_read(quota.frame, _SIZE, "8M")]
Amount = Annotated[int, *_read(quota.size, _SIZE, "10M")]
Seconds = Annotated[float, *_read(quota.duration, _TIME, "5m", "12h", number="number")]
Age = Annotated[float, *_read(quota.age, _TIME, "3d", 0, number="number")]
_RATE_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?/ ?(s|m|h)$"})
Rate = Annotated[float, BeforeValidator(quota.rate), _RATE_SCHEMA]
_CPU_SCHEMA = WithJsonSchema({"type": "number", "minimum": 0.01, "maximum": 1024})
Cpus = Annotated[float, BeforeValidator(quota.cpus), _CPU_SCHEMA]
Pids = Annotated[int, Field(ge=2, le=1 << 22)]
OpenFiles = Annotated[int, Field(ge=16, le=1 << 20)]
Count = Annotated[int, Field(ge=1, le=1 << 31)]
Cost = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False, strict=False)]
Text = Annotated[str, Field(max_length=4096), AfterValidator(lambda text: _without_nul(text))]
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Variable = Annotated[str, Field(pattern=f"^{VARIABLE}$")]


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character")
    return text


def _host(text: str) -> str:
    hosts.parse(text)
    return text


def _unchecked(text: str) -> str:
    host = hosts.parse(text).host
    if host.startswith("*."):
        raise ValueError("an opaque host is one exact name: what may choose its name is checked by it")
    if hosts.literal(host):
        raise ValueError("an address has no name to check: list it under `allow`")
    return text


def _inside(text: str) -> str:
    host = hosts.parse(text).host
    if hosts.literal(host) or host == "localhost":
        raise ValueError("only a name leads to an address that is private or not: list this under `allow`")
    return text


def _url(text: str) -> str:
    return str(remote.parse(text))


def _header(text: str) -> str:
    remote.header_name(text)
    return text  # as written: two spellings of one name would else become one, and the last one count


def _path(text: str) -> str:
    paths.split(text)
    return text


def _place(text: str) -> str:
    if paths.split(text)[1]:
        raise ValueError("names a place, without `:place-inside`")
    return text


def _pattern(text: str) -> str:
    from sandbox.policy.patterns import compiled  # RE2 takes 5 ms to load: only where there is a pattern

    compiled(text)
    return text


def _source(text: str) -> str:
    if text in ("env", "env?", "keyring") or re.fullmatch(r"(file|command):.+", text):
        return text
    raise ValueError("a secret comes from `env`, `env?`, `keyring`, `file:PATH` or `command:…`")


def _notify(text: str) -> str:
    if text == "desktop" or re.fullmatch(r"command:.+", text):
        return text
    raise ValueError("whom a breach is told: `desktop` or `command:…`")


def _version(value: object) -> object:
    # `true == 1` and `1.0 == 1` to Python; a later format must not slip in as either.
    if type(value) is not int or value != 1:
        raise ValueError("this version of mcp-sandbox reads `schema = 1`")
    return value


_NPM = r"npm:(@[a-z0-9~][a-z0-9._~-]*/)?[a-z0-9~][a-z0-9._~-]*"
PACKAGE = rf"({_NPM}|pypi:[a-z0-9]([a-z0-9-]*[a-z0-9])?|oci:[a-z0-9][a-z0-9._:/-]*)"
Package = Annotated[str, Field(max_length=214, pattern=f"^{PACKAGE}$")]
_CLAUSE = r"(>=|<=|<|>|==|!=)[0-9]+(\.[0-9]+)*"
Versions = Annotated[str, Field(max_length=100, pattern=f"^({_CLAUSE}(,{_CLAUSE})*)?$")]
RuleName = Annotated[str, Field(max_length=80, pattern=r"^(poison|secrets)\.[a-z0-9]+([_-][a-z0-9]+)*$")]
Version = Annotated[Literal[1], BeforeValidator(_version)]
Host = Annotated[str, AfterValidator(_host)]
OpaqueHost = Annotated[str, AfterValidator(_unchecked)]
PrivateHost = Annotated[str, AfterValidator(_inside)]
Path = Annotated[Text, AfterValidator(_path)]
Place = Annotated[Text, AfterValidator(_place)]
Notify = Annotated[Text, AfterValidator(_notify)]
Source = Annotated[Text, AfterValidator(_source)]
Regex = Annotated[Text, AfterValidator(_pattern)]
Glob = Annotated[str, Field(min_length=1, max_length=256)]
_URL_SCHEMA = WithJsonSchema(
    {"type": "string", "pattern": "^https?://", "examples": ["https://mcp.example.com/mcp"]}
)
RemoteUrl = Annotated[str, AfterValidator(_url), _URL_SCHEMA]
HeaderName = Annotated[str, AfterValidator(_header)]
KeyPin = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]
