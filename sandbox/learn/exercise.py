"""One contained run in which a server's lists are read and tools are called, and what its log says of it."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from sandbox.audit.read import Log, events, logs
from sandbox.errors import NOT_BUILT, USAGE, SandboxError
from sandbox.examine.conversation import Called, Calls, Conversation, Era
from sandbox.examine.examine import settle, uninspected
from sandbox.examine.judging import Judge
from sandbox.examine.started import Started, started
from sandbox.examine.talk import Silence, talk
from sandbox.learn.seen import Seen, seen
from sandbox.prepared import Prepared
from sandbox.records import dataclass, replace

LINGER_S: Final = 1.0
"""What a server does of its own accord often comes after the last answer."""
MOST_CALLS: Final = 200
"""Tools that `--call-all` calls."""
_OURS = frozenset({USAGE, NOT_BUILT, 126, 127})
_NEWEST = 8
"""Logs looked at for the one of a session that has just ended."""


class NotLearnt(SandboxError):
    """The server could not be watched to the end."""

    exit_status = 1


class Ended(Exception):
    """The session ended by itself; its own status says how, and its own message why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Run:
    """What a run showed: in the log, and in the conversation."""

    seen: Seen
    tools: tuple[str, ...]
    called: tuple[Called, ...]
    identity: tuple[str, str]
    silence: str = ""
    """Why the conversation broke off."""
    refused: bool = False
    """It does not speak this era."""

    @property
    def outcome(self) -> tuple[object, ...]:
        """The same for two runs in which the server could do as much."""
        return self.silence, self.tools, tuple((one.tool, one.how) for one in self.called)


def exercise(prepared: Prepared, calls: Calls, note: Callable[[str], None], wait: float = LINGER_S) -> Run:
    """Runs it in the legacy era, or in the modern one where it does not speak that."""
    watched = observed(prepared)
    legacy = _run(watched, "legacy", calls, note, wait)
    return _run(watched, "modern", calls, note, wait) if legacy.refused else legacy


def observed(prepared: Prepared) -> Prepared:
    """The same sandbox, in which no finding of ours ends what is to be seen; all it refuses stays refused."""
    policy = uninspected(prepared.policy)
    policy = replace(policy, breach=replace(policy.breach, syscall="warn"))
    return replace(prepared, policy=policy, spec=replace(prepared.spec, observed=True))


def _run(prepared: Prepared, era: Era, calls: Calls, note: Callable[[str], None], wait: float) -> Run:
    conversation, silence = Conversation(era, calls=calls), ""
    settle()
    with started(prepared, note) as running:
        try:
            talk(running, conversation, Judge(()), prepared.spec.message)
            linger(running, wait)
        except Silence as broken:
            silence = str(broken)
        status = running.end()
    if silence and status in _OURS:
        raise Ended(status)
    return _told(prepared, conversation, silence, running.pid)


def linger(running: Started, seconds: float) -> None:
    """Reads on for a moment, so that nobody inside waits for us."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([running.stdout], [], [], left)[0] and not os.read(running.stdout, 1 << 16):
            return


def _told(prepared: Prepared, conversation: Conversation, silence: str, pid: int) -> Run:
    log = logged(prepared.wish.environ, pid, prepared.policy.audit.path)
    found = seen(log, prepared.spec.identity.home)
    tools = tuple(str(one.get("name", "")) for one in conversation.items["tools/list"])
    refused = conversation.refused
    called = tuple(conversation.called)
    return Run(found, tools, called, conversation.identity, silence or refused, bool(refused))


# --- its log ---------------------------------------------------------------------------------------------


def logged(environ: Mapping[str, str], pid: int, path: str | None) -> list[dict[str, Any]]:
    """The events of the newest session that this process has led."""
    for log in [Log(path)] if path is not None else logs(environ)[:_NEWEST]:
        found = list(_parsed(events(log)))
        mine = [one for one in found if one["kind"] == "session.start" and one["detail"].get("pid") == pid]
        if mine:
            session = mine[-1]["session"]
            return [one for one in found if one["session"] == session]
    raise NotLearnt("not-learnt", "the log of the run cannot be found")


def _parsed(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        found = json.loads(line)
        if type(found) is dict:
            yield found


def chosen(given: Sequence[tuple[str, dict[str, Any]]], every: bool) -> Calls:
    """The calls that were asked for, then, where `every`, each tool that needs no argument."""

    def calls(tools: Sequence[Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
        named = {name for name, _ in given}
        bare = [name for one in tools if (name := _bare(one)) and name not in named] if every else []
        return [*given, *((name, {}) for name in bare[:MOST_CALLS])]

    return calls


def _bare(tool: Mapping[str, Any]) -> str:
    """The name of a tool whose schema requires nothing; its annotations are only its server's word."""
    schema, name = tool.get("inputSchema"), tool.get("name")
    required = schema.get("required") if type(schema) is dict else None
    return name if type(name) is str and not required else ""
