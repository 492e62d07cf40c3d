"""One message to the server and what it answers: a document, a stream, an acknowledgement or a refusal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from sandbox.bridge import envelope
from sandbox.bridge.envelope import Message
from sandbox.bridge.http import Http, Response
from sandbox.bridge.old_sse import OldServer
from sandbox.bridge.pipes import Outlet
from sandbox.bridge.session import Session, Stateless
from sandbox.bridge.streams import Cursor, Refused, Streams
from sandbox.bridge.waiting import LATE, Calls, Waiting
from sandbox.bridge.words import NOT_FOUND, UNREACHABLE, Broken, Dead, Failed, shown

REFUSAL_MAX = 1 << 16
"""Bytes of the body of a refusal, or of an acknowledgement, that are read."""
TAKEN_WITHIN = 30.0
"""Seconds within which a server has to take what it need not answer."""
_OLD_SERVERS_SAY = frozenset({400, 404, 405})
_METHODS_UNKNOWN = frozenset({404, 405})


class Exchange:
    """Speaks to the server for the bridge."""

    def __init__(self, http: Http, outlet: Outlet, calls: Calls, most: int) -> None:
        self._http = http
        self._outlet = outlet
        self._calls = calls
        self._most = most
        self._session = Session()
        self._stateless = Stateless()
        self._streams = Streams(http, self._session, most)
        self._old: OldServer | None = None
        self._legacy = False  # an `initialize` has been answered

    @property
    def only_modern(self) -> bool:
        """Whether all so far was of the stateless era."""
        return bool(self._stateless.version) and not self._legacy

    def is_modern(self, message: Message) -> bool:
        """Whether the message is of the stateless era; one that does not say so goes with the others."""
        return self._stateless.is_modern(message)

    # --- requests ------------------------------------------------------------------------------------

    async def request(self, call: Waiting, message: Message) -> None:
        """Sends a request and delivers all that comes for it; raises where its answer does not."""
        if self._old is not None:
            await self._old.request(call, message)
            return
        opens = call.method == "initialize" and not call.modern
        if opens:
            self._session.begin()
        headers = self._stateless.headers(message) if call.modern else self._session.post_headers
        async with await self._post(headers, message) as response:
            if opens and 200 <= response.head.status < 300:
                self._session.take_id(response.head.fields)
            await self._answer(call, response)
        if opens and not call.answered and response.head.status in _OLD_SERVERS_SAY:
            await self._try_old(call, message, response.head.status)

    async def _post(self, headers: tuple[tuple[str, str], ...], message: Message) -> Response:
        # A tool may have run though its answer never came: it is not called again.
        return await self._http.ask("POST", headers, message.line[:-1], twice=message.method != "tools/call")

    async def _answer(self, call: Waiting, response: Response) -> None:
        status, kind = response.head.status, response.head.kind
        if not 200 <= status < 300:
            await self._refusal(call, response)
        elif kind == "text/event-stream":
            await self._stream(call, response)
        elif kind == "application/json":
            await self._document(call, await response.body(self._most))
            if not call.answered and not call.cancelled:
                raise Failed("the server's answer is about something else")
        elif status == 202:
            raise Failed("the server has taken a request (202) and will not answer it")
        else:
            raise Failed(f"the server answers with `{shown(kind)}`, neither JSON nor a stream of events")

    async def _document(self, call: Waiting, body: bytes) -> None:
        try:
            messages = envelope.read(body)
        except envelope.Malformed as why:
            raise Failed(f"the server's answer is no message: {why}") from None
        for message in messages:
            await self._deliver(message, call)

    async def _deliver(self, message: Message, call: Waiting | None) -> None:
        if message.is_response and message.id is not None:
            if call is not None and message.id == call.id:
                self._learn(call, message)
            self._calls.answered(message.id, call)
        await self._outlet.put(message.line)

    def _learn(self, call: Waiting, answer: Message) -> None:
        if call.modern and call.method == "tools/list":
            self._stateless.learn(answer)
        elif call.method == "initialize" and not call.modern:
            self._session.take_version(envelope.version_in(answer.line))
            self._legacy = True

    # --- a request's stream --------------------------------------------------------------------------

    async def _stream(self, call: Waiting, response: Response) -> None:
        """Reads the stream of a request's own, and takes it up again until the answer has come."""
        cursor = Cursor()
        why = await self._part(call, response, cursor)
        while not call.answered and not call.cancelled:
            if call.modern or not cursor.last_id:
                raise Failed(f"the server's stream has ended without the answer{why}")
            async with await self._streams.resume(cursor) as further:
                why = await self._part(call, further, cursor)

    async def _part(self, call: Waiting, response: Response, cursor: Cursor) -> str:
        """What one connection carries of it, and why that broke off, if it did."""

        async def deliver(message: Message) -> None:
            await self._deliver(message, call)

        try:
            await self._streams.read(response, cursor, deliver, lambda: call.answered)
        except Broken as broken:
            return f": {broken.why}"
        if call.answered:
            await self._rest(response)
        return ""

    async def _rest(self, response: Response) -> None:
        """The end of a stream whose answer has come: read, so that its connection serves the next request."""
        with contextlib.suppress(TimeoutError, Failed):
            async with asyncio.timeout(LATE):
                await response.body(REFUSAL_MAX)

    # --- what is no answer ---------------------------------------------------------------------------

    async def _refusal(self, call: Waiting, response: Response) -> None:
        """Gives the client the server's own error where it has one."""
        status = response.head.status
        body = await self._refusal_body(response)
        self._end_session_at(status, modern=call.modern)
        error = self._own_error(call, body) if response.head.kind == "application/json" else None
        if error is not None:
            self._calls.answered(call.id, call)
            call.answered = True
            await self._outlet.put(error)
        elif call.method != "initialize" or call.modern or status not in _OLD_SERVERS_SAY:
            code = NOT_FOUND if status in _METHODS_UNKNOWN else UNREACHABLE
            raise Failed(
                f"the server refuses the request ({status}){self._http.wants_scope(response.head)}", code
            )

    async def _refusal_body(self, response: Response) -> bytes:
        with contextlib.suppress(Failed, TimeoutError):
            async with asyncio.timeout(TAKEN_WITHIN):
                return await response.body(REFUSAL_MAX)
        return b""

    def _own_error(self, call: Waiting, body: bytes) -> bytes | None:
        """The error in a refusal, whose id may be null or of the server's making."""
        with contextlib.suppress(envelope.Malformed):
            found = [envelope.error_of(message, call.id) for message in envelope.read(body)]
            return found[0] if len(found) == 1 else None
        return None

    def _end_session_at(self, status: int, *, modern: bool) -> None:
        if status == 401:
            raise self._http.wants_login()
        if status == 404 and not modern and self._session.id is not None:
            raise Dead("the server has ended the session (404)")

    async def _try_old(self, call: Waiting, message: Message, status: int) -> None:
        """What refuses `initialize` so may speak HTTP+SSE (MCP 2025-11-25, Backwards Compatibility)."""
        old = OldServer(self._http, self._calls, self._deliver, self._most)
        try:
            await old.open()
        except Failed as why:
            old.close()
            raise Failed(f"the server refuses `initialize` ({status}); {why.why}") from None
        self._old = old
        await old.request(call, message)

    # --- what nobody answers -------------------------------------------------------------------------

    async def notify(self, message: Message) -> None:
        """Sends a notification or a response; returns once the server has taken it."""
        if self._old is not None:
            await self._old.send(message)
            return
        modern = self.is_modern(message) or (self.only_modern and not message.is_response)
        headers = self._stateless.headers(message) if modern else self._session.post_headers
        try:
            async with asyncio.timeout(TAKEN_WITHIN), await self._post(headers, message) as response:
                if response.head.kind != "text/event-stream":  # nothing in one would answer anybody
                    await response.body(REFUSAL_MAX)
        except TimeoutError:
            raise Failed(f"the server has not taken a message within {TAKEN_WITHIN:g} s") from None
        self._end_session_at(response.head.status, modern=modern)
        if not 200 <= response.head.status < 300:
            raise Failed(f"the server refuses a message that it need not answer ({response.head.status})")

    async def follow(self, say: Callable[[str], None]) -> None:
        """The stream for what belongs to no request, as long as there is one."""
        if self._old is not None:
            await self._old.follow()
        elif not self.only_modern:
            with contextlib.suppress(Refused):
                await self._streams.follow_own(lambda message: self._deliver(message, None), say)

    def close(self) -> None:
        """Reads no more."""
        if self._old is not None:
            self._old.close()

    async def farewell(self) -> None:
        """Ends the session at the server, which may not care."""
        if self._session.id is None or self._old is not None:
            return
        with contextlib.suppress(Failed):
            async with await self._http.ask("DELETE", self._session.post_headers) as response:
                await response.body(REFUSAL_MAX)
