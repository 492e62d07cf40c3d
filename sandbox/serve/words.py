"""The words between the HTTP front, who asks, and the sessions behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

Headers = tuple[tuple[str, str], ...]
Routes = Mapping[str, tuple[str, ...]]
"""By the name in the URL (`github` of `/github/mcp`, empty for `/mcp`): arguments of `mcp-sandbox run`."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, as the token said; `tools` are the globs that it is narrowed to, None all of the profile."""

    name: str
    tools: tuple[str, ...] | None = None
    until: float | None = field(default=None, compare=False)
    """When the token ends, by the wall clock; the stream of a GET ends with it, and its client comes back."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a request before its body is read; `headers` by lower-case names, none twice."""

    method: str
    path: str
    route: str
    headers: Mapping[str, str]
    origin: str = ""
    """`https://host[:port]` as the client wrote it in Host, which was checked; empty over a unix socket."""


@dataclass(frozen=True, slots=True)
class Request:
    """One checked request of a known client: its body is whole, its headers hold no credential."""

    method: str
    route: str
    headers: Mapping[str, str]
    body: bytes
    principal: Principal


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered; an iterator is an open stream, `aclose()`d at its end or when the client goes."""

    status: int
    headers: Headers = ()
    body: bytes | AsyncIterator[bytes] = b""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that nothing was done for: the status, a stable code for the log, one line for the client."""

    status: int
    code: str
    why: str
    headers: Headers = ()
    body: bytes = b""
    """JSON that is sent in place of the front's own words, such as an error with the request's id."""


class Authenticator(Protocol):
    """Says who asks, by the head alone."""

    async def check(self, head: Head) -> Principal | Refused:
        """The principal of a request, or the refusal (401, 403) with its `WWW-Authenticate`."""
        ...

    async def document(self, path: str) -> Reply | None:
        """What is told anybody at a path of its own, such as RFC 9728's metadata; None: no such path."""
        ...


class Answerer(Protocol):
    """The sessions behind the front."""

    async def answer(self, request: Request) -> Reply | Refused:
        """Answers; cancelled when the client hangs up before there is a reply."""
        ...

    async def close(self) -> None:
        """Ends every session; when it returns no child is left."""
        ...
