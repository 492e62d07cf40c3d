"""The sessions behind the HTTP front: whose request a message is, and which sandbox answers it.

Two clients never share a process. Of the eras with `initialize` every session has a sandbox of its own; in
the stateless one, which knows no sessions, all requests of one principal at one route have one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from weakref import WeakValueDictionary

from sandbox.event import Event, Value
from sandbox.serve import replies
from sandbox.serve.capacity import Capacity
from sandbox.serve.child import PROGRAM, Child, arguments
from sandbox.serve.session import OLDEST, Session
from sandbox.serve.shared import DISCOVER, Shared
from sandbox.serve.words import Principal, Refused, Reply, Request, Routes
from sandbox.wire import mcp_headers
from sandbox.wire.jsonrpc import Fault, Frame

Sandbox = Session | Shared
LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
_VERSION, _SESSION = mcp_headers.VERSION.lower(), mcp_headers.SESSION.lower()
_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
_POST_ONLY = (("Allow", "POST"),)
RETRY_S = 5
REMEMBERED_S = 600.0
SPARED_S = 60.0
CARRIED, CARRIED_EACH = 128 << 20, 32 << 20
"""Bytes of bodies at work at once, in all and of one principal: each is in memory some three times."""
LOOK_S = 15.0


def _say_nothing(_line: str) -> None:
    """Nobody reads the children's stderr."""


def _report_nothing(_event: Event) -> None:
    """Nobody keeps a log."""


class Service:
    """Answers the front; `say` is told what the children say, `report` which of them start and end."""

    def __init__(
        self,
        routes: Routes,
        capacity: Capacity | None = None,
        say: Callable[[str], None] = _say_nothing,
        report: Callable[[Event], None] = _report_nothing,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._routes = routes
        self._program = program
        self._capacity = capacity or Capacity()
        self._say = say
        self._report = report
        self._sessions: dict[str, Session] = {}
        self._shared: dict[tuple[Principal, str], Shared] = {}
        self._legacy: dict[tuple[Principal, str], float] = {}
        """Until when it is known that a server does not speak the stateless revision."""
        self._live: dict[Sandbox, int] = {}
        """Every sandbox that is not gone yet, and its number."""
        self._count = 0
        self._starting = asyncio.Semaphore(self._capacity.starting)
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._ending: dict[Sandbox, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._is_closed = False
        self._carried: Counter[str] = Counter()

    async def answer(self, request: Request) -> Reply | Refused:
        """Answers one request; cancelled when its client hangs up before there is a reply."""
        if request.route not in self._routes or request.principal.tools == ():
            return replies.refused(403, "no-route", "nothing here is this client's")
        if self._is_closed:
            return replies.busy("this server is ending", status=503)
        if self._watch is None:
            self._watch = asyncio.create_task(self._end_idle())
        if request.method != "POST":
            return self._of_a_session(request)
        name, size = request.principal.name, len(request.body)
        if self._carried[name] + size > CARRIED_EACH or self._carried.total() + size > CARRIED:
            return replies.busy("too much is being worked on at once")
        self._carried[name] += size
        try:
            return await self._post(request)
        finally:
            self._carried[name] -= size
            if not self._carried[name]:
                del self._carried[name]

    async def _post(self, request: Request) -> Reply | Refused:
        frame = replies.read(request.body)
        if isinstance(frame, Fault):
            return replies.malformed(frame)
        if self._is_stateless(request, frame):
            return await self._stateless(request, frame)
        if frame.method == "initialize" and frame.kind == "request" and _SESSION not in request.headers:
            return await self._initialize(request, frame)
        found = self._session(request)
        return found if isinstance(found, Refused) else await found.post(frame, _version(request))

    async def close(self) -> None:
        """Ends every session; when it returns no child is left."""
        self._is_closed = True
        if self._watch is not None:
            self._watch.cancel()
        for one in list(self._live):
            one.ended_with("the server that this session was with is ending")
        while self._ending:
            await asyncio.wait(list(self._ending.values()))

    @property
    def live(self) -> Mapping[Sandbox, int]:
        """The sandboxes that are not gone yet, and how they are numbered in what is said and logged."""
        return self._live

    # --- the eras with sessions --------------------------------------------------------------------------

    def _of_a_session(self, request: Request) -> Reply | Refused:
        """GET listens, DELETE ends; the stateless era has neither."""
        if request.headers.get(_VERSION, LEGACY[0]) not in LEGACY:
            return replies.refused(405, "wrong-method", "this revision has POST alone", headers=_POST_ONLY)
        session = self._session(request)
        if isinstance(session, Refused):
            return session
        if request.method == "GET":
            return session.listen(request.headers.get("last-event-id"), _version(request))
        session.ended_with("its client has ended the session")
        return Reply(200)

    def _session(self, request: Request) -> Session | Refused:
        """The session that a request names, if it is this principal's."""
        id = request.headers.get(_SESSION)
        if id is None:
            return replies.refused(
                400, "no-session-id", "`Mcp-Session-Id` is missing, and this is no `initialize`"
            )
        found = self._sessions.get(id)
        if (
            found is None
            or found.ended
            or (found.principal, found.route) != (request.principal, request.route)
        ):
            return replies.LOST
        return found

    async def _initialize(self, request: Request, frame: Frame) -> Reply | Refused:
        if (full := await self._make_room(request.principal)) is not None:
            return full
        session = Session(
            secrets.token_urlsafe(32), request.route, request.principal, self._capacity.open, self._over
        )
        self._enter(session)
        try:
            async with self._turn(request.principal), self._starting:
                reply = await self._start(session) or await session.post(frame)
        except BaseException:
            session.ended_with("its client hung up before the session began")
            raise
        if isinstance(reply, Refused) or (isinstance(reply.body, bytes) and not session.agreed):
            session.ended_with("the session did not begin")  # where it has not by itself
            return reply if isinstance(reply, Refused) else Reply(reply.status, replies.JSON, reply.body)
        if not session.ended:
            self._sessions[session.id] = session
        return reply

    # --- the stateless era -------------------------------------------------------------------------------

    def _is_stateless(self, request: Request, frame: Frame) -> bool:
        return request.headers.get(_VERSION, LEGACY[0]) not in LEGACY or mcp_headers.is_modern(
            mcp_headers.version_of(frame.message)
        )

    async def _stateless(self, request: Request, frame: Frame) -> Reply | Refused:
        if frame.kind == "response":
            return replies.refused(400, "response", "a client of this revision sends no responses")
        if frame.kind == "notification":
            # It would be about a request, whose stream's end says the same, or about a session.
            return Reply(202)
        if (wrong := _envelope(request, frame)) is not None:
            return wrong
        key = (request.principal, request.route)
        if frame.method == DISCOVER and monotonic() < self._legacy.get(key, 0.0):
            return _earlier(frame)
        shared = await self._shared_of(request)
        if isinstance(shared, Refused):
            return shared
        reply = await shared.post(frame, request.headers, request.principal.until)
        if shared.is_legacy and not shared.in_use:
            # Clients of both eras ask this first, and fall back: nobody else will use this sandbox.
            if shared.knows_no_method:
                self._remember(key)
            shared.ended_with("its server does not speak this revision")
        return reply

    def _remember(self, key: tuple[Principal, str]) -> None:
        now = monotonic()
        self._legacy = {one: until for one, until in self._legacy.items() if until > now}
        self._legacy[key] = now + REMEMBERED_S

    async def _shared_of(self, request: Request) -> Shared | Refused:
        key = (request.principal, request.route)
        if (found := self._shared.get(key)) is not None:
            return found
        full = await self._make_room(request.principal)
        if (found := self._shared.get(key)) is not None:
            return found
        if full is not None:
            return full
        shared = self._shared[key] = Shared(request.route, request.principal, self._capacity.open, self._over)
        self._enter(shared)
        return await self._start(shared) or shared

    # --- sandboxes ---------------------------------------------------------------------------------------

    async def _make_room(self, principal: Principal) -> Refused | None:
        """Where there is none, the principal's own sandbox that was idle for longest gives way.

        Many clients begin anew without ending what they had.
        """
        full = self._full(principal)
        before = monotonic() - SPARED_S
        mine = (one for one in self._live if one.principal.name == principal.name)
        idle = [one for one in mine if not one.ended and not one.in_use and one.touched < before]
        if full is None or not idle:
            return full
        oldest = min(idle, key=lambda one: one.touched)
        oldest.ended_with("it was idle, and its client began another session")
        await asyncio.wait([self._ending[oldest]])
        return self._full(principal)

    def _full(self, principal: Principal) -> Refused | None:
        if len(self._live) >= self._capacity.sessions:
            return replies.busy("no room for another sandbox", status=503, seconds=RETRY_S)
        if Counter(one.principal.name for one in self._live)[principal.name] >= self._capacity.each:
            return replies.busy("no room for another sandbox of this principal", seconds=RETRY_S)
        return None

    def _turn(self, principal: Principal) -> asyncio.Semaphore:
        """Of the starts one principal has half: servers that never begin hold up nobody else's."""
        mine = self._turns.get(principal.name) or asyncio.Semaphore(max(1, self._capacity.starting // 2))
        self._turns[principal.name] = mine
        return mine

    def _enter(self, sandbox: Sandbox) -> None:
        self._count += 1
        self._live[sandbox] = self._count

    async def _start(self, sandbox: Sandbox) -> Refused | None:
        number = self._live[sandbox]
        name = f"{sandbox.route or 'mcp'}#{number}"
        child = sandbox.child = Child(sandbox, lambda line: self._say(f"{name}: {line}"))
        try:
            await child.start(self._command(sandbox))
        except OSError as error:
            sandbox.ended_with(f"no sandbox could be started: {error.strerror}")
            return replies.busy("no sandbox could be started", status=503, seconds=RETRY_S)
        self._log("http.open", sandbox, number, {"pid": child.pid})
        return None

    def _command(self, sandbox: Sandbox) -> list[str]:
        return [*self._program, *arguments(self._routes[sandbox.route], sandbox.principal)]

    def _over(self, sandbox: Sandbox, why: str) -> None:
        """What ended is nobody's from now on, and counts until it is gone."""
        if isinstance(sandbox, Session):
            self._sessions.pop(sandbox.id, None)
        elif self._shared.get((sandbox.principal, sandbox.route)) is sandbox:
            del self._shared[sandbox.principal, sandbox.route]
        self._ending[sandbox] = asyncio.create_task(self._clear(sandbox, why))

    async def _clear(self, sandbox: Sandbox, why: str) -> None:
        try:
            if sandbox.child is not None:
                await sandbox.child.close()
        finally:
            number = self._live.pop(sandbox, 0)
            self._ending.pop(sandbox, None)
        self._log("http.close", sandbox, number, {"why": why})

    def _log(self, kind: str, sandbox: Sandbox, number: int, more: dict[str, Value]) -> None:
        of: dict[str, Value] = {
            "number": number, "route": sandbox.route, "principal": sandbox.principal.name,
            "stateless": isinstance(sandbox, Shared),
        }  # fmt: skip
        self._report(Event(kind, {**of, **more}, rule="serve"))

    async def _end_idle(self) -> None:
        while True:
            await asyncio.sleep(min(LOOK_S, self._capacity.idle_s / 4))
            before = monotonic() - self._capacity.idle_s
            for one in list(self._live):
                if not one.ended and not one.in_use and one.touched < before:
                    one.ended_with("it was idle for too long")


def _version(request: Request) -> str:
    return request.headers.get(_VERSION, OLDEST)


def _earlier(frame: Frame) -> Refused:
    why = "the server speaks only revisions with `initialize`"
    return replies.refused(400, "earlier-revision", why, code=replies.METHOD_NOT_FOUND, id=frame.id)


def _envelope(request: Request, frame: Frame) -> Refused | None:
    """What every request of this era must carry."""
    params = frame.message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    if not isinstance(meta, dict) or mcp_headers.VERSION_KEY not in meta or _CAPABILITIES not in meta:
        why = f"`params._meta` needs `{mcp_headers.VERSION_KEY}` and `{_CAPABILITIES}`"
        return replies.refused(400, "no-envelope", why, code=replies.INVALID_PARAMS, id=frame.id)
    if frame.method == "initialize":
        why = "this revision has no `initialize`"
        return replies.refused(404, "wrong-era", why, code=replies.METHOD_NOT_FOUND, id=frame.id)
    if request.headers.get(_VERSION) in LEGACY or not isinstance(meta[mcp_headers.VERSION_KEY], str):
        why = f"`{mcp_headers.VERSION}` names another revision than `{mcp_headers.VERSION_KEY}`"
        return replies.refused(400, "header-mismatch", why, code=mcp_headers.MISMATCH, id=frame.id)
    return None
