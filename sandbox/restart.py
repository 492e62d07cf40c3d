"""`[server] restart`: stands between the client and one session after the other, until a server stays up.

The session itself is what it is without a restart, in a process of its own; this one has one thread, holds
the client's ends and decides nothing about a message (`relay.replay`) or a crash (`relay.crashes`).
"""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sandbox import leases
from sandbox.attempt import READ, Attempt
from sandbox.errors import SandboxError
from sandbox.event import Event, Value
from sandbox.prepared import Prepared
from sandbox.relay.crashes import Crashes, Outcome, adds_up
from sandbox.relay.lines import Lines, Piece, message
from sandbox.relay.outlet import widen
from sandbox.relay.replay import Replay
from sandbox.session import SIGNALS

HELD = 1 << 20
"""Bytes of the client's that wait here while no server reads; what comes then waits in its own pipe."""
HANDSHAKE_S = 300.0
SEEN_S = 1.0
"""A pause as long as this is to be seen by `ps`, and to be ended by `stop`."""
REFUSED_S = 2.0
"""A handshake that ended in an error is followed by the server's end, where that was the cause."""
ENDS_WITHIN_S = 3.0
LAST_WORDS_S = 0.5
NOTE_S = 0.1


def run(prepared: Prepared, note: Callable[[str], None], refuse: Callable[[SandboxError], int]) -> int:
    """Runs the server, and again after each crash that the profile allows; the last one's exit status.

    `refuse` says why an attempt did not start, and returns its status.
    """
    gc.enable()
    for fd in (0, 1):
        widen(fd)
    front = Front(prepared, note, refuse)
    before = {number: signal.signal(number, front.on_signal) for number in SIGNALS}
    try:
        return front.run()
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)


class Front:
    """The client's ends, and whichever attempt there is."""

    def __init__(
        self, prepared: Prepared, note: Callable[[str], None], refuse: Callable[[SandboxError], int]
    ) -> None:
        self._prepared = prepared
        self._refuse = refuse
        self._began = time.monotonic()
        self._note = note
        self._cap = prepared.spec.message
        self._replay = Replay(f"mcp-sandbox-{os.urandom(6).hex()}")
        policy = prepared.policy
        # Whoever crashes on purpose gets what sessions may use up a bounded number of times, not for ever.
        self._crashes = Crashes(policy.server.restarts, forget=not adds_up(policy))
        self._attempt: Attempt | None = None
        self._said = Lines(self._cap)
        self._waiting: deque[Piece] = deque()
        self._waiting_bytes = 0
        self._to_server = b""
        self._amid = False
        """Whether what the server was given ends amid a line: the next server gets none of the rest."""
        self._skipping = False
        self._heard = Lines(self._cap)
        self._to_client: deque[bytes] = deque()
        self._client_open = True
        self._client_reads = True
        self._signalled = 0
        self._handshake_until: float | None = None
        self._ends_at: float | None = None
        self._failed = ""
        self._crashed_with = 0
        self._woken, wake = os.pipe()
        for fd in (self._woken, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def on_signal(self, number: int, _frame: object) -> None:
        """Passes it on; the first one is what ends us."""
        self._signalled = self._signalled or number
        if self._attempt is not None:
            self._attempt.signal(number)

    def run(self) -> int:
        """Attempts until one is the last."""
        after = None
        while True:
            started = time.monotonic()
            outcome = self._attempted(after)
            lived = time.monotonic() - started
            pause = self._crashes.pause(outcome, lived)
            if pause is None or self._over() or self._failed:
                return self._last(outcome)
            self._crashed_with = outcome.status
            self._tell_client(self._replay.crashed(_reason(outcome)))
            self._say_again(outcome, lived, pause)
            with self._lease(outcome, pause):
                self._wait(pause)
            if self._over():
                return self._last(outcome)
            after = _event(outcome, self._crashes.in_a_row, pause)

    def _over(self) -> bool:
        """Whether nobody wants another attempt."""
        return bool(self._signalled) or not self._client_open or not self._client_reads

    # --- one attempt --------------------------------------------------------------------------------

    def _attempted(self, after: Event | None) -> Outcome:
        self._heard, self._to_server = Lines(self._cap), b""
        self._skipping, self._amid = self._amid, False
        self._attempt = attempt = Attempt(self._prepared, self._note, self._refuse, after, self._began)
        if self._signalled:  # it came between the last look and the fork
            attempt.signal(self._signalled)
        self._replay.begin()
        self._handshake_until = time.monotonic() + HANDSHAKE_S
        try:
            while not attempt.gone:
                self._turn()
            while self._listen(attempt):
                pass
        finally:
            self._attempt = None
        return attempt.outcome()

    def _turn(self, until: float | None = None) -> None:
        """Waits for the next thing that can be done, and does it."""
        now = time.monotonic()
        self._check(now)
        self._tell_client(self._replay.due(now))
        self._fill()
        ready = self._poll(until, now)
        if self._woken in ready:
            with suppress(BlockingIOError):
                os.read(self._woken, READ)
        attempt = self._attempt
        # Before the client hears of the end: what it says then is for the next server.
        if attempt is not None and attempt.told in ready:
            attempt.hear_of_end()
        if 0 in ready:
            self._hear_client()
        if 1 in ready:
            self._write_client()
        if attempt is None:
            return
        if attempt.stdin in ready:
            self._to_server = self._to_server[attempt.write(self._to_server) :]
        if attempt.stdout in ready:
            self._listen(attempt)

    def _poll(self, until: float | None, now: float) -> set[int]:
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if self._client_open:
            # Without events only the end of a pipe is reported: then what is left in it is little.
            poll.register(0, select.POLLIN if self._waiting_bytes < HELD else 0)
        if self._to_client:
            poll.register(1, select.POLLOUT)
        attempt = self._attempt
        if attempt is not None:
            poll.register(attempt.pidfd, select.POLLIN)
            if not attempt.ending:
                poll.register(attempt.told, select.POLLIN)
            if self._to_server:
                poll.register(attempt.stdin, select.POLLOUT)
            if not self._to_client:
                poll.register(attempt.stdout, select.POLLIN)
        moments = (until, self._replay.next_due(), self._ends_at, self._handshake_until)
        next_one = min((one for one in moments if one is not None), default=None)
        timeout = None if next_one is None else max(0.0, next_one - now) * 1000 + 1
        return {fd for fd, _ in poll.poll(timeout)}

    def _check(self, now: float) -> None:
        """Ends an attempt that cannot go on."""
        attempt = self._attempt
        if attempt is None:
            return
        if self._signalled and self._ends_at is None:
            self._ends_at = now + ENDS_WITHIN_S
        if self._ends_at is not None and now >= self._ends_at:
            attempt.signal(signal.SIGKILL)
            self._ends_at = now + ENDS_WITHIN_S
        if self._replay.settled:
            self._settle()
        elif self._handshake_until is not None and now >= self._handshake_until:
            self._failed = self._replay.different or f"it did not answer the handshake in {HANDSHAKE_S:.0f} s"
            self._handshake_until, self._ends_at = None, now + ENDS_WITHIN_S
            attempt.signal(signal.SIGTERM)
        elif self._replay.different and self._handshake_until is not None:
            patience = REFUSED_S if self._replay.perhaps_crashed else 0.0
            self._handshake_until = min(self._handshake_until, now + patience)

    def _settle(self) -> None:
        """The server knows what the last one did, all but what it refused."""
        self._handshake_until = None
        if self._replay.refused:
            refused = ", ".join(f"`{method}`" for method in sorted(set(self._replay.refused)))
            self._replay.refused.clear()
            self._say(
                f"warning: not-restored\n  the restarted `{self._prepared.spec.server}` refused {refused}"
            )

    # --- the client -----------------------------------------------------------------------------------

    def _hear_client(self) -> None:
        try:
            chunk = os.read(0, READ)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._client_open = bool(chunk)
        for piece in self._said.feed(chunk) if chunk else self._said.rest():
            if not self._answered(piece):
                self._waiting.append(piece)
                self._waiting_bytes += len(piece[0])

    def _answered(self, piece: Piece) -> bool:
        """An answer to the server's own question does not wait behind what the server cannot take yet."""
        if self._attempt is not None and self._replay.settled:
            return False
        frame = message(piece, self._cap)
        if frame is None or not self._replay.answers(frame):
            return False
        if told := self._replay.from_client(frame):
            self._replay.for_server.append(told)
        return True

    def _fill(self) -> None:
        """Takes the next line for the server, if it has taken the last."""
        attempt = self._attempt
        if attempt is None or attempt.stdin < 0:
            return
        while not self._to_server and self._replay.for_server:
            self._to_server = self._replay.for_server.pop(0)
        while not self._to_server and self._waiting and self._replay.settled and not attempt.ending:
            self._to_server = self._next()
        if self._ending() and not self._to_server and not (self._waiting and self._replay.settled):
            attempt.close_stdin()

    def _next(self) -> bytes:
        piece = self._waiting.popleft()
        self._waiting_bytes -= len(piece[0])
        ends = piece[0].endswith(b"\n")
        if self._skipping:
            self._skipping = not ends
            return b""
        self._amid = not ends
        frame = message(piece, self._cap)
        return (self._replay.from_client(frame) or b"") if frame else piece[0]

    def _ending(self) -> bool:
        return not self._client_open or not self._client_reads

    def _tell_client(self, lines: list[bytes]) -> None:
        if self._client_reads:
            self._to_client.extend(lines)

    def _write_client(self) -> None:
        """No more at once than what a pipe takes without blocking, where it polls writable (POSIX)."""
        line = self._to_client[0]
        try:
            written = os.write(1, line[: select.PIPE_BUF])
        except BlockingIOError:
            return
        except OSError:
            self._client_reads = False
            self._to_client.clear()
            return
        if written == len(line):
            self._to_client.popleft()
        else:
            self._to_client[0] = line[written:]

    # --- the server -----------------------------------------------------------------------------------

    def _listen(self, attempt: Attempt) -> bool:
        """Takes what the session says: whole frames, and nothing else but what its own end cut off."""
        chunk = attempt.read()
        now = time.monotonic()
        for piece in self._heard.feed(chunk):
            frame = message(piece, self._cap)
            told = self._replay.from_server(frame, now) if frame else piece[0]
            if told:
                self._tell_client([told])
        return bool(chunk)

    # --- between and after -----------------------------------------------------------------------------

    @contextmanager
    def _lease(self, outcome: Outcome, pause: float) -> Iterator[None]:
        """No session has one now; this process is what there is of the server."""
        if pause < SEEN_S:
            yield
            return
        spec, own = self._prepared.spec, os.getpid()
        name = self._prepared.policy.name
        lease = leases.Lease(
            outcome.session, spec.server, own, leases.start_time(own), backend=spec.backend, profile=name
        )
        path = ""
        with suppress(SandboxError):  # the next session will say it
            path = leases.take(lease, self._prepared.wish.environ)
        try:
            yield
        finally:
            if path:
                os.unlink(path)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._over() and time.monotonic() < until:
            self._turn(until)

    def _last(self, outcome: Outcome) -> int:
        """Says what the client has not heard, and why there is no other attempt."""
        while self._waiting:
            self._next()
        self._tell_client(self._replay.ended(_reason(outcome)))
        until = time.monotonic() + LAST_WORDS_S
        while self._to_client and time.monotonic() < until:
            self._turn(until)
        if self._failed or (outcome.crashed and not self._over()):
            self._say(self._why(outcome))
        if self._failed and not self._signalled:
            return self._crashed_with
        return 128 + self._signalled if self._signalled else outcome.status

    def _why(self, outcome: Outcome) -> str:
        server, times = self._prepared.spec.server, self._crashes.in_a_row
        hint = f"\n\nhint: mcp-sandbox audit show {outcome.session}" if outcome.session else ""
        if self._failed:
            what = f"the restarted `{server}` cannot go on where the last one ended: {self._failed}"
            return f"error: restart-differs\n  {what}{hint}"
        policy = self._prepared.policy
        rule = f"server.restarts = {policy.server.restarts} ({policy.origin('server.restarts')})"
        what = f"`{server}` ended {times} times by itself, the last time with {outcome.describe()}"
        return f"error: crashed-too-often\n  {what}\n  rule: {rule}{hint}"

    def _say_again(self, outcome: Outcome, lived: float, pause: float) -> None:
        server, most = self._prepared.spec.server, self._prepared.policy.server.restarts
        turn = f"restart {self._crashes.in_a_row} of {most} in {pause:g} s"
        self._say(f"mcp-sandbox: `{server}` ended with {outcome.describe()} after {lived:.1f} s: {turn}")

    def _say(self, text: str) -> None:
        """On stderr, unless nobody reads it."""
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if poll.poll(NOTE_S * 1000):
            self._note(text)


def _reason(outcome: Outcome) -> str:
    return f"mcp-sandbox: the server ended with {outcome.describe()}"


def _event(outcome: Outcome, turn: int, pause: float) -> Event:
    detail: dict[str, Value] = {
        "before": outcome.session,
        "status": outcome.status,
        "turn": turn,
        "pause": pause,
    }
    return Event("session.restart", detail, rule="server.restart")
