"""What a run wanted beyond its policy, and what of the policy it did not use: one row each (P)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sandbox.learn.seen import Seen
from sandbox.plan.spec import Bind, Spec
from sandbox.policy import hosts
from sandbox.policy.model import Policy
from sandbox.policy.paths import below
from sandbox.records import dataclass

MACHINE: Final = tuple(f"/{name}" for name in "proc sys dev usr lib lib64 bin sbin etc run var boot".split())
"""Where programs look on any machine: told, and granted by nobody's yes."""
SYSTEM, NOT_NEEDED = "a place of the system", "not needed"
HOST, READ, WRITE, CALL, LIMIT = "network.allow", "files.read", "files.write", "syscalls", "quota"


@dataclass(frozen=True, slots=True)
class Want:
    """A key of the profile, the value that would grant it, and what was seen."""

    key: str
    value: str
    why: str
    never: str = ""
    """Why `learn` does not offer to grant it; empty where a person may."""

    @property
    def counts(self) -> bool:
        """Whether it is a finding, and not what programs try on any machine."""
        return self.never not in (SYSTEM, NOT_NEEDED)

    def row(self) -> dict[str, Any]:
        """As `--json` has it."""
        return {"key": self.key, "value": self.value, "why": self.why, "grantable": not self.never}


@dataclass(frozen=True, slots=True)
class Host:
    """What is known of the paths that a server asked for: which there are, and what is secret."""

    there: frozenset[str]
    secret: Mapping[str, str]
    """Why a path is not for servers to see."""


def wants(seen: Seen, spec: Spec, host: Host) -> tuple[Want, ...]:
    """Hosts first, then files, then the rest; nothing that the run was granted."""
    return (*_hosts(seen), *_writes(seen, spec), *_files(seen, host), *_calls(seen), *_limits(seen))


def network_untouched(seen: Seen) -> bool:
    """Whether nothing at all was asked of the network."""
    return not (seen.reached or seen.wanted or seen.failed or seen.hopeless)


def _hosts(seen: Seen) -> Iterator[Want]:
    for grant, count in seen.wanted.items():
        yield Want(HOST, grant, f"asked for {times(count)}")
    for where, reason in seen.hopeless.items():
        yield Want(HOST, where, f"refused: {reason}", never=reason)


def _writes(seen: Seen, spec: Spec) -> Iterator[Want]:
    writable = {step.target for step in spec.view if isinstance(step, Bind) and step.writable}
    for place, intent in seen.granted.items():
        if intent == "write" and place not in writable:
            yield Want(WRITE, place, "it tried to change something there, and may only read")


def _files(seen: Seen, host: Host) -> Iterator[Want]:
    for path, intent in seen.outside.items():
        if path in host.there:
            key = WRITE if intent == "write" else READ
            yield Want(key, path, _MEANT[intent], never=_never(path, host))


_MEANT = {
    "look": "it looked whether it is there",
    "read": "it tried to read it",
    "start": "it tried to start it",
    "write": "it tried to change it",
}


def _never(path: str, host: Host) -> str:
    if any(below(path, one) for one in MACHINE):
        return SYSTEM
    return f"secret: {host.secret[path]}" if path in host.secret else ""


def _calls(seen: Seen) -> Iterator[Want]:
    for one in seen.refused:
        why = f"{one.why}; called {times(one.count)}"
        yield Want(CALL, one.call, why, never="dangerous" if one.dangerous else NOT_NEEDED)


def _limits(seen: Seen) -> Iterator[Want]:
    if seen.breach:
        yield Want(LIMIT, seen.breach, "the run was ended for it", never="a limit")


def unused(seen: Seen, policy: Policy, spec: Spec) -> tuple[Want, ...]:
    """What the policy grants and this run did without."""
    return (*_unreached(seen, policy), *_untouched(seen, spec))


def _unreached(seen: Seen, policy: Policy) -> Iterator[Want]:
    reached = [hosts.parse(where) for where in seen.reached]
    for rule in policy.network.allow:
        if not any(hosts.match((rule,), one.host, one.port) for one in reached):
            yield Want(HOST, hosts.spelt(rule.host, rule.port), "no connection was made")


def _untouched(seen: Seen, spec: Spec) -> Iterator[Want]:
    if spec.backend != "native":
        return  # nobody sees what is done with files there
    for step in granted(spec):
        intent = seen.granted.get(step.target)
        if intent is None:
            yield Want(step.why, step.source, "it was not used")
        elif step.writable and intent != "write":
            yield Want(WRITE, step.source, "nothing was changed there")


def granted(spec: Spec) -> list[Bind]:
    """The mounts that a profile or an option asked for."""
    asked = (READ, WRITE)
    return [step for step in spec.view if isinstance(step, Bind) and step.why in asked]


def beyond(found: Iterable[Want], known: Sequence[Want]) -> tuple[Want, ...]:
    """Those that nobody was asked about yet and a person may grant."""
    held = {(one.key, one.value) for one in known}
    return tuple(one for one in found if not one.never and (one.key, one.value) not in held)


def times(count: int) -> str:
    """How often, in words."""
    return "once" if count == 1 else f"{count} times"
