"""The file that `serve --oauth` names: whose tokens count, and which tools each scope stands for."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sandbox.errors import UsageError
from sandbox.policy.fields import Glob
from sandbox.policy.positions import nearest, positions
from sandbox.serve.oauth import place
from sandbox.serve.oauth.algorithms import ALGORITHMS

LARGEST = 1 << 20
MOST_FAULTS = 20
_RULE = "docs/serve.md, OAuth"


def _url(read: Callable[[str], place.Place]) -> AfterValidator:
    def checked(text: str) -> str:
        read(text)
        return text

    return AfterValidator(checked)


# RFC 6749, 3.3: a scope is printable ASCII without space, `"` and `\`.
_SCOPE = r"^[\x21\x23-\x5b\x5d-\x7e]{1,200}$"
Scope = Annotated[str, Field(pattern=_SCOPE)]
Scopes = Annotated[
    dict[Scope, Annotated[list[Glob], Field(min_length=1, max_length=200)]], Field(min_length=1)
]
Algorithm = Annotated[str, AfterValidator(lambda name: _known(name))]


def _known(name: str) -> str:
    if name not in ALGORITHMS:
        raise ValueError(f"must be one of {', '.join(f'`{one}`' for one in ALGORITHMS)}")
    return name


class Settings(BaseModel):
    """One issuer, whose tokens say who asks and what for."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1] = Field(alias="schema")
    issuer: Annotated[str, _url(place.issuer)]
    """As its tokens and its metadata spell it."""
    resource: Annotated[str, _url(place.resource)]
    """The front's URL as clients know it, without the path of a route."""
    audience: list[Annotated[str, Field(min_length=1, max_length=1024)]] = []
    """What `aud` may be in place of the route's own URL, for every route."""
    jwks: Annotated[str, _url(place.secure)] | None = None
    """Where the keys are; absent: where the issuer's metadata says."""
    ca: Annotated[str, Field(min_length=1)] | None = None
    """A file of certificates that the issuer's leads to, in place of the system's."""
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = list(ALGORITHMS)
    dpop: Literal["required", "allowed"] = "allowed"
    """Whether every token has to be bound to a key of its client's (RFC 9449)."""
    scopes: Scopes | None = None
    """For every route that has no table of its own."""
    routes: dict[str, Scopes] = {}

    def of(self, route: str) -> Mapping[str, list[str]]:
        """What each scope allows on the route."""
        return self.routes.get(route) or self.scopes or {}

    def url(self, route: str) -> str:
        """The URL of the route, which is the resource that a token is for (RFC 8707)."""
        return f"{self.resource}/{route}/mcp" if route else f"{self.resource}/mcp"

    def audiences(self, route: str) -> tuple[str, ...]:
        """Any of which a token has to be for."""
        return tuple(self.audience) or (self.url(route),)


def read(path: str, routes: Iterable[str]) -> Settings:
    """The settings in a file, which say something of every route and of no other; UsageError otherwise."""
    text = _text(path)
    try:
        settings = Settings.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise _bad(f"{path}: not TOML: {_plain(str(error))}") from None
    except RecursionError:
        raise _bad(f"{path}: not TOML: nested too deep") from None
    except ValidationError as error:
        raise _bad(_faults(path, text, error)) from None
    _refuse_forgotten(path, settings, set(routes))
    return settings


def _refuse_forgotten(path: str, settings: Settings, routes: set[str]) -> None:
    if strange := sorted(settings.routes.keys() - routes):
        raise _bad(f"{path}: `routes.{_plain(strange[0])}` is no route of this front")
    if silent := sorted(one for one in routes if not settings.of(one)):
        named = f"[routes.{silent[0]}]" if silent[0] else "[scopes]"
        raise _bad(
            f"{path}: no scope opens the route `{settings.url(silent[0])}`",
            hint=f'write `{named}` with a line such as `"mcp:tools" = ["*"]`',
        )


def _text(path: str) -> str:
    try:
        # A FIFO in its place must not hang the start.
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(opened, "rb") as file:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise _bad(f"{path}: not a file")
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise _bad(f"{path}: {error.strerror}") from None
    if len(content) > LARGEST:
        raise _bad(f"{path}: more than {LARGEST} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _bad(f"{path}: not UTF-8") from None


def _faults(path: str, text: str, error: ValidationError) -> str:
    lines = positions(text)
    found = error.errors(include_url=False, include_context=False)[:MOST_FAULTS]
    return "\n".join(_fault(path, lines, one) for one in found)


def _fault(path: str, lines: dict[Any, int], one: Any) -> str:
    key = tuple(part for part in one["loc"] if part != "[key]")
    where = f"{path}:{nearest(lines, key) or 1}: `{'.'.join(_plain(str(part)) for part in key)}`"
    if one["type"] == "extra_forbidden":
        return f"{where} is not a key of these settings"
    if one["type"] == "missing":
        return f"{where} is missing"
    words = str(one["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return f"{where} {words[:1].lower()}{words[1:]}"


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _bad(what: str, hint: str = "") -> UsageError:
    return UsageError("invalid-oauth", what, rule=_RULE, hint=hint)
