"""Examines one server: a session in each era, judged message by message."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from sandbox import first_looks, inspection, secrecy, secret_sources
from sandbox.errors import BREACH, NOT_BUILT, USAGE, SandboxError
from sandbox.examine.conversation import REVISIONS, Conversation, Era
from sandbox.examine.judging import Examined, Judge, Seen
from sandbox.examine.started import started
from sandbox.examine.talk import Silence, talk
from sandbox.inspect.texts import LISTED
from sandbox.policy.model import ClientFeatures, Inspect, Policy, Tools
from sandbox.prepared import Prepared
from sandbox.records import replace

ERAS: Final[tuple[Era, ...]] = ("legacy", "modern")
_OURS = frozenset({USAGE, BREACH, NOT_BUILT, 126, 127})
"""Of a session that broke off: it has said why itself."""


class NotExamined(SandboxError):
    """The server could not be examined to the end."""

    exit_status = 1


def examine(
    prepared: Prepared, eras: Sequence[Era], note: Callable[[str], None], *, read: bool = False
) -> Examined:
    """Everything that the server says of itself in these eras; raises `NotExamined` where it says nothing."""
    bare, around = _kept(prepared)
    led: list[tuple[Conversation, Judge]] = []
    refused: list[str] = []
    for era in eras:
        conversation, judge = (
            Conversation(era, read=read),
            Judge(inspection.examiners(prepared, around), around.clean),
        )
        silence = _session(bare, conversation, judge, note)
        if conversation.opened is None:
            refused.append(silence or conversation.refused)
        elif silence:
            raise NotExamined("not-examined", f"the server's lists could not be read to their end: {silence}")
        else:
            led.append((conversation, judge))
    if not led:
        raise NotExamined(
            "not-examined", f"the server cannot be spoken to: {', '.join(dict.fromkeys(refused))}"
        )
    return _together(led, around.clean)


def _kept(prepared: Prepared) -> tuple[Prepared, inspection.Around]:
    """The session's order, whose secrets are read once, and what keeps these out of all that is told."""
    secrets = secret_sources.read(prepared.spec.secrets, prepared.wish.environ)
    policy = uninspected(prepared.policy)
    around = replace(inspection.ALONE)
    mode = prepared.policy.inspect.secrets
    judged = replace(policy, inspect=Inspect(secrets="redact" if mode == "off" else mode))
    keeping = secrecy.of(replace(prepared, policy=judged), "inspect", secrets, (), around.emit)
    if keeping is not None:
        around = replace(around, clean=keeping.text, secrecy=keeping)
    settle()
    environ = {**prepared.wish.environ, **dict(secrets)}
    spec = replace(prepared.spec, secrets=tuple((name, "env") for name, _ in secrets))
    return replace(prepared, policy=policy, spec=spec, wish=replace(prepared.wish, environ=environ)), around


def settle() -> None:
    """No thread of ours is at work when we fork: what it holds then is held in the child for ever."""
    first_looks.hurry()
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join()


def uninspected(policy: Policy) -> Policy:
    """The same sandbox, whose relay passes on what is to be judged here; no secret is in its log."""
    unjudged = Inspect(poison="off", secrets="log", protocol="off")
    tools = replace(Tools(), pin="off")
    return replace(policy, inspect=unjudged, tools=tools, client=ClientFeatures("all", "allow", "allow"))


def _session(
    prepared: Prepared, conversation: Conversation, judge: Judge, note: Callable[[str], None]
) -> str:
    """Leads one session; why it broke off, else nothing."""
    silence = ""
    settle()
    with started(prepared, note) as running:
        try:
            talk(running, conversation, judge, prepared.spec.message)
        except Silence as broken:
            silence = str(broken)
        status = running.end()
    if silence and status in _OURS:
        raise Ended(status)
    return silence


class Ended(Exception):
    """The session ended by itself; its own status says how, and its own message why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _together(led: Sequence[tuple[Conversation, Judge]], clean: Callable[[str], str]) -> Examined:
    found: dict[tuple[str, ...], Seen] = {}
    for _, judge in led:
        found = {**judge.seen, **found}
    counts = {member: max(len(one.items[method]) for one, _ in led) for method, (member, _) in LISTED.items()}
    cut = dict.fromkeys(method for one, _ in led for method in one.cut)
    name, version = map(clean, led[0][0].identity)
    revisions = tuple(clean(_revision(one)) for one, _ in led)
    return Examined(name, version, revisions, tuple(counts.items()), tuple(cut), tuple(found.values()))


def _revision(conversation: Conversation) -> str:
    agreed = (conversation.opened or {}).get("protocolVersion")
    return agreed if type(agreed) is str else REVISIONS[conversation.era]
