"""A build while it runs: its policy, its log, what its steps print and what they try to reach."""

from __future__ import annotations

import json
import os
import re
import select
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

from sandbox.audit.redact import Redactor
from sandbox.audit.sink import Sink
from sandbox.backend.running import Running
from sandbox.egress.charge import Charge
from sandbox.egress.upstream import settings
from sandbox.egress.words import DEFAULT_DENY, KINDS, LARGEST, SETTLE, SETTLED, WRITTEN
from sandbox.errors import BREACH, CannotEnforce, SandboxError
from sandbox.event import Event, Value
from sandbox.gateway import Far, Gateway
from sandbox.metering import watchdog
from sandbox.notices import one_line
from sandbox.plan.spec import Spec
from sandbox.policy import hosts
from sandbox.policy.load import load
from sandbox.policy.model import Origin, Policy
from sandbox.records import replace
from sandbox.session import PROXY_WAIVER, new_id, spec_digest
from sandbox.session import hosts as hosts_of
from sandbox.supply.job import BuildJob, BuildOutcome
from sandbox.watchdog.watchdog import Watchdog

PROFILE = "build"
LOG_BYTES = 4 << 20
RULE = "a build reaches the configured registries alone"
MOST_REACHED = 64
MOST_TOLD = 5
_WHERE_MAX = 300
_SETTLE_S, _FINISH_S, _END_S = 0.5, 0.3, 5.0
_PIECE = 1 << 16
_REGISTRY = Origin("the settings of the registries")
_HOSTS = Origin("[supply] hosts")

Note = Callable[[str], None]


def policy_of(job: BuildJob, extra: tuple[str, ...], environ: Mapping[str, str]) -> Policy:
    """The profile `build`, the user's or the shipped one, with the job's registries and `extra` allowed."""
    # From the root: a project may come with a profile of that name, and is not asked.
    policy = load(PROFILE, environ=environ, cwd="/")
    if policy.isolation.runtime != "default" or policy.isolation.decoys or policy.server.image:
        raise CannotEnforce(
            "cannot-build",
            "the profile `build` asks for a runtime, an image or decoys, which no build has",
            rule=policy.sources[0][0] if policy.sources else PROFILE,
            hint="leave `[isolation]` and `[server]` out of it",
        )
    # Whoever wrote the profile chose `extra`: those names lead to public addresses, as a server's do.
    asked = [replace(hosts.parse(text, _REGISTRY), anywhere=True) for text in job.hosts]
    asked += [hosts.parse(text, _HOSTS) for text in extra]
    network = replace(policy.network, allow=(*asked, *policy.network.allow))
    cpus = policy.quota.cpus if policy.origin("quota.cpus") != Origin("default") else None
    return replace(policy, network=network, quota=replace(policy.quota, cpus=cpus))


class Building:
    """One job from its first step to its last: a context manager that owns the log."""

    def __init__(self, job: BuildJob, policy: Policy, environ: Mapping[str, str], note: Note) -> None:
        self.session = new_id(PROFILE)
        self.policy = policy
        self._job = job
        self._note = note
        self._proxies = settings(dict(job.proxies))
        self._reached: dict[str, None] = {}
        self._room = LOG_BYTES
        self._stack = ExitStack()
        self._environ = environ
        self._begun = False
        self._deadline = time.monotonic() + (policy.quota.wall or float("inf"))
        self._breach = self._why = ""
        self._next = 0.0

    def __enter__(self) -> Building:
        with ExitStack() as opened:
            self._log = opened.enter_context(open(self._job.log, "ab", buffering=0))
            self._sink = opened.enter_context(Sink(self.session, PROFILE, environ=self._environ))
            self._stack = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def ended(self, status: int) -> BuildOutcome:
        """The last word of the log, and what the store is told."""
        reached = tuple(self._reached)
        detail: dict[str, Value] = {"status": status, "reason": self._breach or "end", "reached": [*reached]}
        self._sink.emit(Event("session.end", detail), sync=True)
        return BuildOutcome(status, reached, self._why)

    def step(self, running: Running, gateway: Gateway, spec: Spec, far: Far | None = None) -> int:
        """The exit status of one step that is being started; what it leaves running ends with it."""
        try:
            # Beside the sandbox's build, which goes on meanwhile.
            gateway.start(Charge(self.policy.network, (), self._proxies), far)
            ear = _Ear(gateway, self._sink, self._denied)
            self._announce(spec)
            running.release()
            running.ready(spec.argv[0])
            os.close(running.take_stdin())
            dog = watchdog(self.policy, spec, running, self._sink.emit, time.monotonic, lambda: ear.carried)
            try:
                self._carry(running, ear, dog)
            finally:
                dog.finish()
            return self._finished(running, ear)
        except SandboxError as error:
            if fault := gateway.fault():
                error.what += f"\n{fault}"
            raise
        finally:
            gateway.close()
            running.kill()
            running.wait(_END_S)
            for fd in (running.stdin, running.stdout, running.stderr):
                if fd >= 0:
                    os.close(fd)

    def _announce(self, spec: Spec) -> None:
        """What is about to run, in the log before anything runs."""
        emit, words = self._sink.emit, Redactor(()).command
        if not self._begun:
            sources: list[Value] = [list(source) for source in self.policy.sources]
            steps: list[Value] = [[*words(step)] for step in self._job.steps]
            emit(
                Event(
                    "session.start",
                    {"command": [*words((self._job.title,))], "profile": self.policy.name, "sources": sources,
                     "backend": spec.backend, "pid": os.getpid(), "steps": steps},
                )
            )  # fmt: skip
            if any(name != "no_proxy" for name in self._proxies):
                emit(Event("waiver", {"what": PROXY_WAIVER}, rule="the registries' settings"))
            self._begun = True
        emit(
            Event(
                "spec",
                {"sha256": spec_digest(spec), "network": spec.network, "hosts": hosts_of(spec),
                 "syscalls": spec.syscalls, "limits": spec.limits.mechanism, "command": [*words(spec.argv)]},
            )
        )  # fmt: skip

    # --- while it runs ------------------------------------------------------------------------------

    def _carry(self, running: Running, ear: _Ear, dog: Watchdog) -> None:
        """Until the step and all that it started are over, or something ends it."""
        outputs = {running.stdout, running.stderr}
        poll = select.poll()
        for fd in (*outputs, running.fileno(), ear.fd):
            poll.register(fd, select.POLLIN)
        for fd, events in dog.watched().items():
            poll.register(fd, events)
        ready: frozenset[int] = frozenset()
        while running.fileno() not in ready:
            if breach := self._exceeded(ear, dog, ready):
                self._break(*breach)
                running.kill()
            timeout = max(0.0, min(self._next, self._deadline) - time.monotonic())
            ready = frozenset(fd for fd, _ in poll.poll(min(timeout, 60.0) * 1000))
            for fd in outputs & ready:
                if not self._copied(fd):
                    poll.unregister(fd)
                    outputs.discard(fd)
            if ear.fd in ready and not ear.hear():
                poll.unregister(ear.fd)
        for fd in outputs:  # nobody writes any more
            while self._copied(fd):
                pass

    def _exceeded(self, ear: _Ear, dog: Watchdog, ready: frozenset[int]) -> tuple[str, str] | None:
        found, after = dog.look(time.monotonic(), ready)
        self._next = float("inf") if after is None else after
        if self._breach:
            self._next = float("inf")
            return None
        if time.monotonic() > self._deadline:
            self._deadline = float("inf")
            return "quota.wall", "the build took too long"
        return next(((one.key, one.why) for one in found), None) or ear.breach

    def _break(self, rule: str, why: str) -> None:
        self._breach, self._why = rule, f"{why} [{rule}]"
        self._sink.emit(Event("quota.breach", {"quota": rule, "why": why}, rule=rule))

    def _copied(self, fd: int) -> bool:
        """False at the end of that output; what is beyond the log's room is read and dropped."""
        data = os.read(fd, _PIECE)
        self._print(data)
        return bool(data)

    def _print(self, data: bytes) -> None:
        self._log.write(data[: self._room])
        self._room -= len(data[: self._room])

    def _finished(self, running: Running, ear: _Ear) -> int:
        ended = running.wait(_END_S)
        ear.finish()
        if running.oom_kills and not self._breach:
            self._break("quota.memory", "the memory of the build ran out")
        if not self._breach and ear.breach:
            self._break(*ear.breach)
        return BREACH if self._breach or ended is None else ended.exit_status

    def _denied(self, where: str, reason: str) -> None:
        """Remembers what a step wanted; a person is told of the first few."""
        # A package chose it: nothing of it may look like more than a name.
        where = re.sub(r"[^A-Za-z0-9_.:\[\]-]", "?", where)[:_WHERE_MAX]
        if where.endswith(".arpa") or where in self._reached or len(self._reached) >= MOST_REACHED:
            return
        self._reached[where] = None
        if len(self._reached) <= MOST_TOLD:
            self._note(f"{self._job.title} tried to reach `{where}` while it was built: denied, {reason}")


class _Ear:
    """What the gateway of one step says: into the log, then answered."""

    def __init__(self, gateway: Gateway, sink: Sink, denied: Callable[[str, str], None]) -> None:
        self.fd = gateway.channel
        self.carried = (0, 0)
        self.breach: tuple[str, str] | None = None
        self._gateway, self._sink, self._tell = gateway, sink, denied

    def hear(self) -> bool:
        """Takes one fact; False once nothing more is said, which is a breach while the step runs."""
        data = os.read(self.fd, LARGEST)
        if not data:
            self._end("gateway", "the egress gateway ended, and no way out is left")
            return False
        self._heard(data)
        return True

    def _heard(self, data: bytes) -> None:
        """It reads what a hostile program says: what of it cannot be read ends the build."""
        if data in (SETTLED, b""):
            return
        try:
            said = json.loads(data)
            if not isinstance(said, dict):
                raise TypeError(data)
            self._take(said)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            self._end("gateway", f"what the egress gateway says cannot be read: {type(error).__name__}")

    def _take(self, said: Mapping[str, Any]) -> None:
        if "fault" in said:
            self._end("gateway", f"the egress gateway failed: {said['fault']}")
            return
        if "kind" in said:
            self._record(said)
        if "quiet" not in said:
            with suppress(OSError):
                os.write(self.fd, WRITTEN)
        if "where" in said:
            why = one_line(str(said.get("detail", {}).get("reason", "")))
            self._tell(str(said["where"]), RULE if said.get("rule") == DEFAULT_DENY else why)
        if "breach" in said:
            self._end(str(said["breach"]), str(said["why"]))

    def _record(self, said: Mapping[str, Any]) -> None:
        kind, detail = said["kind"], dict(said["detail"])
        if kind not in KINDS:
            raise ValueError("a kind of event that is not the gateway's")
        if kind == "egress.close":
            up, down = self.carried
            self.carried = up + int(detail.get("up", 0)), down + int(detail.get("down", 0))
        rule = str(said.get("rule", ""))
        self._sink.emit(Event(kind, detail, rule=RULE if rule == DEFAULT_DENY else rule))

    def _end(self, rule: str, why: str) -> None:
        self.breach = self.breach or (rule, why)

    def finish(self) -> None:
        """Hears what there is to say of a step that is over, for a bounded time."""
        if self._gateway.ask(SETTLE):
            self._until(_SETTLE_S, SETTLED)
        self._gateway.hang_up()
        self._until(_FINISH_S, b"")

    def _until(self, seconds: float, last: bytes) -> None:
        """Takes facts until the `last` message."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and select.select([self.fd], [], [], left)[0]:
            data = os.read(self.fd, LARGEST)
            self._heard(data)
            if data == last or not data:
                return
