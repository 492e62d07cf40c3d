"""Leads a conversation with a started server and judges every message of it."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator

from sandbox.examine.conversation import Conversation
from sandbox.examine.judging import Judge
from sandbox.examine.started import Started
from sandbox.wire.jsonrpc import Fault, Frame, FrameReader

OPENING_S = 60.0
ANSWER_S = 30.0
DISCOVER_S = 10.0
"""A server that knows no other era than the legacy one may not even refuse."""


class Silence(Exception):
    """The server did not answer in time, or has ended."""


def talk(server: Started, conversation: Conversation, judge: Judge, cap: int) -> None:
    """The whole conversation; raises `Silence` where the server leaves it unfinished."""
    own, theirs = FrameReader(cap), FrameReader(cap)
    _say(server, conversation.start(), own, judge)
    while conversation.waiting[0]:
        for frame in _heard(server, theirs, conversation):
            judge.heard(frame, conversation.asked(frame))
            _say(server, conversation.heard(frame), own, judge)


def _say(server: Started, lines: list[bytes], own: FrameReader, judge: Judge) -> None:
    for line in lines:
        for frame in own.feed(line):
            if isinstance(frame, Frame):
                judge.said(frame)
        try:
            _write(server.stdin, line)
        except OSError as error:
            raise Silence("the server has ended") from error


def _write(end: int, line: bytes) -> None:
    """Our messages are short, and the relay reads them whatever the server does."""
    left = memoryview(line)
    while left:
        left = left[os.write(end, left) :]


def _heard(server: Started, reader: FrameReader, conversation: Conversation) -> Iterator[Frame]:
    """The frames up to the answer that is waited for, at least."""
    waiting = conversation.waiting
    deadline = time.monotonic() + _patience(conversation)
    while conversation.waiting == waiting:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([server.stdout], [], [], left)[0]:
            raise Silence(f"no answer to `{waiting[1]}`")
        chunk = os.read(server.stdout, 1 << 16)
        if not chunk:
            raise Silence("the server has ended")
        for item in reader.feed(chunk):
            # The relay before us has refused what is no message already.
            if not isinstance(item, Fault):
                yield item


def _patience(conversation: Conversation) -> float:
    if conversation.waiting[1] == "server/discover":
        return DISCOVER_S
    return OPENING_S if conversation.opened is None else ANSWER_S
