"""A server that leaves the conversation unfinished is noticed, whatever it does instead."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from sandbox.examine import talk as talking
from sandbox.examine.conversation import Conversation
from sandbox.examine.judging import Judge
from sandbox.examine.started import Started
from sandbox.examine.talk import Silence, talk


class Pipes:
    """A server's two ends, which the test plays."""

    def __init__(self) -> None:
        self.heard, self.stdin = os.pipe()
        self.stdout, self.said = os.pipe()
        self._open = {self.heard, self.stdin, self.stdout, self.said}

    def close(self, *ends: int) -> None:
        for end in ends or tuple(self._open):
            if end in self._open:
                self._open.discard(end)
                os.close(end)


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    made.close()


def spoken(pipes: Pipes) -> Conversation:
    conversation = Conversation("legacy")
    talk(cast(Started, pipes), conversation, Judge([]), 1 << 20)
    return conversation


def test_a_server_that_never_answers(pipes: Pipes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talking, "OPENING_S", 0.1)
    with pytest.raises(Silence, match="no answer to `initialize`"):
        spoken(pipes)


def test_a_server_that_speaks_on_without_answering(pipes: Pipes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talking, "OPENING_S", 0.2)
    line = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}\n'
    ended = threading.Event()

    def chatter() -> None:
        while not ended.wait(0.005):
            os.write(pipes.said, line)

    thread = threading.Thread(target=chatter)
    thread.start()
    try:
        with pytest.raises(Silence, match="no answer to `initialize`"):
            spoken(pipes)
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(lambda pipes: pipes.close(pipes.said), id="its stdout ends"),
        pytest.param(lambda pipes: pipes.close(pipes.heard), id="it reads no more"),
    ],
)
def test_a_server_that_is_gone(leave: Callable[[Pipes], None], pipes: Pipes) -> None:
    leave(pipes)
    with pytest.raises(Silence, match="the server has ended"):
        spoken(pipes)


def test_answers_that_come_in_pieces(pipes: Pipes) -> None:
    def serve() -> None:
        with os.fdopen(os.dup(pipes.heard)) as asked:
            for line in asked:
                message = json.loads(line)
                if "id" not in message:
                    continue
                result: dict[str, Any] = {"serverInfo": {"name": "s", "version": "1"}}
                answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\n"
                for byte in answer.encode():
                    os.write(pipes.said, bytes([byte]))
                if message["method"] == "resources/templates/list":
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    conversation = spoken(pipes)
    thread.join()
    assert conversation.done
    assert conversation.opened == {"serverInfo": {"name": "s", "version": "1"}}
