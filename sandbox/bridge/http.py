"""Requests to one origin and no other: connections kept alive, redirects within it, answers bounded."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from urllib.parse import urljoin, urlsplit

from sandbox.bridge.connection import Connection
from sandbox.bridge.dialling import Unreachable, authority, connect, origin, place
from sandbox.bridge.reply import Head
from sandbox.bridge.run import Target
from sandbox.bridge.unfinished import Unfinished
from sandbox.bridge.words import Broken, Dead, Failed, shown

IDLE_MAX = 3.0
"""Seconds after which a connection is not used again: the next request and its closing might cross."""
IDLE_CONNECTIONS = 32
PLENTY = 16
HOPE, HOPE_MAX = 0.01, 0.25
"""With so many connections a request waits so many seconds for a free one, before it opens another."""
REDIRECTS_MAX = 3
PATH_MAX = 4096
SCOPE_MAX = 200
RETRY_EVERY = (0.01, 0.25)

_KEPT = {301, 302, 303, 307, 308}
_SAME_METHOD = {307, 308}
_TARGET = re.compile(r"/[\x21-\x7e]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# Nothing in it that a shell would read otherwise: it stands in a line to be pasted.
_SCOPE = re.compile(r'\bscope="([A-Za-z0-9:._/-]+(?: [A-Za-z0-9:._/-]+)*)"')
_TIMEOUT = re.compile(r"timeout=([0-9]{1,4})")
_OURS = frozenset(
    "host content-length transfer-encoding connection content-type accept accept-encoding "
    "mcp-session-id mcp-protocol-version last-event-id".split()
)
_LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})

Headers = tuple[tuple[str, str], ...]


class Response:
    """An answer under way; its connection goes back once it is whole, and is closed else."""

    def __init__(self, http: Http, connection: Connection, head: Head) -> None:
        self._http = http
        self._connection = connection
        self.head = head

    async def read(self) -> bytes:
        """The next of the content; nothing at its end."""
        return await self._connection.read()

    async def body(self, most: int) -> bytes:
        """All of the content; more than `most` bytes of it is a failure."""
        found = await self._connection.read()
        if self._connection.whole and len(found) <= most:
            return found
        held = bytearray()
        try:
            while found:
                self._http.unfinished.add(len(found))
                held += found
                if len(held) > most:
                    raise Failed(f"the server's answer is longer than {most} bytes")
                found = await self._connection.read()
        finally:
            self._http.unfinished.drop(len(held))
        return bytes(held)

    async def __aenter__(self) -> Response:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.put_back(self._connection, self.head)


class Http:
    """The client's side of the endpoint's origin."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._loop = asyncio.get_running_loop()
        self.unfinished = Unfinished(target.message)
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._opening = 0
        self.failure = ""
        """Why there has been no connection so far."""
        self._freed_at = 0.0
        self._hoping: deque[asyncio.Future[None]] = deque()
        self._fixed = _fixed(target)
        self._endpoint = target.endpoint.path
        self.path = target.endpoint.path
        """Where the endpoint is; another one after a permanent redirect."""

    async def ready(self) -> None:
        """Returns once the server takes a connection; raises `Dead` where it does not in its time."""
        deadline, pause = self._loop.time() + self._target.endpoint.ready, RETRY_EVERY[0]
        while True:
            try:
                connection = await self._connect()
                connection.since = self._loop.time()
                self._idle.append(connection)
                return
            except Unreachable as why:
                self.failure = why.why
                if self._loop.time() + pause > deadline:
                    limit = f"not ready within {self._target.endpoint.ready:g} s"
                    raise Dead(f"{why.why} ({limit})") from None
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, RETRY_EVERY[1])

    async def ask(
        self, method: str, headers: Headers, body: bytes = b"", path: str | None = None, *, twice: bool = True
    ) -> Response:
        """Sends one request, follows redirects within the origin; the answer's head is there.

        `twice`: it may be sent again where a connection that was kept ends without a byte of an answer.
        """
        wanted = path or self.path
        for _ in range(REDIRECTS_MAX + 1):
            response = await self._ask(method, wanted, headers, body, twice)
            if response.head.status not in _KEPT:
                return response
            wanted = await self._redirected(method, wanted, response)
        raise Failed(f"{place(self._target)} redirects more than {REDIRECTS_MAX} times")

    def put_back(self, connection: Connection, head: Head) -> None:
        """Keeps a connection whose answer was read to its end; closes any other."""
        said = _TIMEOUT.search(head.fields.get("keep-alive", ""))
        short = said is not None and int(said[1]) < IDLE_MAX
        if connection.reusable and not short and len(self._idle) < IDLE_CONNECTIONS:
            connection.since = self._loop.time()
            self._idle.append(connection)
            self._tell()
        else:
            self._drop(connection)

    def close(self) -> None:
        """Ends all connections."""
        for connection in tuple(self._open):
            self._drop(connection)

    def within(self, location: str, base: str | None = None) -> str | None:
        """The path that a URL of the server's leads to, if it is of the endpoint's origin."""
        try:
            parts = urlsplit(urljoin(origin(self._target) + (base or self.path), location))
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            return None
        endpoint = self._target.endpoint
        same = parts.scheme == ("https" if endpoint.tls else "http") and port == endpoint.port
        if not same or not _same_host(parts.hostname or "", endpoint.host) or "@" in parts.netloc:
            return None
        found = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return found if len(found) <= PATH_MAX and _TARGET.fullmatch(found) else None

    def wants_login(self) -> Dead:
        """What a 401 means, and what may help."""
        hint = f"; hint: {self._target.login}" if self._target.login else ""
        return Dead(f"{place(self._target)} wants a login or another token (401){hint}")

    def wants_scope(self, head: Head) -> str:
        """What helps where a login is not enough for a request (RFC 6750 3.1), or nothing."""
        found = _SCOPE.search(head.fields.get("www-authenticate", ""))
        if head.status != 403 or found is None or len(found[1]) > SCOPE_MAX or not self._target.login:
            return ""
        return f"; hint: {self._target.login} --scope '{found[1]}'"

    # --- one request ---------------------------------------------------------------------------------

    async def _ask(self, method: str, path: str, headers: Headers, body: bytes, twice: bool) -> Response:
        request = self._request(method, path, headers, body)
        connection = self._kept() or await self._hoped() or await self._connect()
        again = twice and connection.used > 0
        try:
            return await self._answered(connection, request)
        except Broken as broken:
            if not (again and broken.unanswered):
                raise
        return await self._answered(await self._connect(), request)

    async def _answered(self, connection: Connection, request: bytes) -> Response:
        try:
            return Response(self, connection, await connection.ask(request))
        except BaseException:
            self._drop(connection)
            raise

    def _request(self, method: str, path: str, headers: Headers, body: bytes) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\n{self._fixed}{lines}{length}\r\n"
        return head.encode("latin-1") + body

    async def _redirected(self, method: str, asked: str, response: Response) -> str:
        """Where the answer leads to, within the origin; secrets go nowhere else."""
        async with response:
            status, location = response.head.status, response.head.fields.get("location", "")
            found = self.within(location, asked) if location else None
        if found is None:
            raise Failed(
                f"{place(self._target)} redirects to {_elsewhere(location)}, "
                "which is not of its origin: not followed"
            )
        if method != "GET" and status not in _SAME_METHOD:
            raise Failed(f"{place(self._target)} redirects a {method} with {status}: not followed")
        if status == 308 and asked == self.path == self._endpoint:
            self.path = found
        return found

    # --- its connections -----------------------------------------------------------------------------

    def _kept(self) -> Connection | None:
        """The one used last, so that the others grow old."""
        now = self._loop.time()
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and now - connection.since < IDLE_MAX and connection.silent:
                return connection
            self._drop(connection)
        return None

    async def _hoped(self) -> Connection | None:
        """One that becomes free in a moment, where many are open; while some do, the moment goes on."""
        if len(self._open) + self._opening < PLENTY:
            return None
        deadline = self._loop.time() + HOPE_MAX
        while (now := self._loop.time()) < deadline:
            await self._freed()
            if (connection := self._kept()) is not None:
                return connection
            if self._freed_at < now:
                return None
        return None

    async def _freed(self) -> None:
        """Returns once a connection is free, or after a moment; who asks first is told first."""
        free: asyncio.Future[None] = self._loop.create_future()
        self._hoping.append(free)
        timer = self._loop.call_later(HOPE, _settle, free)
        try:
            await free
        finally:
            timer.cancel()

    def _tell(self) -> None:
        self._freed_at = self._loop.time()
        while self._hoping:
            free = self._hoping.popleft()
            if not free.done():
                free.set_result(None)
                return

    async def _connect(self) -> Connection:
        self._opening += 1
        try:
            connection = await connect(self._target)
        finally:
            self._opening -= 1
        self._open.add(connection)
        return connection

    def _drop(self, connection: Connection) -> None:
        connection.close()
        self._open.discard(connection)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fixed(target: Target) -> str:
    """The fields that every request has."""
    for name, value in target.headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() in _OURS:
            raise Dead(f"the header `{shown(name)}` cannot be sent")
    given: Iterable[tuple[str, str]] = (
        ("Host", authority(target)),
        ("Accept-Encoding", "identity"),
        *([] if _has(target.headers, "user-agent") else [("User-Agent", "mcp-sandbox")]),
        *target.headers,
    )
    return "".join([f"{name}: {value.strip()}\r\n" for name, value in given])


def _has(headers: Headers, wanted: str) -> bool:
    return any(name.lower() == wanted for name, _ in headers)


def _same_host(one: str, other: str) -> bool:
    return one.lower() == other.lower() or {one.lower(), other.lower()} <= _LOCAL


def _elsewhere(location: str) -> str:
    """A redirect's target without its path and query, in which secrets may stand."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(location)
        if parts.scheme and parts.hostname:
            port = f":{parts.port}" if parts.port else ""
            return f"`{shown(f'{parts.scheme}://{parts.hostname}{port}')}`"
    return "no URL that can be followed"
