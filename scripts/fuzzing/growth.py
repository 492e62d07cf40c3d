"""A long session: what an inspector remembers of messages that never repeat has to have a bound."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fuzzing.conversations import CONVERSATIONS, FRAGMENTS, Said, _answer, _asks, _call, _fails, _tells
from fuzzing.inspectors import made
from fuzzing.shapes import dumped
from fuzzing.stage import Stage
from sandbox.wire.jsonrpc import Frame, FrameReader

ALLOWED, ALLOWED_A_TURN = 6 << 20, 1 << 10
"""Bytes between the middle of a session and its end; the messages between them are far more, and of what is
kept of a turn (three names that were never heard before) there are at most 20,000 of a kind."""
SLOWER, LEAST_S = 3.0, 0.04
"""How much longer a turn may take by the end of a session, and what is never called long.

Pins are written whole, once a list: after 4000 turns of a server that never shows the same item twice, when
their bounds are reached, a turn with its three lists takes 24 ms.
"""
_FILLER = "x y " * 100


def _turn(number: int) -> Iterator[Said]:
    """Messages of every sort with names, ids and texts that never came before."""
    name, id = f"n{number}", 1000 + number * 20
    text = f"{name} {FRAGMENTS[number % len(FRAGMENTS)]} {_FILLER}{number}"
    tool = {
        "name": name,
        "description": text,
        "inputSchema": {"type": "object", "properties": {name: {"type": "string"}}},
    }
    yield _call(id, "tools/list", cursor=name)
    yield _answer(id, tools=[tool], nextCursor=f"c{number}")
    yield _call(id + 1, "tools/call", name=name, arguments={name: text}, _meta={"progressToken": name})
    yield _tells("server", "progress", progressToken=name, progress=number, message=text)
    yield _answer(id + 1, content=[{"type": "text", "text": text}], structuredContent={name: text})
    yield _call(id + 2, "resources/list")
    yield _answer(id + 2, resources=[{"uri": f"file:///{name}", "name": name, "description": text}])
    yield _call(id + 3, "resources/read", uri=f"file:///{name}")
    yield _answer(id + 3, contents=[{"uri": f"file:///{name}", "text": text}])
    yield _call(id + 4, "prompts/list")
    yield _answer(id + 4, prompts=[{"name": name, "description": text}])
    yield _call(id + 5, "tools/call", name="read_file", arguments={"path": name}, requestState=text)
    yield _answer(
        id + 5, resultType="input_required", requestState=text, inputRequests={name: {"method": "roots/list"}}
    )
    yield _call(id + 6, "tools/call", name=name, arguments={}, _meta={"progressToken": id})
    yield _tells("client", "cancelled", requestId=id + 6, reason=text)
    yield _call(id + 7, "tasks/get", taskId=name)
    yield _fails(id + 7, text, {name: text})
    yield _asks(
        name, "elicitation/create", message=text, requestedSchema={"type": "object", "properties": {}}
    )
    yield "client", {"jsonrpc": "2.0", "id": name, "result": {"action": "accept", "content": {name: text}}}
    yield _asks(id, "sampling/createMessage", messages=[], systemPrompt=text, maxTokens=1)
    yield "client", {"jsonrpc": "2.0", "id": id, "error": {"code": -1, "message": text}}
    yield _tells("server", "message", level="info", data={name: text})
    yield _tells("server", "tools/list_changed")


@dataclass(frozen=True)
class Grown:
    """What a session came to: bytes kept of its second half, and seconds of the processor a turn."""

    kept: int
    early_s: float
    late_s: float
    turns: int = 0

    def faults(self) -> Iterator[str]:
        """What is too much of it."""
        if self.kept > ALLOWED + ALLOWED_A_TURN * self.turns // 2:
            yield f"{self.kept >> 10} KiB of the second half of a session are kept"
        if self.late_s > max(SLOWER * self.early_s, LEAST_S):
            yield f"a turn takes {1000 * self.early_s:.1f} ms at first and {1000 * self.late_s:.1f} ms later"


def grown(name: str, turns: int) -> Grown:
    """Plays a session of that many turns; an eighth of it is timed early, and its last eighth."""
    stage = Stage([one for one in made() if one.name == name])
    for who, message in CONVERSATIONS["tools"][:5]:
        _say(stage, who, message)
    eighth = max(1, turns // 8)
    _play(stage, 0, eighth)
    early = _play(stage, eighth, 2 * eighth)
    _play(stage, 2 * eighth, 4 * eighth)
    middle = _held()
    _play(stage, 4 * eighth, turns - eighth)
    late = _play(stage, turns - eighth, turns)
    return Grown(_held() - middle, early / eighth, late / eighth, turns)


def _play(stage: Stage, first: int, end: int) -> float:
    """The processor's seconds that these turns take."""
    began = time.process_time()
    for number in range(first, end):
        for who, message in _turn(number):
            _say(stage, who, message)
    return time.process_time() - began


def _say(stage: Stage, who: Any, message: dict[str, Any]) -> None:
    for item in FrameReader().feed(dumped(message)):
        if isinstance(item, Frame):
            stage.say(who, item)
    stage.sent.said.clear()
    stage.sent.events.clear()


def _held() -> int:
    gc.collect()
    # What was freed and is still held would hide what is kept from now on (malloc_trim(3)).
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
