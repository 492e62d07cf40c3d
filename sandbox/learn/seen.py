"""What one contained run showed, from its own log: names asked for, files, calls, and what it used (P)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sandbox.egress import decide
from sandbox.policy import hosts
from sandbox.records import dataclass, field

MOST_HOSTS: Final = 64
"""Hosts that one learning asks about: a name is as long as a message."""
_STRENGTH = {"look": 0, "read": 1, "start": 2, "write": 3}
# Any address and name: only the reasons of these answers are wanted, as decided for an empty list.
_ANY, _NAME = "192.0.2.1", "a.example"
_ROUTED = (decide.route((), _ANY, 1, _NAME), decide.route((), _ANY, 1, None))
_LOCAL = decide.route((), "127.0.0.1", 1, None)
_UNLISTED = {
    one.reason
    for one in (*_ROUTED, _LOCAL, decide.stray("tcp", _ANY, 1, None), decide.lookup((), _NAME))
    if isinstance(one, decide.Denied)
}
"""Why something is denied that merely nobody has allowed; every other reason is for nobody to grant."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A system call that the tier does not make."""

    call: str
    dangerous: bool
    why: str
    count: int


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most that was used; 0 where nothing on this host tells it."""

    memory: int = 0
    pids: int = 0
    open_files: int = 0
    home: int = 0
    """Bytes in the home."""
    sent: int = 0
    received: int = 0
    """Bytes of connections that are over."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything of one run."""

    reached: Mapping[str, int] = field(default_factory=dict)
    """By `host:port`, the connections that were let through."""
    wanted: Mapping[str, int] = field(default_factory=dict)
    """Hosts that nobody has allowed, as `--allow-net` takes them."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """What was let through and could not be reached, and why."""
    hopeless: Mapping[str, str] = field(default_factory=dict)
    """What was denied for another reason, and which."""
    granted: Mapping[str, str] = field(default_factory=dict)
    """By mounted place, the most that was meant with it: `look`, `read`, `start`, `write`."""
    home: Mapping[str, str] = field(default_factory=dict)
    """The same by path in its own home."""
    outside: Mapping[str, str] = field(default_factory=dict)
    """The same by path that the view does not have."""
    started: tuple[str, ...] = ()
    """Programs of the view that it started, or tried to on its way through `PATH`."""
    more: int = 0
    """Calls with paths beyond those that are kept."""
    refused: tuple[Refused, ...] = ()
    peaks: Peaks = Peaks()
    breach: str = ""
    status: int | None = None


def seen(events: Iterable[Mapping[str, Any]], home: str) -> Seen:
    """All of one session's events, in order; `home` is the server's."""
    made = _Collected()
    for event in events:
        made.take(str(event["kind"]), event.get("detail") or {}, str(event.get("rule", "")))
    return made.seen(home)


class _Collected:
    def __init__(self) -> None:
        self.reached: dict[str, int] = {}
        self.wanted: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        self.hopeless: dict[str, str] = {}
        self.files: dict[str, dict[str, str]] = {"granted": {}, "home": {}, "outside": {}, "inside": {}}
        self.more = self.sent = self.received = 0
        self.refused: dict[str, Refused] = {}
        self.samples: list[Mapping[str, Any]] = []
        self.breach, self.status = "", None

    def take(self, kind: str, detail: Mapping[str, Any], rule: str) -> None:
        """One event."""
        if kind == "egress.allow":
            _count(self.reached, hosts.spelt(str(detail["host"]), int(detail["port"])))
        elif kind == "egress.close":
            self._closed(detail)
        elif kind in ("egress.deny", "dns.deny"):
            self._denied(detail, kind)
        elif kind == "file.used":
            self._used(detail)
        elif kind == "syscall.deny":
            self._refused(detail)
        elif kind in ("quota.sample", "quota.breach"):
            self._measured(detail, kind, rule)
        elif kind == "session.end":
            self.status = detail.get("status")

    def _closed(self, detail: Mapping[str, Any]) -> None:
        where = hosts.spelt(str(detail["host"]), int(detail["port"]))
        self.sent, self.received = self.sent + int(detail["up"]), self.received + int(detail["down"])
        if where not in self.reached and len(self.failed) < MOST_HOSTS:
            self.failed[where] = str(detail["end"])

    def _denied(self, detail: Mapping[str, Any], kind: str) -> None:
        host, port = str(detail.get("host", "")), int(detail.get("port") or 0)
        reason = str(detail.get("reason"))
        grant = grantable(host, port) if reason in _UNLISTED else ""
        if grant:
            _count(self.wanted, grant)
        elif host and (kind == "egress.deny" or reason not in _UNLISTED) and len(self.hopeless) < MOST_HOSTS:
            self.hopeless.setdefault(hosts.spelt(host, port) if port else host, reason)

    def _used(self, detail: Mapping[str, Any]) -> None:
        place, path, intent = str(detail["place"]), str(detail["path"]), str(detail["intent"])
        if not path.startswith("/"):
            self.more += int(detail["count"])
            return
        kept = self.files[place]
        if _STRENGTH[intent] > _STRENGTH.get(kept.get(path, ""), -1):
            kept[path] = intent

    def _refused(self, detail: Mapping[str, Any]) -> None:
        call = str(detail["call"])
        before = self.refused.get(call)
        count = int(detail.get("count", 1))
        if before is not None:
            self.refused[call] = Refused(call, before.dangerous, before.why, max(before.count, count))
        else:
            dangerous = detail.get("class") == "dangerous"
            self.refused[call] = Refused(call, dangerous, str(detail.get("why", "")), count)

    def _measured(self, detail: Mapping[str, Any], kind: str, rule: str) -> None:
        if kind == "quota.breach":
            self.breach = self.breach or rule or str(detail.get("quota", ""))
        else:
            self.samples.append(detail)

    def seen(self, home: str) -> Seen:
        return Seen(
            self.reached,
            self.wanted,
            {where: why for where, why in self.failed.items() if where not in self.reached},
            self.hopeless,
            self.files["granted"],
            self.files["home"],
            self.files["outside"],
            tuple(self.files["inside"]),
            self.more,
            tuple(self.refused.values()),
            self._peaks(home),
            self.breach,
            self.status,
        )

    def _peaks(self, home: str) -> Peaks:
        def most(*names: str) -> int:
            return max((int(one[name]) for one in self.samples for name in names if name in one), default=0)

        held = [one["disks"][home]["used"] for one in self.samples if home in one.get("disks", {})]
        return Peaks(
            most("memory", "peak"),
            most("pids"),
            most("open_files"),
            max(held, default=0),
            self.sent,
            self.received,
        )


def grantable(host: str, port: int) -> str:
    """What `--allow-net` takes to grant exactly this; empty where nothing should."""
    denied = decide.lookup((), host) if not port else decide.stray("tcp", host, port, None)
    return denied.grant if denied is not None else ""


def _count(counts: dict[str, int], key: str) -> None:
    if key in counts or len(counts) < MOST_HOSTS:
        counts[key] = counts.get(key, 0) + 1
