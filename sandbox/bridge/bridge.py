"""Carries messages between pipes to the relay and a server that speaks HTTP, in every revision."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any

from sandbox.bridge import envelope
from sandbox.bridge.envelope import Message
from sandbox.bridge.exchange import Exchange
from sandbox.bridge.http import Http
from sandbox.bridge.pipes import Inlet, Notes, Outlet, Overlong
from sandbox.bridge.run import Target
from sandbox.bridge.waiting import Calls, Waiting
from sandbox.bridge.words import UNREACHABLE, Dead, Failed

ORDER_PATIENCE = 5.0
"""Seconds for which what follows a notification waits until the server has taken it."""
FIRST_ANSWER, LAST_ANSWERS = 9.5, 0.6
"""Seconds from the start, for a server that has said nothing when the client has gone, and from then on, for
what else is still due: the session ends a moment later (`sandbox.lifecycle`)."""
FIRST_WORD = 1.0
"""Seconds for a client's first request, where the server has already proved not to be one."""
FAREWELL = 0.25


def carry(target: Target, stdin: int, stdout: int, notes: int) -> int:
    """`run`, in a loop of its own; threads that still wait for a name or a socket do not hold up the end."""
    loop = asyncio.new_event_loop()
    loop.set_debug(False)  # whatever the caller's environment asks for: it would read files
    spoken = Notes(notes)
    # The loop's own handler prints the objects at hand, in which headers stand.
    loop.set_exception_handler(lambda _, fault: spoken.say(f"a fault: {fault.get('message')}"))
    try:
        return loop.run_until_complete(_carry(target, stdin, stdout, spoken))
    finally:
        loop.close()


async def _carry(target: Target, stdin: int, stdout: int, notes: Notes) -> int:
    outlet = Outlet(stdout)
    try:
        http = Http(target)
    except Dead as why:
        notes.say(why.why)
        return 1
    inlet = Inlet(stdin, target.message + envelope.SPARE)
    bridge = Bridge(http, inlet, outlet, notes, target.message)
    try:
        return await bridge.run()
    finally:
        inlet.close()
        await bridge.end()
        http.close()
        await asyncio.sleep(0)  # the connections end in the loop's next round


class Bridge:
    """One client, one server."""

    def __init__(self, http: Http, inlet: Inlet, outlet: Outlet, notes: Notes, most: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._http = http
        self._inlet = inlet
        self._outlet = outlet
        self._notes = notes
        self._calls = Calls()
        self._dead: asyncio.Future[str] = self._loop.create_future()
        self._heard: asyncio.Future[None] = self._loop.create_future()
        """Done once the client has said something: it will want to know why."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = self._start(http.ready())
        self._exchange = Exchange(http, outlet, self._calls, most)
        self._opening: Waiting | None = None
        self._held: tuple[Message, ...] = ()
        """A request that is read and not sent yet."""

    async def run(self) -> int:
        """Until the client or the server has gone."""
        reading = self._start(self._read())
        await _first_of(reading, self._inlet.ended, self._dead, self._outlet.gone)
        if self._dead.done():
            await _first_of(self._heard, reading, within=FIRST_WORD)
        elif not self._outlet.gone.done():
            await self._last_answers(reading)
        dead = self._dead.done()
        self._tell(self._dead.result() if dead else self._waits_for or "the session has ended", aloud=dead)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self._outlet.flush()
                await self._exchange.farewell()
        return 1 if dead else 0

    def _tell(self, why: str, *, aloud: bool) -> None:
        """Answers all that wait with it, and where it is nobody's wish, tells a person."""
        for call in self._calls:
            self._fail(call, Failed(why))
        for message in (*self._held, *_requests(self._inlet.left())):
            self._outlet.post(envelope.error_line(message.id, UNREACHABLE, why))
        if aloud:
            self._notes.say(why)

    async def end(self) -> None:
        """Nothing of it goes on."""
        self._exchange.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- from the client -----------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while (line := await self._inlet.line()) is not None:
                await self._take(line)
        except Overlong:
            raise Dead("the client's side sends a line that is longer than any message") from None

    async def _take(self, line: bytes) -> None:
        try:
            (message,) = envelope.read(line[:-1])
        except ValueError:  # the relay lets no such line through
            if line.strip():
                self._notes.say("a line from the client's side is no message")
            return
        if not self._heard.done():
            self._heard.set_result(None)
        if message.is_response:
            await self._say(message)
            return
        if message.is_request:
            self._held = (message,)
        await self._opened()
        if message.is_request:
            await self._call(message)
        elif not self._cancels(message):
            await self._say(message)

    async def _opened(self) -> None:
        """While `initialize` waits, nobody knows yet what the headers of the next request have to say."""
        if self._opening is not None and self._opening.task is not None:
            await asyncio.wait({self._opening.task})
            self._opening = None

    async def _call(self, message: Message) -> None:
        """Sends a request; its answer comes when it comes."""
        await self._calls.room(len(message.line))
        modern = self._exchange.is_modern(message)
        call = Waiting(message, modern=modern)
        self._calls.add(call)
        self._held = ()
        call.task = self._start(self._answer(call, message))
        if message.method == "initialize" and not modern:
            self._opening = call

    async def _answer(self, call: Waiting, message: Message) -> None:
        try:
            await self._until_ready()
            await self._exchange.request(call, message)
        except Failed as why:
            self._fail(call, why)
            raise
        except BaseException:
            self._fail(call, Failed("the request was given up"))
            raise
        finally:
            self._calls.drop(call)

    def _fail(self, call: Waiting, why: Failed) -> None:
        """Says so to the client, unless it has its answer or waits for none."""
        if not call.answered and not call.cancelled:
            call.answered = True
            self._outlet.post(envelope.error_line(call.id, why.code, why.why))

    def _cancels(self, message: Message) -> bool:
        """Whether this was a cancellation that is said by closing a stream, and by nothing else."""
        if message.method != "notifications/cancelled":
            return False
        call = self._calls.get(envelope.cancelled_id(message.line))
        if call is None:
            return self._exchange.only_modern
        call.cancelled = True
        self._calls.drop(call)
        if call.modern and call.task is not None:
            call.task.cancel()
        else:
            self._calls.end_late(call)
        return call.modern

    async def _say(self, message: Message) -> None:
        """Sends what nobody answers, in order: the next message is read when the server has this one."""
        task = self._start(self._said(message))
        await asyncio.wait({task}, timeout=ORDER_PATIENCE)

    async def _said(self, message: Message) -> None:
        await self._until_ready()
        await self._exchange.notify(message)
        if message.method == "notifications/initialized":
            self._start(self._exchange.follow(self._notes.say))

    # --- what all of it needs ------------------------------------------------------------------------

    async def _until_ready(self) -> None:
        if not self._ready.done():
            await asyncio.wait({self._ready})
        if not self._ready.cancelled() and (why := self._ready.exception()) is not None:
            raise why

    @property
    def _waits_for(self) -> str:
        """Why the server cannot be spoken to yet."""
        return "" if self._ready.done() else self._http.failure

    async def _last_answers(self, reading: asyncio.Task[None]) -> None:
        if self._calls.due or not reading.done():
            patience = max(self._began + FIRST_ANSWER - self._loop.time(), 0)
            await _first_of(self._outlet.first, self._outlet.gone, self._dead, within=patience)
        await _first_of(self._start(self._settled(reading)), self._dead, within=LAST_ANSWERS)

    async def _settled(self, reading: asyncio.Task[None]) -> None:
        """Returns once all that the client has said was sent, and answered where an answer is due."""
        await asyncio.wait({reading})
        await self._calls.none_due()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        why = None if task.cancelled() else task.exception()
        if isinstance(why, Dead) and not self._dead.done():
            self._dead.set_result(why.why)
        elif isinstance(why, Failed):
            self._notes.say(why.why)
        elif why is not None and not self._dead.done():
            self._dead.set_result(f"a fault of the bridge's own: {type(why).__name__}")


async def _first_of(*ends: asyncio.Future[Any], within: float | None = None) -> None:
    """Returns once one of them is done, or time is up; none is cancelled for that."""
    await asyncio.wait(ends, timeout=within, return_when=asyncio.FIRST_COMPLETED)


def _requests(lines: list[bytes]) -> Iterator[Message]:
    for line in lines:
        with contextlib.suppress(ValueError):
            yield from (message for message in envelope.read(line) if message.is_request)
