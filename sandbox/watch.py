"""The session's main loop: waits for either side, signals and quotas, and acts on `lifecycle.decide`."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sandbox import evidence, inspection, lifecycle, metering, syscall_watch
from sandbox.audit.clerk import Clerk
from sandbox.audit.redact import Redactor
from sandbox.backend.base import Ended
from sandbox.backend.running import Running
from sandbox.breaches import Breaches, told
from sandbox.errors import AuditError, SandboxError
from sandbox.event import Event, Value
from sandbox.excess import Source
from sandbox.gateway import Gateway
from sandbox.host import memory
from sandbox.lifecycle import Step, Times
from sandbox.outbound import Outbound
from sandbox.prepared import Prepared
from sandbox.relay.explain import reports_failure
from sandbox.relay.facts import passed
from sandbox.relay.limits import Limits
from sandbox.relay.refusals import held
from sandbox.relay.stderr import StderrRelay
from sandbox.relay.stdio import Relay
from sandbox.wire.jsonrpc import Frame

if TYPE_CHECKING:
    from sandbox.relay.ledger import Side
    from sandbox.secrecy import Pairs, Secrecy

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LAST_WORDS_S = 1.2
LAST_WORDS_ASKED_S = 0.35
"""A client that asked for the end may read nothing any more, and the two seconds are nearly over."""
LEAST_S = 0.05
LAST_NOTES_S = 0.1
MUCH = 0.5
"""The part of the memory from which on the kernel may end it before the next look."""
STDERR_TAIL = 4000
"""Characters of the server's last words that a report keeps."""
INTERNAL_ERROR = -32603


class Watch:
    """Relay, signals and quotas of one running sandbox."""

    def __init__(
        self, prepared: Prepared, running: Running, clerk: Clerk, gateway: Gateway,
        redactor: Redactor, canaries: tuple[tuple[str, str], ...], session: str,
        secrets: tuple[tuple[str, str], ...] = (),
    ) -> None:  # fmt: skip
        self.spec = spec = prepared.spec
        self._policy = prepared.policy
        self.running = running
        self.clerk = clerk
        self.signalled = 0
        self._signalled_at: float | None = None
        self._client_closed_at: float | None = None
        self._spoke_at: float | None = None
        self._silent_at = 0.0
        self.stopped = False
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        self._started = time.monotonic()
        self._secrecy = _secrecy(prepared, session, secrets, canaries, clerk.emit)
        inspected = inspection.of(prepared, session, self._around(redactor))
        self.asking = None if inspected is None else inspected.asking
        """The questions that wait for a person."""
        self._relay = Relay(
            client_in=0, client_out=1, server_in=running.take_stdin(), server_out=running.stdout,
            cap=spec.message, emit=self._emit, later=clerk.later, noise=self._noise, changed=self._changed,
            stop=self._before_client, idle=memory.give_back,
            limits=Limits(prepared.policy, self._changed, lambda excess: clerk.emit(held(excess))),
            inspection=inspected, noted=self._noted(prepared, session, secrets, canaries),
        )  # fmt: skip
        self._stderr = StderrRelay(running.stderr, 2, clean=self._secrecy.line if self._secrecy else None)
        self.note = self._stderr.say
        """Never blocks, whoever reads our stderr; `close` waits for it, for a bounded time."""
        self._outbound = Outbound(
            gateway, clerk, self._relay, prepared, self.note, self._changed, canaries, redactor
        )
        self._evidence = evidence.Evidence(running, self._sources_of_evidence(redactor))
        self.breaches = Breaches(
            prepared.policy,
            session,
            running,
            clerk,
            redactor,
            self.note,
            self._evidence,
            self._notifier(prepared),
        )
        self._catch_signals()

    def _around(self, redactor: Redactor) -> inspection.Around:
        secrecy, clean = self._secrecy, redactor.uncut
        if secrecy is not None:
            clean = lambda text: secrecy.text(redactor.uncut(text))  # noqa: E731
        return inspection.Around(self._emit, lambda text: self.note(text), clean, secrecy)

    def _noted(
        self, prepared: Prepared, session: str, secrets: Pairs, canaries: Pairs
    ) -> Callable[[Side, Frame], Event]:
        if not prepared.policy.audit.payloads:
            return passed
        from sandbox import secrecy

        return secrecy.payloads(prepared, session, secrets, canaries, self._secrecy)

    def _emit(self, event: Event) -> None:
        self.clerk.emit(event if self._secrecy is None else self._secrecy.event(event))

    def _notifier(self, prepared: Prepared) -> Callable[[Mapping[str, Value]], None]:
        if not prepared.policy.breach.notify:
            return lambda _event: None
        from sandbox.notify import Notifier  # brings `subprocess`, which most sessions do without

        return Notifier(prepared.policy, self.spec.server, prepared.wish.environ, self.note).tell

    def _sources_of_evidence(self, redactor: Redactor) -> evidence.Sources:
        return evidence.Sources(
            calls=self._relay.pending_calls,
            samples=lambda: [*self.watchdog.samples],
            egress=lambda: [*self._outbound.recent],
            stderr=lambda: redactor.tail(self._stderr.tail(), STDERR_TAIL),
        )

    @property
    def breach(self) -> str:
        """The quota or rule whose breach ended the sandbox; empty while there was none."""
        return self.breaches.name

    @property
    def relay(self) -> Relay:
        """What carries the messages."""
        return self._relay

    def _noise(self, line: bytes) -> None:
        self._stderr.log(line)

    def _before_client(self, frame: Frame) -> str | None:
        """A call that failed is answered after every denial that may be why; no decoy reaches the client."""
        if frame.kind == "response" and reports_failure(frame.message):
            self._outbound.settle()
        return self._outbound.canary_in(frame.data)

    def _changed(self) -> None:
        try:
            os.write(self._wake, b"\0")
        except (BlockingIOError, OSError):
            return  # a full pipe wakes the loop as well

    def _catch_signals(self) -> None:
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        if not self.signalled:
            self.signalled = number
            self._signalled_at = time.monotonic()

    def count_from(self, moment: float) -> None:
        """`wall` goes on where the sessions before this one, of the same server, have left it."""
        self._started = min(self._started, moment)

    def run(self) -> None:
        """Relays until the sandbox has ended, by itself or by our doing."""
        self.clerk.start(self._changed)
        self._relay.start()
        self._stderr.start()
        self._outbound.start()
        poll = select.poll()
        poll.register(self.running.fileno(), select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        self.watchdog = metering.watchdog(
            self._policy, self.spec, self.running, self.clerk.emit, lambda: self._relay.last_activity,
            lambda: self._outbound.carried,
        )  # fmt: skip
        self.syscalls = syscall_watch.of(
            self.running, self.spec, self._policy.breach.syscall, self.clerk.emit
        )
        sources = self._sources()
        for source in sources:
            for fd, events in source.watched().items():
                poll.register(fd, events)
        ready: frozenset[int] = frozenset()
        while True:
            timeout = self._act(sources, ready)
            ready = frozenset(fd for fd, _ in poll.poll(timeout))
            if self._woken in ready:
                _empty(self._woken)
            if self.running.fileno() in ready:
                self.watchdog.finish()
                return

    def _sources(self) -> list[Source]:
        """What may find that a limit was exceeded, one line each."""
        return [self.watchdog, self._relay.limits, *([self.syscalls] if self.syscalls else [])]

    def _act(self, sources: list[Source], ready: frozenset[int]) -> float | None:
        """Does what is due now; milliseconds until the next look."""
        now = time.monotonic()
        self._look(now)
        moments = [self._end(now), self.breaches.answer(now)]
        if not self.breach:
            moments += [self._check_times(now), *self._ask(sources, now, ready)]
        return self._timeout(min((one for one in moments if one is not None), default=None), now)

    def _end(self, now: float) -> float | None:
        """The end that was asked for; the moment of its next step."""
        if self.breaches.frozen and (self.signalled or self._client_closed_at is not None):
            self._kill()  # what stands still hears of no end
            return None
        decision = lifecycle.decide(self._times(), now)
        if decision.step is Step.KILL:
            self._kill()
        elif decision.step is Step.TERMINATE and not self.stopped:
            self.stopped = self.breaches.ending = True
            self.running.terminate()
        return decision.until

    def _kill(self) -> None:
        self.stopped = self.breaches.ending = True
        self.running.kill()

    def _check_times(self, now: float) -> float | None:
        found, until = lifecycle.exceeded(self._times(), now)
        for key in {"quota.wall", "quota.idle"} - {excess.key for excess in found}:
            self.breaches.below(key)
        for excess in found:
            self.breaches.exceeded(excess)
        return until

    def _ask(self, sources: list[Source], now: float, ready: frozenset[int]) -> list[float | None]:
        moments = []
        for source in sources:
            found, until = source.look(now, ready)
            for excess in found:
                self.breaches.exceeded(excess)
            moments.append(until)
        if not self.breach:
            self._evidence.glance(now, near=self._memory_is_short())
        return moments

    def _memory_is_short(self) -> bool:
        last, limit = self.watchdog.last, self.watchdog.quota.memory
        return bool(last and last.memory and limit and last.memory > MUCH * limit)

    def _timeout(self, until: float | None, now: float) -> float | None:
        return None if until is None else max(1.0, (until - now) * 1000)

    def _look(self, now: float) -> None:
        self._relay.limits.paused = self.breaches.frozen
        if self._relay.failed is not None:
            self.breached(*_failed(self._relay.failed))
        if self._outbound.breach is not None:
            self.breached(*self._outbound.breach)
        gone = self._relay.client_eof.is_set() or self._relay.client_gone.is_set()
        if self._client_closed_at is None and gone:
            self._client_closed_at = now
        if self._spoke_at is None and self._relay.server_spoke.is_set():
            self._spoke_at = now

    def _times(self) -> Times:
        return Times(
            started=self._started, client_closed=self._client_closed_at, signalled=self._signalled_at,
            spoke=self._spoke_at, active=self._relay.last_activity,
            pending=self._awaited(), wall=self.spec.limits.wall, idle=self.spec.limits.idle,
        )  # fmt: skip

    def _awaited(self) -> int:
        # A subscription stays open for the life of the session: it is no work in progress.
        return sum(call.method != "subscriptions/listen" for call in self._relay.pending_calls())

    def breached(self, rule: str, why: str, detail: Mapping[str, Value] | None = None) -> None:
        """Ends the sandbox for what the gateway, the keeper or the log told of."""
        self.breaches.end(told(rule, why, detail or {}))

    def resume(self) -> bool:
        """A person lets a frozen sandbox go on; False where none is frozen. From any thread."""
        resumed = self.breaches.resume()
        self._changed()
        return resumed

    def out_of_memory(self, kills: int) -> None:
        """The kernel refused memory beyond the limit and ended processes of the sandbox."""
        limit = self.spec.limits.memory
        used = self.running.peak or limit
        numbers: dict[str, Value] = {} if limit is None else {"used": used, "limit": limit}
        held = "its memory is" if limit is None else f"all of {limit >> 20} MiB are"
        self.breached("memory", f"{held} in use: the kernel ended {kills} process(es)", numbers)

    def drain(self) -> None:
        """Lets what the server said last reach the client, for a bounded time."""
        asked = self.signalled or self._client_closed_at is not None
        self._silent_at = time.monotonic() + (LAST_WORDS_ASKED_S if asked else LAST_WORDS_S)
        self._relay.server_eof.wait(self._left())
        self._outbound.finish()
        if self.syscalls is not None:
            self.syscalls.finish()
        self._stderr.flush(self._left() / 2)

    def _left(self) -> float:
        return max(LEAST_S, self._silent_at - time.monotonic())

    def fail_open_calls(self, ended: Ended, unstarted: str = "") -> None:
        """Answers every call that the server can no longer answer, and says how it ended or never started."""
        self.breaches.report()
        how = unstarted or f"the server ended with {ended.describe()}"
        reason = self.breaches.reason or f"mcp-sandbox: {how}"
        self._relay.fail_pending(INTERNAL_ERROR, reason, self.breaches.data, within=self._left())

    def close(self) -> None:
        """Lets what we said last be read, gives the signals back and closes what this loop opened."""
        self._stderr.close(LAST_NOTES_S)
        signal.set_wakeup_fd(-1)
        os.close(self._woken)
        os.close(self._wake)


def _secrecy(
    prepared: Prepared, session: str, secrets: Pairs, canaries: Pairs, emit: Callable[[Event], None]
) -> Secrecy | None:
    if prepared.policy.inspect.secrets == "off":
        return None
    from sandbox import secrecy  # brings the rules of what credentials look like

    return secrecy.of(prepared, session, secrets, canaries, emit)


def _failed(error: BaseException) -> tuple[str, str]:
    """Which part of ours failed under the relay, and why; never what was in the message."""
    if isinstance(error, AuditError):
        return "audit", f"the audit log failed: {error.what}"
    if isinstance(error, SandboxError):
        return "relay", error.what
    return "relay", f"a fault of mcp-sandbox itself at a message ({type(error).__name__})"


def _empty(fd: int) -> None:
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        return
