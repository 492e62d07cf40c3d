"""One server from start to end: the log, the sandbox, the relay, the quotas, the exit status."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from sandbox import leases, realising, secret_sources
from sandbox.audit.redact import Redactor
from sandbox.audit.sink import Sink
from sandbox.backend.base import Ended
from sandbox.backend.native.cgroup import places
from sandbox.backend.running import Running
from sandbox.digest import sha256
from sandbox.egress.charge import Charge
from sandbox.errors import BREACH, LIMITS, NOT_BUILT, AuditError, SandboxError, SandboxNotBuilt
from sandbox.event import Event, Value
from sandbox.gateway import Gateway
from sandbox.host import memory
from sandbox.plan.guards import may_appear
from sandbox.plan.spec import Bind, File, Spec
from sandbox.prepared import Prepared
from sandbox.preparing import confirm, wait_for
from sandbox.records import replace

if TYPE_CHECKING:
    from sandbox.backend.early import Early
    from sandbox.status import Status
    from sandbox.watch import Watch

PROXY_WAIVER = "the host's own proxy resolves the allowed names: to which addresses they lead is not checked"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SWITCH_S = 0.0005
"""After so long a thread that waits for the interpreter gets it. By default it is 0.005, ten times what a
message takes, while another thread reads rules or writes the log (`sys.setswitchinterval`)."""


def run(prepared: Prepared, note: Callable[[str], None], early: Early | None = None) -> int:
    """Runs the server until either side ends; returns the exit status (`exit_status`).

    `early`: a keeper that was forked before the plan was there; one of the wrong backend is left alone.
    """
    with ExitStack() as stack:
        stack.callback(_restore_signals, {number: signal.getsignal(number) for number in SIGNALS})
        return Session(prepared, note, stack, early).run()


def _restore_signals(handlers: dict[signal.Signals, object]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)  # type: ignore[arg-type]


class Session:
    """Owns every resource of one run through `stack`; what was opened is closed in reverse."""

    def __init__(
        self, prepared: Prepared, note: Callable[[str], None], stack: ExitStack, early: Early | None = None
    ) -> None:
        self._early = early
        self.prepared, self.canaries = _with_decoys(prepared)
        self.spec = self.prepared.spec
        self.note = note
        self.stack = stack
        self.environ = prepared.wish.environ
        self.id = new_id(self.spec.server)
        self.status = NOT_BUILT
        self.ran = False
        self.after: Event | None = None
        """What came before, where this session is a restart."""
        self.began = float("inf")
        """When the first session of this server did, by the monotonic clock."""
        self.ending: Callable[[str], None] = lambda how: None
        """Told who ended the server (`server` itself, or what of ours) before any open call is."""

    def run(self) -> int:
        """The whole life; every way out passes through the stack."""
        sys.setswitchinterval(SWITCH_S)
        leases.reap(self.environ)
        self._proxies = self._upstream()
        secrets = secret_sources.read(self.spec.secrets, self.environ)
        if self.prepared.login is not None:
            from sandbox.remote import logged_in

            self.spec, secrets = logged_in(self.spec, secrets, self.prepared.login)
        self._secrets = secrets
        # The sandbox is built while the log is opened; the server starts when both are done.
        running = self._start(secrets)
        memory.keep()  # not the gateway, which was forked just now and gives back nothing
        confirm(self.prepared)
        self.sink = self.stack.enter_context(self._sink(secrets))
        self.emit = self.sink.emit
        try:
            self._announce()
            running.release()
            self.status = self._serve(running)
        except AuditError as error:
            if not self.ran:  # 125 says that nothing ran
                raise
            self.note(str(error))
            self.status = BREACH
        except SandboxError as error:
            error.answerable = not self.ran
            self._close(error.exit_status, error.code)
            if fault := self.gateway.fault():
                error.what += f"\n{fault}"
            raise
        return self.status

    def _sink(self, secrets: tuple[tuple[str, str], ...]) -> Sink:
        # A decoy in a log would be found by whoever looks for a credential there.
        values = [value for _, value in (*secrets, *self.canaries)]
        self._redactor = Redactor(values)
        return Sink(
            self.id,
            self.spec.server,
            environ=self.environ,
            path=self.prepared.policy.audit.path,
            secrets=values,
        )

    def _announce(self) -> None:
        """What is about to run and what was waived, in the log before anything runs."""
        for event in opening(self.prepared, self._redactor):
            self.emit(event)
        if self.after is not None:
            self.emit(self.after)
        if any(name != "no_proxy" for name in self._proxies):
            self.emit(Event("waiver", {"what": PROXY_WAIVER}, rule="HTTPS_PROXY, HTTP_PROXY, ALL_PROXY"))
        if self.canaries:
            names: list[Value] = [name for name, _ in self.canaries]
            self.emit(Event("decoys", {"planted": names}, rule="isolation.decoys"))

    def _start(self, secrets: tuple[tuple[str, str], ...]) -> Running:
        _make_persistent_homes(self.spec)
        guarded = may_appear(self.spec.view, self.spec.waivers)
        self._absent = tuple(path for path in guarded if not os.path.lexists(path))
        lease = self._lease()
        path = leases.take(lease, self.environ)
        charge = Charge(self.spec.egress, self.canaries, self._proxies)
        if not gc.isenabled():
            gc.freeze()  # a child that looks for garbage would have a copy of all this
        remove = leases.socket_path(self.id, self.environ), path
        wanted = realising.Wanted(self.spec, self.id, self.environ, secrets, remove)
        try:
            self.gateway = Gateway()
            running = realising.realise(wanted, self.gateway.trap, self._early)
            self.stack.callback(self.gateway.close)
            self.stack.callback(_end, running, path, lease, self.environ, self.note)
            # Beside the sandbox's build, which goes on meanwhile.
            far = realising.far(self.spec, self.id, self.environ)
            self.gateway.start(charge, far, realising.gateway(self._early))
        except OSError as error:
            with suppress(FileNotFoundError):
                os.unlink(path)
            raise SandboxNotBuilt("sandbox-not-built", f"nothing ran: {error}", hint=LIMITS) from error
        return running

    def _lease(self) -> leases.Lease:
        """All that this session will make, before it makes any of it."""
        spec, own = self.spec, os.getpid()
        cgroups = tuple(places(spec.limits, self.id).values())
        started, profile = leases.start_time(own), self.prepared.policy.name
        lease = leases.Lease(self.id, spec.server, own, started, cgroups, spec.backend, profile)
        if spec.backend == "native":
            return lease
        from sandbox import containers

        return containers.with_containers(lease, self.environ)

    def _upstream(self) -> dict[str, str]:
        """The host's own proxy, for the gateway alone; that it resolves names is said, as any waiver is."""
        if not self.spec.egress.allow:
            return {}
        from sandbox.egress.upstream import settings

        found = settings(self.environ)
        if any(name != "no_proxy" for name in found):
            self.note(f"mcp-sandbox: waived: {PROXY_WAIVER}")
        return found

    def _serve(self, running: Running) -> int:
        # Imported here, while the sandbox is being built: msgspec and the relay cost more than the fork.
        from sandbox.audit.clerk import Clerk
        from sandbox.status import Status, Tally
        from sandbox.watch import Watch

        self.prepared = wait_for(self.prepared)  # the child is gone by now, and is no zombie any more
        tally = Tally()
        clerk = Clerk(self.sink, tally.count)
        self.emit = clerk.emit
        watch = Watch(
            self.prepared, running, clerk, self.gateway, self._redactor, self.canaries, self.id, self._secrets
        )
        self.stack.callback(watch.close)
        watch.count_from(self.began)
        running.ready(self.spec.argv[0])
        self.ran = True
        if not gc.isenabled():
            gc.freeze()  # what a start has made stays: to look through it takes a tenth of the start
            gc.enable()
        self.emit(Event("session.ready", _realised(running)))
        self.note = watch.note
        self._answer(Status(self.spec.limits, watch, tally))
        watch.run()
        return self._finish(running, watch)

    def _answer(self, status: Status) -> None:
        """Begins to say of itself what `ps` and `top` show; without that the server is as safe as with it."""
        from sandbox.control import Control

        control = Control(self.id, self.environ)
        self.stack.callback(control.close)
        try:
            control.open(status.answers())
        except OSError as error:
            self.note(f"warning: no-control\n  `mcp-sandbox ps` sees only the start of this session: {error}")

    def _finish(self, running: Running, watch: Watch) -> int:
        ended = running.wait(5.0) or Ended(signal=signal.SIGKILL)
        if watch.syscalls is not None:
            for excess in watch.syscalls.ended(ended.exit_status):
                watch.breaches.end(excess)  # what is over cannot be frozen
        watch.drain()
        if running.oom_kills:
            watch.out_of_memory(running.oom_kills)
        if running.lost:
            watch.breached("engine", running.lost)
        self.ending(who_ended(watch))
        failed = running.not_executed
        watch.fail_open_calls(ended, failed.line() if isinstance(failed, SandboxError) else "")
        if failed is not None and not watch.breach:
            raise failed
        planted = self._planted()
        status = exit_status(watch, ended.exit_status)
        if watch.breach != "audit":
            for path in planted:
                self.emit(Event("guard.planted", {"path": path}, rule="files.write"), sync=True)
            self._close(status, watch.breach or "end")
        return status

    def _planted(self) -> list[str]:
        """The guarded names that the server has made, which were absent before; a person is told of each."""
        made = [path for path in self._absent if os.path.lexists(path)]
        for path in made:
            self.note(f"warning: planted\n  the server made `{path}`, which programs outside run: look at it")
        return made

    def _close(self, status: int, reason: str) -> None:
        self.emit(Event("session.end", {"status": status, "reason": reason}), sync=True)


def _realised(running: Running) -> dict[str, Value]:
    return {"container": running.container} if running.container else {"init": running.init_pid or 0}


def _with_decoys(prepared: Prepared) -> tuple[Prepared, tuple[tuple[str, str], ...]]:
    """The same with this session's own decoys where the profile wants them, and their canaries."""
    if not prepared.policy.isolation.decoys:
        return prepared, ()
    from sandbox.plan.decoys import SEED, plant

    spec, planted = plant(prepared.spec, os.urandom(SEED))
    return replace(prepared, spec=spec), planted.canaries


def _make_persistent_homes(spec: Spec) -> None:
    for step in spec.view:
        if isinstance(step, Bind) and step.why == "files.persist":
            try:
                os.makedirs(step.source, mode=0o700, exist_ok=True)
            except OSError as error:
                what = f"the directory kept for `files.persist` cannot be made: {error}"
                raise SandboxNotBuilt("state-not-writable", what, rule=str(step.origin)) from error


def exit_status(watch: Watch, server: int) -> int:
    """124 for a breach, 128 + n for a signal that ended us, else the server's own.

    A server that we had to end because the client had closed stdin did nothing wrong: 0.
    """
    if watch.breach:
        return BREACH
    if watch.signalled:
        return 128 + watch.signalled
    return 0 if watch.stopped else server


def who_ended(watch: Watch) -> str:
    """`server` where it ended by itself, else the breach, a `signal` or the `client`."""
    if watch.breach:
        return watch.breach
    if watch.signalled:
        return "signal"
    return "client" if watch.stopped else "server"


def opening(prepared: Prepared, redactor: Redactor) -> list[Event]:
    """The first events of a session: start, package, waivers, spec."""
    spec, policy = prepared.spec, prepared.policy
    argv = spec.argv if spec.endpoint and spec.endpoint.remote else prepared.wish.command
    command: list[Value] = [*redactor.command(argv or policy.server.command)]
    names: list[Value] = [name for name, _ in spec.secrets]
    binds: list[Value] = [step.describe() for step in spec.view if isinstance(step, Bind)]
    events = [
        Event(
            "session.start",
            {"command": command, "profile": policy.name,
             "sources": [list(source) for source in policy.sources],
             "backend": spec.backend, "pid": os.getpid(), **_matched(prepared)},
        )
    ]  # fmt: skip
    if prepared.frozen is not None:
        kind = "supply.reuse" if prepared.frozen.reused else "supply.build"
        detail: dict[str, Value] = {"resolved": [*prepared.frozen.resolved], "digest": prepared.frozen.digest}
        events.append(Event(kind, detail))
    if prepared.lock is not None:
        events.append(prepared.lock.event(prepared.frozen.digest if prepared.frozen else ""))
    events += waived(prepared)
    events.append(
        Event(
            "spec",
            {"binds": binds,
             "sha256": spec_digest(spec), "network": spec.network, "hosts": hosts(spec),
             "syscalls": spec.syscalls, "limits": spec.limits.mechanism,
             "secrets": names},
        )
    )  # fmt: skip
    return events


def _matched(prepared: Prepared) -> dict[str, Value]:
    """What of the command the profile is for, and which paths were granted because the command names them."""
    found = prepared.matched
    return {} if found is None else {"package": found.package, "named": [*found.paths]}


def waived(prepared: Prepared) -> list[Event]:
    """Each waiver with the key that waives it."""
    if not prepared.spec.waivers:
        return []
    from sandbox.plan.egress import waiver_key  # brings the parser of hosts, which most starts do without

    return [
        Event("waiver", {"what": waiver}, rule=waiver_key(waiver, prepared.policy))
        for waiver in prepared.spec.waivers
    ]


def hosts(spec: Spec) -> list[Value]:
    """Every `host:port` that the server may reach, as a profile writes it."""
    if not spec.egress.allow:
        return []
    from sandbox.policy.hosts import spelt

    return [spelt(rule.host, rule.port) for rule in spec.egress.allow]


def spec_digest(spec: Spec) -> str:
    """SHA-256 over the view's steps and the network; of a file its size counts, not its public bytes."""
    steps = [(step.describe(), len(step.content) if isinstance(step, File) else 0) for step in spec.view]
    return sha256(repr((steps, spec.network, spec.egress)).encode()).hexdigest()


def new_id(server: str) -> str:
    """A session id that sorts by time and is a safe file name."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in server)[:24].strip("-_")
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{safe or 'server'}-{os.urandom(4).hex()}"


def _end(
    running: Running,
    path: str,
    lease: leases.Lease,
    environ: Mapping[str, str],
    note: Callable[[str], None],
) -> None:
    running.kill()
    running.wait(5.0)
    if not running.cleaned and not leases.release(path, lease, environ):
        what = f"something of session `{lease.session}` could not be removed: the next start tries again"
        note(f"warning: left-behind\n  {what}\n\nhint: mcp-sandbox ps --prune")
    for fd in (running.stdin, running.stdout, running.stderr):
        if fd >= 0:
            os.close(fd)
