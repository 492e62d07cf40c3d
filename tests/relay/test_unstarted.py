"""The answer to a first request where nothing started: whoever asks, however late, and never for ever."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from sandbox.errors import NOT_FOUND, CommandNotFound, SandboxError
from sandbox.relay import unstarted

ERROR = CommandNotFound("command-not-found", "`npx` is\nnowhere", rule="PATH", hint="look for it")
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}\n'
DISCOVER = b'{"jsonrpc":"2.0","id":"d-1","method":"server/discover","params":{"_meta":{}}}\n'
NOTE = b'{"jsonrpc":"2.0","method":"notifications/x"}\n'


class Client:
    """The client's ends of both pipes."""

    def __init__(self) -> None:
        self.theirs, self.say = os.pipe()
        self.hear, self.theirs_too = os.pipe()

    def answers(self, error: SandboxError = ERROR, seconds: float = 0.05) -> list[dict[str, Any]]:
        """What came of it."""
        count = unstarted.answer(error, stdin=self.theirs, stdout=self.theirs_too, seconds=seconds)
        self.close("theirs_too")
        with open(self.hear, "rb", closefd=False) as file:
            found = [json.loads(line) for line in file]
        assert len(found) == count
        return found

    def close(self, *names: str) -> None:
        for name in names or ("theirs", "say", "hear", "theirs_too"):
            with suppress(OSError):
                os.close(getattr(self, name))
            setattr(self, name, -1)


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.close()


ASKED = [
    pytest.param(INITIALIZE, [0], id="legacy: initialize"),
    pytest.param(DISCOVER, ["d-1"], id="modern: server/discover"),
    pytest.param(INITIALIZE.strip(), [], id="a line that has not ended yet"),
    pytest.param(NOTE + INITIALIZE, [0], id="after a notification"),
    pytest.param(DISCOVER + NOTE + INITIALIZE, ["d-1", 0], id="all that came together"),
    pytest.param(b"[" + INITIALIZE.strip() + b"]\n", [0], id="a batch, which breaks the protocol"),
    pytest.param(b"\xef\xbb\xbf" + INITIALIZE, [0], id="behind a byte order mark"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", [], id="no message at all"),
    pytest.param(b'{"jsonrpc":"2.0","id":3,"result":{}}\n', [], id="an answer to nothing"),
    pytest.param(NOTE, [], id="notifications alone"),
    pytest.param(b"", [], id="nothing"),
]


@pytest.mark.parametrize(("said", "ids"), ASKED)
def test_what_is_asked_is_answered(said: bytes, ids: list[object], client: Client) -> None:
    os.write(client.say, said)

    found = client.answers()

    assert [one["id"] for one in found] == ids
    for one in found:
        assert one["error"]["message"] == (
            "mcp-sandbox: command-not-found: `npx` is; nowhere; rule: PATH; hint: look for it"
        )
        told = one["error"]["data"]["mcp-sandbox/not-started"]
        assert (told["code"], told["status"]) == ("command-not-found", NOT_FOUND)


def test_a_client_of_both_eras_asks_twice(client: Client) -> None:
    """Claude Code tries `server/discover`, and shows the error of the `initialize` that follows."""

    def speak() -> None:
        os.write(client.say, DISCOVER)
        os.read(client.hear, 4096)
        os.write(client.say, INITIALIZE)

    speaker = threading.Thread(target=speak)
    speaker.start()
    assert unstarted.answer(ERROR, stdin=client.theirs, stdout=client.theirs_too, seconds=10.0) == 2
    speaker.join()


def test_nobody_is_answered_for_ever(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unstarted, "LONGEST_S", 0.5)

    def speak() -> None:
        with suppress(OSError):
            while True:
                os.write(client.say, DISCOVER)
                os.read(client.hear, 4096)

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    began = time.monotonic()
    assert unstarted.answer(ERROR, stdin=client.theirs, stdout=client.theirs_too, seconds=0.5) > 1
    assert time.monotonic() - began < 15.0
    client.close()


def test_a_request_at_the_end_of_its_stream(client: Client) -> None:
    os.write(client.say, INITIALIZE.strip())
    client.close("say")
    assert [one["id"] for one in client.answers()] == [0]


def test_a_request_in_pieces_is_waited_for(client: Client) -> None:
    def speak() -> None:
        for byte in INITIALIZE:
            os.write(client.say, bytes([byte]))

    speaker = threading.Thread(target=speak)
    speaker.start()
    assert [one["id"] for one in client.answers(seconds=10.0)] == [0]
    speaker.join()


def test_it_waits_as_long_as_it_says_and_no_longer(client: Client) -> None:
    began = time.monotonic()
    assert client.answers(seconds=0.3) == []
    assert 0.3 <= time.monotonic() - began < 3.0


def test_the_end_of_the_stream_ends_the_wait(client: Client) -> None:
    client.close("say")
    began = time.monotonic()
    assert client.answers(seconds=30.0) == []
    assert time.monotonic() - began < 10.0


def test_a_flood_without_a_request_is_read_up_to_a_bound(client: Client) -> None:
    def flood() -> None:
        with suppress(OSError):
            while True:
                os.write(client.say, NOTE * 100)

    threading.Thread(target=flood, daemon=True).start()
    began = time.monotonic()
    assert client.answers(seconds=30.0) == []
    assert time.monotonic() - began < 20.0


def test_a_client_that_reads_nothing_holds_nobody_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unstarted, "WRITE_S", 0.1)
    os.set_blocking(client.theirs_too, False)
    with suppress(BlockingIOError):
        while True:
            os.write(client.theirs_too, b"x" * 4096)
    os.write(client.say, INITIALIZE)
    assert unstarted.answer(ERROR, stdin=client.theirs, stdout=client.theirs_too, seconds=5.0) == 0


def test_a_client_that_has_gone(client: Client) -> None:
    os.write(client.say, INITIALIZE)
    client.close("hear")
    assert unstarted.answer(ERROR, stdin=client.theirs, stdout=client.theirs_too, seconds=5.0) == 0


def test_a_terminal_is_no_client(client: Client) -> None:
    ours, theirs = os.openpty()
    os.write(ours, INITIALIZE)
    assert unstarted.answer(ERROR, stdin=theirs, stdout=client.theirs_too, seconds=30.0) == 0
    for fd in (ours, theirs):
        os.close(fd)


def test_where_a_server_has_run_its_client_was_answered(client: Client) -> None:
    error = SandboxError("late", "the server ran")
    error.answerable = False
    os.write(client.say, INITIALIZE)
    assert client.answers(error) == []


def test_what_others_chose_drives_no_terminal(client: Client) -> None:
    error = SandboxError("strange", "a \x1b[2Jname \udcff of a file", hint="\x9b31m" + "x" * 9000)
    os.write(client.say, INITIALIZE)
    (found,) = client.answers(error)
    assert "\x1b" not in json.dumps(found, ensure_ascii=False)
    assert "\x9b" not in json.dumps(found, ensure_ascii=False)
    assert len(json.dumps(found)) < 10_000
