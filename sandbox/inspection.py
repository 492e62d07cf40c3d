"""Which inspectors a session has, and what they are given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from sandbox import first_looks
from sandbox.policy.breach import key_origin, place
from sandbox.prepared import Prepared
from sandbox.records import dataclass, replace

if TYPE_CHECKING:
    from sandbox.event import Event, Value
    from sandbox.inspect.judged import Finding, Inspector
    from sandbox.inspect.poison import Poison
    from sandbox.inspect.poison_texts import Looker
    from sandbox.pins import Store
    from sandbox.policy.model import Policy
    from sandbox.relay.inspection import About, Inspection
    from sandbox.secrecy import Secrecy
    from sandbox.supply.lock import PinLock
    from sandbox.wire.jsonrpc import Frame

_KEYS = {"protocol": "inspect.protocol", "pins": "tools.pin", "poison": "inspect.poison",
         "secrets": "inspect.secrets"}  # fmt: skip
"""Where an inspector is turned on whose rules are no keys of the profile."""
_EXAMINERS = frozenset({"protocol", "poison", "secrets"})
"""The inspectors of `mcp-sandbox inspect`."""

MOST_TOLD = 20
"""Lines about what a server was refused, in a session."""


@dataclass(frozen=True, slots=True)
class Around:
    """What of its session an inspector may use: the log, a line on stderr, and what takes secrets out."""

    emit: Callable[[Event], None]
    note: Callable[[str], None]
    clean: Callable[[str], str]
    secrecy: Secrecy | None = None


def _unheard(_said: object) -> None:
    """Nobody is told."""


ALONE = Around(_unheard, _unheard, str)
"""Where there is no session around."""


def of(prepared: Prepared, session: str, around: Around = ALONE) -> Inspection | None:
    """The inspection that the profile asks for, or None where it asks for none."""
    inspectors = [*_inspectors(prepared, session, around)]
    if not inspectors:
        return None
    from sandbox.relay.asking import Asking
    from sandbox.relay.inspection import Inspection

    tools = prepared.policy.tools
    forms = tools.ask_at == "client"
    asking = Asking(tools.answer, around.note, prepared.spec.server, forms=forms)
    told, worded = _told(prepared.policy, around.clean), _worded(prepared, around)
    secretive = around.secrecy.holds if around.secrecy else lambda frame: False
    return Inspection(inspectors, told, asking, worded, secretive)


def examiners(prepared: Prepared, around: Around) -> list[Inspector]:
    """Those that judge what a server says of itself, on in any profile; they keep nothing."""
    from sandbox.policy.model import Inspect, Tools

    strict = prepared.policy.inspect.protocol == "strict"
    inspect = Inspect(poison="block", secrets="redact", protocol="strict" if strict else "on")
    policy = replace(prepared.policy, inspect=inspect, tools=replace(Tools(), pin="off"))
    judging = _inspectors(replace(prepared, policy=policy), "inspect", around)
    return [one for one in judging if one.name in _EXAMINERS]


def _inspectors(prepared: Prepared, session: str, around: Around) -> Iterator[Inspector]:
    """In the order in which a message passes them: shape, identity, words, calls, secrets."""
    yield from _protocol(prepared)
    yield from _pins(prepared, around)
    poison = _poison(prepared, around)
    if poison is not None:
        yield poison
    yield from _calls(prepared, poison)
    yield from _features(prepared, around)
    yield from _secrets(prepared, session, around)


def _protocol(prepared: Prepared) -> Iterator[Inspector]:
    """Whether messages are what the revision says, and calls what the tools' schemas say."""
    if prepared.policy.inspect.protocol == "off":
        return
    from sandbox.inspect.protocol import Protocol

    yield Protocol(strict=prepared.policy.inspect.protocol == "strict")


def _pins(prepared: Prepared, around: Around) -> Iterator[Inspector]:
    """What the server is, held to what it was; a file of pins that is unusable stops the start."""
    store = _store(prepared, around)
    if store is None:
        return
    from sandbox.inspect.pins import Pins
    from sandbox.pin_telling import Telling

    store.open()
    telling = Telling(store.name, prepared.spec.server, prepared.wish.environ, around.emit, around.note)
    telling.decided(store.decisions())
    if _locked(prepared):
        # A lock names the answers to the revisions that were asked for when it was made.
        yield Pins(store.name, store, telling, locked=True, revisions="first-use")
    else:
        yield Pins(store.name, store, telling, locked=prepared.policy.tools.pin == "locked")


def _store(prepared: Prepared, around: Around) -> Store | None:
    if prepared.policy.tools.pin == "off":
        return None
    environ, locked = prepared.wish.environ, _locked(prepared)
    if locked:
        from sandbox.locked_pins import store_of

        return store_of(prepared, environ, locked, around.clean)
    from sandbox.pins import Store, name_of

    return Store(name_of(prepared, environ), prepared.spec.server, environ, around.clean)


def _locked(prepared: Prepared) -> tuple[PinLock, ...]:
    """What a lock says of the server's lists; nothing where there is none, or its lists were not read."""
    return prepared.lock.lock.pins if prepared.lock is not None else ()


def _poison(prepared: Prepared, around: Around) -> Poison | None:
    """What the words of a server want of a model; its rules are read while the server boots."""
    if prepared.policy.inspect.poison == "off":
        return None
    from sandbox import waived
    from sandbox.inspect.poison import Poison
    from sandbox.inspect.poison_rules import shipped
    from sandbox.inspect.poison_texts import Looker

    policy, elsewhere = prepared.policy, _elsewhere(prepared, around)
    environ = prepared.wish.environ

    def made() -> Looker:
        rules, near = shipped()
        looker = Looker(waived.poison(rules, policy.inspect.waive), elsewhere, near)
        first_looks.look_first(looker.reader.questions, environ)
        return looker

    # While the server boots: the rules take some milliseconds to read, and 10 to become automata.
    looker = _ahead(made, environ)
    return Poison(policy.inspect.poison, looker)


def _elsewhere(prepared: Prepared, around: Around) -> Callable[[], Mapping[str, str]]:
    """The tools of other servers, as their pins have them."""
    store = _store(prepared, around)
    if store is None:
        return dict
    from sandbox.pin_telling import Elsewhere

    return Elsewhere(store, prepared.wish.environ)


def _ahead(make: Callable[[], Looker], environ: Mapping[str, str]) -> Callable[[], Looker]:
    """What `make` makes, made in a thread from now on and waited for when it is wanted."""
    made: list[Looker] = []
    ready = threading.Event()

    def work() -> None:
        try:
            made.append(make())
        finally:
            ready.set()
        # Beside a slow server's start: what it says first is most often long.
        reader = made[0].reader
        first_looks.at_leisure(reader.warm(), reader.questions, environ)

    threading.Thread(target=work, name="poison-rules", daemon=True).start()

    def wait() -> Looker:
        ready.wait()
        # An error has been told by the thread; it happens again, where it ends the session.
        return made[0] if made else make()

    return wait


def _calls(prepared: Prepared, poison: Poison | None) -> Iterator[Inspector]:
    """What the profile says of tools and their arguments, where it says anything."""
    policy, wish, spec = prepared.policy, prepared.wish, prepared.spec
    tools = policy.tools
    asked = tools.ask or tools.ask_tainted
    if tools.allow == ("*",) and tools.only is None and not (tools.deny or asked or tools.arguments):
        return
    from sandbox.host.inside import Inside
    from sandbox.host.survey import home_of, look_at
    from sandbox.inspect.calls import Calls
    from sandbox.plan.within import named, rules_inside

    meant = named(policy, home=home_of(wish.environ), cwd=wish.cwd, environ=wish.environ)
    rules = rules_inside(policy, meant, look_at(meant.values()), spec.view)
    real = Inside(spec.view).real
    if poison is None:
        yield Calls(replace(tools, arguments=rules), spec.cwd, real)
        return
    yield Calls(replace(tools, arguments=rules), spec.cwd, real, lambda: poison.tainted is not None)


def _features(prepared: Prepared, around: Around) -> Iterator[Inspector]:
    """What the server may ask of the client; an elicitation is looked at even where all is allowed."""
    from sandbox.host.inside import Inside
    from sandbox.inspect.features import Features

    server, told = prepared.spec.server, set[tuple[str, str]]()

    def refused(method: str, why: str) -> None:
        """Once each: the server alone gets an answer, and few servers pass it on."""
        if (method, why) not in told and len(told) < MOST_TOLD:
            told.add((method, why))
            key = method.partition("/")[0]
            allowed = "mounted" if key == "roots" else "allow"
            how = why or f'allow it with `{key} = "{allowed}"` under `[client]`'
            around.note(f"mcp-sandbox: `{server}` was refused `{method}`: {how}")

    yield Features(prepared.policy.client, Inside(prepared.spec.view).mounted, refused)


def _secrets(prepared: Prepared, session: str, around: Around) -> Iterator[Inspector]:
    """Credentials in messages; last, so that what the others look for is still there."""
    if prepared.policy.inspect.secrets == "off":
        return
    from sandbox import secrecy

    keeping = around.secrecy or secrecy.of(prepared, session, (), (), around.emit)
    if keeping is not None:
        yield keeping.inspector()


def _worded(prepared: Prepared, around: Around) -> Callable[[Frame, About, Finding], str]:
    """What a person is asked, with the line of the profile that asks, and none of the session's secrets."""
    from sandbox.relay.questions import wording

    def worded(frame: Frame, about: About, finding: Finding) -> str:
        at = place(key_origin(prepared.policy, finding.rule))
        return around.clean(wording(frame, about, finding, prepared.spec.server, at))

    return worded


def _told(policy: Policy, clean: Callable[[str], str]) -> Callable[[Finding], dict[str, Value]]:
    def told(finding: Finding) -> dict[str, Value]:
        key = _KEYS.get(finding.inspector, finding.rule)
        return {"place": clean(finding.place), "profile": place(key_origin(policy, key))}

    return told
