"""Learns what a server needs: contained runs, each with what was granted after the one before, until no more.

Nothing is let through to find out what it is: what is refused is in the log, a person is asked about it, and
the next run has it or goes without.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from typing import Final

from sandbox.examine.conversation import Calls
from sandbox.learn.exercise import NotLearnt, Run, exercise
from sandbox.learn.seen import Seen
from sandbox.learn.wants import HOST, READ, WRITE, Host, Want, beyond, wants
from sandbox.matching import named_paths
from sandbox.policy import hosts, paths
from sandbox.policy.flags import Flags
from sandbox.policy.secret_places import secret_places
from sandbox.prepare import prepare
from sandbox.prepared import Prepared, Wish
from sandbox.records import dataclass, field, replace
from sandbox.supply.request import Request, parse

MOST_RUNS: Final = 8
"""Each yes may show the next want; a server that always has another one is not followed for ever."""
MOST_QUESTIONS: Final = 24
MOST_SHOWN: Final = 8
TRUSTED: Final = "`--trust-network`: the server was let connect to every name that it asked for"
BASES: Final = {"npm": "node", "pypi": "python"}


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be learnt, and who decides about what is wanted."""

    wish: Wish
    calls: Calls
    ask: Callable[[Want], bool]
    note: Callable[[str], None]
    """What a session of ours says."""
    progress: Callable[[str], None]
    trust_network: bool = False


@dataclass(frozen=True, slots=True)
class Learnt:
    """The last run, what it was granted, and what everybody said to the rest."""

    prepared: Prepared
    run: Run
    runs: int
    granted: tuple[Want, ...]
    declined: tuple[Want, ...]
    left: tuple[Want, ...] = field(default_factory=tuple)
    """What nobody is asked about."""


def base_of(command: tuple[str, ...]) -> str:
    """The shipped profile that a server of this kind begins with."""
    request = parse(command)
    if request is not None:
        return BASES[request.ecosystem]
    program = os.path.basename(command[0]) if command else ""
    if program.startswith("python"):
        return "python"
    return "node" if program in ("node", "nodejs", "bun") else "base"


def with_named_paths(wish: Wish) -> Wish:
    """The paths that the command itself names, to be read: the person who typed them means them."""
    home = wish.environ.get("HOME", "")
    named = named_paths(_arguments(parse(wish.command), wish.command), home, wish.cwd)
    held = {*wish.flags.allow_read, *wish.flags.allow_write}
    fresh = [path for path in named.values() if not _covered(path, held) and not secret(path, wish)]
    return replace(wish, flags=replace(wish.flags, allow_read=(*wish.flags.allow_read, *fresh)))


def _arguments(request: Request | None, command: tuple[str, ...]) -> tuple[str, ...]:
    return request.args if request is not None else command[1:]


def _covered(path: str, places: set[str]) -> bool:
    return any(place.startswith("/") and paths.below(path, place.partition(":")[0]) for place in places)


def study(order: Order) -> Learnt:
    """Runs it until a run brings nothing new that is granted."""
    wish, granted, declined = order.wish, list[Want](), list[Want]()
    for number in range(1, MOST_RUNS + 1):
        order.progress(f"run {number}, contained")
        prepared = prepare(wish, order.progress)
        if order.trust_network:
            spec = replace(prepared.spec, waivers=(*prepared.spec.waivers, TRUSTED))
            prepared = replace(prepared, spec=spec)
        run = exercise(prepared, order.calls, order.note)
        found = wants(run.seen, prepared.spec, known(run.seen, wish))
        fresh = _decided(order, beyond(found, [*granted, *declined]), granted, declined)
        if not fresh:
            break
        wish = replace(wish, flags=_with(wish.flags, fresh))
    left = tuple(one for one in found if one.never)
    return Learnt(prepared, run, number, tuple(granted), tuple(declined), left)


def require_answers(learnt: Learnt) -> None:
    """Raises `NotLearnt` where the server left the conversation: what it did until then says too little."""
    if not learnt.run.silence:
        return
    missed = [f"{one.key} {one.value}" for one in (*learnt.declined, *learnt.left) if one.counts]
    what = f"the server did not answer to the end: {learnt.run.silence}"
    if missed:
        what += f"\nit went without: {', '.join(missed[:MOST_SHOWN])}"
    raise NotLearnt("not-learnt", what, hint=_grants(learnt.declined))


def _grants(declined: tuple[Want, ...]) -> str:
    options = {HOST: "--allow-net", READ: "--allow-read", WRITE: "--allow-write"}
    return " ".join(f"{options[one.key]} {shlex.quote(one.value)}" for one in declined[:MOST_SHOWN])


def _decided(order: Order, found: tuple[Want, ...], granted: list[Want], declined: list[Want]) -> list[Want]:
    fresh = []
    for one in found:
        yes = _trusted(order, one) or (len(granted) + len(declined) < MOST_QUESTIONS and order.ask(one))
        (granted if yes else declined).append(one)
        fresh += [one] if yes else []
    return fresh


def _trusted(order: Order, want: Want) -> bool:
    """Names alone: an address and a port of this machine's own are asked about all the same."""
    if not order.trust_network or want.key != HOST:
        return False
    host = hosts.parse(want.value).host
    return host != "localhost" and not hosts.literal(host)


def _with(flags: Flags, fresh: list[Want]) -> Flags:
    def of(key: str) -> tuple[str, ...]:
        return tuple(one.value for one in fresh if one.key == key)

    read = (*flags.allow_read, *(one.value for one in fresh if one.key not in (HOST, WRITE)))
    return replace(
        flags,
        allow_net=(*flags.allow_net, *of(HOST)),
        allow_read=read,
        allow_write=(*flags.allow_write, *of(WRITE)),
    )


# --- this host -------------------------------------------------------------------------------------------


def known(seen: Seen, wish: Wish) -> Host:
    """Which of the paths that a server asked for exist here, and which of those are secret."""
    there = frozenset(path for path in seen.outside if os.path.lexists(path))
    return Host(there, {path: why for path in there if (why := secret(path, wish))})


def secret(path: str, wish: Wish) -> str:
    """Why a mount of `path` would show what no server should see; empty where it would not."""
    home = wish.environ.get("HOME", "")
    places = secret_places(home, wish.environ)
    for one in {path, os.path.realpath(path)}:
        for exposure in paths.exposures(one, home=home, places=places):
            return exposure.reason
    return ""


def at_home(seen: Seen, wish: Wish, home: str) -> Mapping[str, str]:
    """What it looked for in its own home and the caller has in theirs, by the caller's path."""
    real = wish.environ.get("HOME", "")
    own = {path: f"{real}{path.removeprefix(home)}" for path in seen.home}
    return {theirs: seen.home[path] for path, theirs in own.items() if real and os.path.lexists(theirs)}
