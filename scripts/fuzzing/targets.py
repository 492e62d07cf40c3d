"""What is fuzzed: each target takes bytes and raises where a promise is broken."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

from fuzzing.answers import answers, envelopes
from fuzzing.conversations import SECRET
from fuzzing.inspectors import Profile, kept, made_with, names
from fuzzing.logins import logins
from fuzzing.promises import Broken, Watched
from fuzzing.requests import requests
from fuzzing.stage import Stage
from fuzzing.streams import events, headers
from fuzzing.tokens import tokens
from sandbox.inspect.judged import pointer
from sandbox.wire.jsonrpc import Fault, Frame, FrameReader
from sandbox.wire.splice import DROP, Edit, Place, splice
from tests.wire.strict_reference import accepted, reference

Target = Callable[[bytes], None]
_CAP = 1 << 16
_MOST_PLACES = 200


def frames(data: bytes) -> None:
    """The frame reader passes nothing that a strict parser refuses, however the bytes are cut."""
    data = _unmarked(data)
    whole = _read(data, len(data))
    if whole != _read(data, 1 + len(data) // 3) or (len(data) < 300 and whole != _read(data, 1)):
        raise Broken("where the bytes are cut makes a difference")
    for item in whole:
        if isinstance(item, Frame):
            _hold_frame(item)


def _read(data: bytes, step: int) -> list[Frame | Fault]:
    reader, found = FrameReader(_CAP), []
    for at in range(0, len(data), max(1, step)):
        found += reader.feed(data[at : at + step])
    return found + reader.close()


def _hold_frame(frame: Frame) -> None:
    line = bytes(frame.data)
    if not accepted(line) or frame.message != reference(line):
        raise Broken("a frame that the reference reads otherwise, or not at all")
    if line.count(b"\n") != 1 or not line.endswith(b"\n") or frame.size > _CAP:
        raise Broken("a frame that is not one line within the cap")
    if [again.message for again in _read(line, len(line)) if isinstance(again, Frame)] != [frame.message]:
        raise Broken("a frame that is none when it is read again")


def spliced(data: bytes) -> None:
    """An edit does to the bytes what it does to the values, and nothing else."""
    choice = zlib.crc32(data)
    for item in _read(_unmarked(data), len(data)):
        if isinstance(item, Frame):
            _hold_splice(item, choice)


def _unmarked(data: bytes) -> bytes:
    """The lines without what says who speaks."""
    return b"\n".join(line[1:] for line in data.split(b"\n"))


def _hold_splice(frame: Frame, choice: int) -> None:
    value = json.loads(bytes(frame.data))
    if json.loads(splice(frame.data, [])) != value:
        raise Broken("no edit changes something")
    places = _places(value)
    if not places:
        return
    place = places[choice % len(places)]
    new: Any = DROP if choice & 1 else {"n": [choice, "\u202e\ud7ff"]}
    after = splice(frame.data, [Edit(place, new)])
    if json.loads(after) != _with(value, place, new):
        raise Broken(f"an edit at {pointer(place)!r} does otherwise")


def _places(value: Any, at: Place = ()) -> list[Place]:
    found: list[Place] = []
    stack: list[tuple[Any, Place]] = [(value, at)]
    while stack and len(found) < _MOST_PLACES:
        one, here = stack.pop()
        inner = one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ()
        for step, deeper in inner:
            found.append((*here, step))
            stack.append((deeper, found[-1]))
    return found


def _with(value: Any, place: Place, new: Any) -> Any:
    at = value
    for step in place[:-1]:
        at = at[step]
    if new is DROP:
        del at[place[-1]]
    else:
        at[place[-1]] = new
    return value


def judging(only: str | None = None, profile: Profile = "usual") -> Target:
    """A session of one inspector, or of all: what is passed on and what is said instead are messages."""

    def target(data: bytes) -> None:
        keeping = kept(profile)
        ones = [Watched(one) for one in made_with(keeping, profile) if only in (None, one.name)]
        stage = Stage(ones, keeping)
        for frame in stage.play(data):
            if not accepted(bytes(frame.data)):
                raise Broken("what is passed on is no message")
        for event in map(keeping.event, stage.sent.events) if keeping else ():
            if SECRET in repr(event):
                raise Broken(f"the log of `{event.rule}` tells a secret")
        for line in stage.sent.said:
            if not all(isinstance(item, Frame) for item in FrameReader(1 << 24).feed(line)):
                raise Broken(f"what we say is no message: {line[:200]!r}")

    return target


TARGETS: dict[str, Target] = {
    "frames": frames,
    "splice": spliced,
    "events": events,
    "headers": headers,
    "requests": requests,
    "answers": answers,
    "envelopes": envelopes,
    "tokens": tokens,
    "logins": logins,
    **{name: judging(name) for name in names()},
    "all": judging(),
    "all-strict": judging(profile="strict"),
}
