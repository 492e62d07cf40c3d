"""What a session says of itself on its control socket, and what is known of all of this user's sessions."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sandbox import control, leases
from sandbox.event import Event

if TYPE_CHECKING:
    from sandbox.plan.spec import Limits
    from sandbox.policy.sample import Sample
    from sandbox.watch import Watch

OPEN_MAX = 20
NAME_MAX = 80
WARNED_MAX = 200
"""Open calls and characters: what a server and its client chose stays small."""
SHARE_S = 1.0
SETTLE_S = 0.4
PASS_S = 0.2
DENIED = {
    "egress.deny": "network",
    "dns.deny": "network",
    "tool.deny": "tools",
    "syscall.deny": "syscalls",
    "relay.dropped": "messages",
}
LIMITS = ("memory", "cpus", "pids", "open_files", "written", "cpu_time", "busy", "wall", "idle")


class Tally:
    """Counts what the log's events mean to a person; `count` is called for each, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = self.calls = self.answers = self.errors = 0
        self.denied = dict.fromkeys(DENIED.values(), 0)

    def count(self, event: Event) -> None:
        """Adds one event; one that stands for many counts as so many."""
        with self._lock:
            if (what := DENIED.get(event.kind)) is not None:
                self.denied[what] += _stands_for(event.detail)
            elif event.kind == "relay.request" and event.detail.get("direction") == "to-server":
                self.requests += 1
                self.calls += event.detail.get("method") == "tools/call"
            elif event.kind == "relay.response" and event.detail.get("direction") == "to-client":
                self.answers += 1
                self.errors += bool(event.detail.get("error"))

    def now(self) -> dict[str, Any]:
        """The numbers so far."""
        with self._lock:
            calls = {"requests": self.requests, "calls": self.calls}
            answers = {"answers": self.answers, "errors": self.errors}
            return {"messages": calls | answers, "denied": dict(self.denied)}


def _stands_for(detail: Mapping[str, Any]) -> int:
    counts = [detail.get(key) for key in ("count", "repeated", "further")]
    return sum(one for one in counts if isinstance(one, int)) or 1


class Status:
    """What one session says of itself, and what may be asked of it."""

    def __init__(self, limits: Limits, watch: Watch, tally: Tally) -> None:
        self._limits = limits
        self._watch = watch
        self._tally = tally

    def answers(self) -> control.Answers:
        """By the word that is asked."""
        return {
            "status": self.now,
            "resume": self.resume,
            "questions": self.questions,
            "question": self.question,
            "answer": self.answer,
        }

    def resume(self) -> dict[str, Any]:
        """A person lets a frozen sandbox go on."""
        return {"resumed": self._watch.resume()}

    def questions(self) -> dict[str, Any]:
        """What waits for a person's answer."""
        asking = self._watch.asking
        return {"questions": asking.questions() if asking else []}

    def question(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What one question asks, in words; None where it is not open any more."""
        asking = self._watch.asking
        return {"text": asking.text(str(given.get("question"))) if asking else None}

    def answer(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A person has decided; whether that was in time."""
        asking, done = self._watch.asking, list[bool]()
        if asking is None or type(given.get("yes")) is not bool:
            return {"answered": False}
        id, yes = str(given.get("question")), given["yes"]

        def pass_on() -> None:
            done.append(asking.answer(id, yes=yes))

        # Beside this thread: the call that goes on may wait for a server that does not read.
        passing = threading.Thread(target=pass_on, daemon=True)
        passing.start()
        passing.join(PASS_S)
        return {"answered": all(done)}

    def now(self) -> dict[str, Any]:
        """Everything, as JSON values; called in the control socket's own thread."""
        watch = self._watch
        name, version = watch.relay.client
        counts = watch.relay.counts
        warned = watch.breaches.warned
        return {
            "state": self._state(),
            "client": {"name": name, "version": version} if name else None,
            "era": watch.relay.era,
            **self._counted(),
            "bytes": {"to_server": counts.bytes_up, "to_client": counts.bytes_down},
            "open": self._open(),
            "use": use(self._samples(), time.monotonic()),
            "limits": {key: getattr(self._limits, key) for key in LIMITS},
            "mechanism": self._limits.mechanism,
            "warned": warned[:WARNED_MAX] or None,
            "waiting": self._waiting(),
        }

    def _waiting(self) -> int:
        """Calls that wait for a person at a terminal, or at their client."""
        asking = getattr(self._watch, "asking", None)
        return len(asking.questions()) if asking else 0

    def _counted(self) -> dict[str, Any]:
        found = self._tally.now()
        denied = found["denied"]
        if (syscalls := getattr(self._watch, "syscalls", None)) is not None:
            # The log has the first of each name, and the sums when it ends.
            denied["syscalls"] = syscalls.denied
        return {**found, "denied": denied | {"all": sum(denied.values())}}

    def _samples(self) -> list[Sample]:
        # There is a watchdog once the main loop runs.
        found = getattr(self._watch, "watchdog", None)
        return [*found.samples] if found else []

    def _state(self) -> str:
        if self._watch.breach or self._watch.signalled or self._watch.stopped:
            return "ending"
        return "frozen" if self._watch.breaches.frozen else "running"

    def _open(self) -> dict[str, Any]:
        calls = self._watch.relay.pending_calls()
        now = time.monotonic()
        told = [
            {
                "method": one.method[:NAME_MAX],
                "tool": (one.tool or "")[:NAME_MAX],
                "age": round(now - one.since, 1),
            }
            for one in calls[:OPEN_MAX]
        ]
        return {"all": len(calls), "oldest": told}


def use(samples: Sequence[Sample], now: float) -> dict[str, Any]:
    """The newest sample and how old it is, with the part of a processor that was used lately."""
    from sandbox.watchdog.watchdog import described  # for a session alone: `ps` does without

    if not samples:
        return {}
    last = samples[-1]
    # Over a second at least: two samples may lie a moment apart.
    earlier = [one for one in samples if last.moment - one.moment >= SHARE_S] or [samples[0]]
    span = last.moment - earlier[-1].moment
    busy = last.cpu - (earlier[-1].cpu or 0.0) if last.cpu is not None else None
    share = round(max(0.0, busy) / span, 3) if busy is not None and span > 0 else None
    return {**described(last), "share": share, "age": round(now - last.moment, 1)}


# --- all of them --------------------------------------------------------------------------------------

_SAID = tuple("client era messages denied bytes open limits mechanism use warned waiting".split())
"""What of a session's own words is shown; its state is looked at apart."""


def every(environ: Mapping[str, str], seconds: float = control.ASK_S) -> list[dict[str, Any]]:
    """All sessions of this user, the oldest first, with what each says of itself within `seconds`."""
    found = _settled(environ)
    answers = control.ask([one.session for one in found if one.lives], "status", environ, seconds)
    now = uptime()
    return [session(one, answers.get(one.session), environ, now) for one in found]


def _settled(environ: Mapping[str, str]) -> list[leases.Lease]:
    """All leases; one whose wrapper has just ended is its keeper's for a moment, and not left behind."""
    until = time.monotonic() + SETTLE_S
    found = leases.every(environ)
    while not all(one.lives for one in found) and time.monotonic() < until:
        time.sleep(SETTLE_S / 20)
        found = leases.every(environ)
    return found


def session(
    lease: leases.Lease, said: Mapping[str, Any] | None, environ: Mapping[str, str], now: float
) -> dict[str, Any]:
    """One session by its lease and by its own words, `now` seconds after the boot."""
    since = max(0.0, now - lease.started / os.sysconf("SC_CLK_TCK"))
    return {
        "server": lease.server,
        "session": lease.session,
        "state": _state(lease, said, environ),
        "backend": lease.backend,
        "profile": lease.profile,
        "pid": lease.pid,
        "uptime": round(since, 1),
        "container": lease.containers[0] if lease.containers else None,
        **{key: said[key] for key in _SAID if said is not None and key in said},
    }


def _state(lease: leases.Lease, said: Mapping[str, Any] | None, environ: Mapping[str, str]) -> str:
    if not lease.lives:
        return "left behind"
    if said is not None:
        return str(said.get("state", "running"))
    # Whoever has a socket and does not answer is stopped, or its machine is very busy.
    return "no answer" if os.path.exists(leases.socket_path(lease.session, environ)) else "starting"


def uptime() -> float:
    """Seconds since the boot, as the start times of processes count them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
