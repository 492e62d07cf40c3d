"""One contained look at a server: who it says it is, all that it lists, what it tries to reach and read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from sandbox import inspection, secrecy, secret_sources
from sandbox.errors import SandboxError
from sandbox.examine.conversation import REVISIONS, Conversation, Era
from sandbox.examine.examine import ERAS, settle
from sandbox.examine.judging import Judge
from sandbox.examine.judging import Seen as Suspicion
from sandbox.examine.started import started
from sandbox.examine.talk import Silence, talk
from sandbox.inspect.canonical import NAMES
from sandbox.inspect.pinned import Item, Pinned
from sandbox.inspect.pins import Pins
from sandbox.learn.exercise import LINGER_S, linger, logged, observed
from sandbox.learn.seen import Seen, seen
from sandbox.pins import concealed, known_as
from sandbox.plan.spec import Bind, Tmpfs, ViewStep
from sandbox.prepared import Prepared
from sandbox.records import dataclass, field, replace
from sandbox.supply.lock import PinLock

MOST_WANTED: Final = 64
"""Hosts, and files, that one look keeps."""
_PASSING: Final = ("/proc/", "/tmp/", "/sys/", "/dev/")  # noqa: S108 - it is left out
_NUMBERED: Final = re.compile(r"[0-9a-f]{8}|[0-9]{5}")


Grants = Literal["as-run", "none"]
"""`none`: of a version that nobody has agreed to, which gets no secret, no network and nothing to write."""
_PLACEHOLDER: Final = "mcp-sandbox-placeholder"
_HOME_BYTES: Final = 64 << 20


class NotLooked(SandboxError):
    """The server did not answer to the end of its lists: what it is, nobody knows."""

    exit_status = 1


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look saw."""

    server: str
    """Name and version that it gives itself."""
    protocol: str
    """The newest revision that it spoke."""
    pins: tuple[PinLock, ...]
    wants: tuple[str, ...] = ()
    """Hosts that it tried to reach, allowed or not: `name:port`."""
    files: tuple[str, ...] = ()
    """Paths outside of its view that it tried to read, write or start: `read /home/me/.netrc`."""
    calls: tuple[str, ...] = ()
    """System calls that its tier does not make."""
    items: Mapping[str, Mapping[str, Item]] = field(default_factory=dict)
    """By kind and name: the definitions that `pins` names, with their texts, secrets taken out."""
    found: tuple[Suspicion, ...] = ()
    """What the inspectors have against it."""
    cut: tuple[str, ...] = ()
    """Lists whose end was not reached: what came after is in no pin."""


def look(
    prepared: Prepared,
    note: Callable[[str], None],
    *,
    grants: Grants = "as-run",
    eras: Sequence[Era] = ERAS,
    wait: float = LINGER_S,
) -> Looked:
    """Starts it once for each era, contained as by `run`; `NotLooked` where its lists were not read."""
    bare, around = _kept(prepared if grants == "as-run" else without_grants(prepared))
    memory = Memory(prepared.spec.server, around.clean)
    led: list[tuple[Conversation, Judge, Seen]] = []
    refused: list[str] = []
    for era in eras:
        # What it does of its own accord it does in its first session too.
        one = _session(bare, around, memory, _Visit(era, note, wait if era == eras[0] or not led else 0.0))
        conversation = one[0]
        if conversation.opened is None:
            refused.append(conversation.refused or "the server has ended")
        else:
            led.append(one)
    if not led:
        raise _unheard(f"it cannot be spoken to: {', '.join(dict.fromkeys(refused))}")
    return _together(led, memory.pinned, around.clean, prepared.spec.identity.home)


@dataclass(frozen=True, slots=True)
class _Visit:
    era: Era
    note: Callable[[str], None]
    wait: float


def _session(
    prepared: Prepared, around: inspection.Around, memory: Memory, visit: _Visit
) -> tuple[Conversation, Judge, Seen]:
    """One conversation to its end, and what the log of its session says."""
    pins = Pins(memory.pinned.server, memory, Silent(), locked=False)
    judge = Judge([pins, *inspection.examiners(prepared, around)], around.clean)
    conversation, silence = Conversation(visit.era), ""
    settle()
    with started(prepared, visit.note) as running:
        try:
            talk(running, conversation, judge, prepared.spec.message)
            linger(running, visit.wait)
        except Silence as broken:
            silence = str(broken)
        running.end()
    if silence and conversation.opened is not None:
        raise _unheard(silence)
    log = logged(prepared.wish.environ, running.pid, prepared.policy.audit.path)
    return conversation, judge, seen(log, prepared.spec.identity.home)


def without_grants(prepared: Prepared) -> Prepared:
    """The same sandbox, from which nothing gets out: what it would do with a secret it does with none."""
    spec = prepared.spec
    view = tuple(map(_unwritable, spec.view))
    egress = replace(spec.egress, allow=(), budgets=())
    held = dict(spec.env) | {name: _PLACEHOLDER for name, _ in spec.secrets}
    harmless = replace(spec, view=view, egress=egress, env=tuple(held.items()), secrets=())
    policy = replace(prepared.policy, network=replace(prepared.policy.network, allow=(), budgets=()))
    return replace(prepared, spec=harmless, policy=policy)


def _unwritable(step: ViewStep) -> ViewStep:
    if not isinstance(step, Bind) or not step.writable:
        return step
    if step.why == "files.persist":
        return Tmpfs(step.target, _HOME_BYTES, mode=0o700)
    return replace(step, writable=False)


def _unheard(why: str) -> NotLooked:
    return NotLooked("not-looked", f"the server's lists could not be read to their end: {why}")


def _kept(prepared: Prepared) -> tuple[Prepared, inspection.Around]:
    """The session's order, whose secrets are read once, and what keeps these out of all that is kept."""
    secrets = secret_sources.read(prepared.spec.secrets, prepared.wish.environ)
    watched = observed(prepared)
    around = replace(inspection.ALONE)
    mode = prepared.policy.inspect.secrets
    inspect = replace(prepared.policy.inspect, secrets="redact" if mode == "off" else mode)
    judged = replace(prepared, policy=replace(prepared.policy, inspect=inspect))
    keeping = secrecy.of(judged, "look", secrets, (), around.emit)
    if keeping is not None:
        around = replace(around, clean=keeping.text, secrecy=keeping)
    environ = {**prepared.wish.environ, **dict(secrets)}
    spec = replace(watched.spec, secrets=tuple((name, "env") for name, _ in secrets))
    return replace(watched, spec=spec, wish=replace(prepared.wish, environ=environ)), around


class Memory:
    """Pins that are kept nowhere: all that a first session would pin (`inspect.pin_view.Store`)."""

    def __init__(self, server: str, clean: Callable[[str], str]) -> None:
        self.pinned = Pinned(server)
        self._clean = clean

    def read(self) -> Pinned:
        """What was seen until now."""
        return self.pinned

    def first(self, kind: str, items: Mapping[str, Item]) -> Pinned:
        """Keeps what was not seen yet."""
        self.pinned.first(kind, items)
        return self.pinned

    def hold(self, kind: str, items: Mapping[str, Item]) -> Pinned:
        """What another era lists otherwise is no pin: the first definition counts."""
        return self.pinned

    def withdraw(self, kind: str, keys: list[str]) -> None:
        """Nothing waits here."""

    def known_as(self, key: str) -> str:
        """As the pins of a session name it."""
        return known_as(key, self._clean)

    def conceal(self, value: Any) -> Any:
        """As the pins of a session keep it."""
        return concealed(value, self._clean)


class Silent:
    """Nobody is told of what is only looked at (`inspect.pin_view.Telling`)."""

    def pinned(self, kind: str, keys: list[str]) -> None:
        """Not a word."""

    def withheld(self, kind: str, key: str, what: str) -> None:
        """Not a word."""

    def approved(self, kind: str, key: str) -> None:
        """Not a word."""


# --- what came of it ---------------------------------------------------------------------------------


def _together(
    led: Sequence[tuple[Conversation, Judge, Seen]], pinned: Pinned, clean: Callable[[str], str], home: str
) -> Looked:
    found: dict[tuple[str, ...], Suspicion] = {}
    for _, judge, _ in led:
        found = {**judge.seen, **found}
    runs = [run for _, _, run in led]
    return Looked(
        " ".join(filter(None, map(clean, led[0][0].identity))),
        max(clean(_revision(one)) for one, _, _ in led),
        pins_of(pinned.approved),
        _few(hosts(run) for run in runs),
        _few(files(run, home) for run in runs),
        _few({one.call for one in run.refused} for run in runs),
        pinned.approved,
        tuple(one for one in found.values() if one.finding.inspector != Pins.name),
        tuple(dict.fromkeys(method for one, _, _ in led for method in one.cut)),
    )


def _revision(conversation: Conversation) -> str:
    agreed = (conversation.opened or {}).get("protocolVersion")
    return agreed if type(agreed) is str else REVISIONS[conversation.era]


def pins_of(items: Mapping[str, Mapping[str, Item]]) -> tuple[PinLock, ...]:
    """What a lock keeps of definitions, in an order that is always the same."""
    return tuple(
        PinLock(kind, key, item.digest) for kind in NAMES for key, item in sorted(items.get(kind, {}).items())
    )


def hosts(run: Seen) -> set[str]:
    """Every host that it tried to reach."""
    return {*run.reached, *run.wanted, *run.failed, *run.hopeless}


def files(run: Seen, home: str) -> set[str]:
    """What it meant to open and has not: paths of this machine, and whatever it reads in a home (`~/…`)."""
    outside = {path: how for path, how in run.outside.items() if os.path.lexists(path)}
    own = {f"~{path.removeprefix(home)}": how for path, how in run.home.items() if how == "read"}
    named = ((how, path) for path, how in {**outside, **own}.items() if not _passing(path))
    return {f"{how} {path}" for how, path in named if how != "look"}  # every program looks around


def _passing(path: str) -> bool:
    """Whether it is called otherwise the next time: by a process, a moment or a chance."""
    return path.startswith(_PASSING) or _NUMBERED.search(path) is not None


def _few(found: Iterable[set[str]]) -> tuple[str, ...]:
    return tuple(sorted(set().union(*found))[:MOST_WANTED])
