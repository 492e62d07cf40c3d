"""The gateway loads nothing before it is needed, and answers for itself meanwhile."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from sandbox.egress import process
from sandbox.egress.words import SETTLE, SETTLED
from sandbox.trap import Trapped


class Waiting:
    """A gateway that waits for its first attempt, and the wrapper's end of its channel."""

    def __init__(self, patience: int | None) -> None:
        self.wrapper, self._channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener = socket.create_server(("127.0.0.1", 0))
        trap = [Trapped("tcp", 1, self._listener.fileno())]
        channel = self._channel.fileno()
        self._thread = threading.Thread(target=process._await_first, args=(trap, channel, patience))
        self._thread.start()

    def settles(self) -> bool:
        self.wrapper.send(SETTLE)
        return self.wrapper.recv(64) == SETTLED

    def attempt(self) -> None:
        socket.create_connection(self._listener.getsockname()).close()

    def returned(self) -> bool:
        self._thread.join(10)
        return not self._thread.is_alive()

    def close(self) -> None:
        self.attempt()
        self._thread.join()
        for one in (self.wrapper, self._channel, self._listener):
            one.close()


@pytest.fixture
def waiting(request: pytest.FixtureRequest) -> Iterator[Waiting]:
    one = Waiting(request.param)
    yield one
    one.close()


@pytest.mark.parametrize("waiting", [pytest.param(None, id="for ever")], indirect=True)
def test_an_attempt_ends_the_wait_and_a_question_does_not(waiting: Waiting) -> None:
    assert waiting.settles()
    assert waiting.settles(), "it waits on"
    waiting.attempt()
    assert waiting.returned()


@pytest.mark.parametrize("waiting", [pytest.param(1, id="a millisecond")], indirect=True)
def test_it_ends_by_itself_where_a_host_is_allowed(waiting: Waiting) -> None:
    assert waiting.returned()


def test_what_it_loads_first_brings_no_event_loop() -> None:
    assert (
        _loaded("import sandbox.gateway", "asyncio", "socket", "json", "sandbox.gateway")
        == "sandbox.gateway\n"
    )


def test_without_a_socks_proxy_nothing_of_it_is_loaded() -> None:
    assert _loaded("process._import_all()", "asyncio", "python_socks") == "asyncio\n"
    assert _loaded("process._import_all(); process._import_socks()", "python_socks") == "python_socks\n"


def _loaded(statement: str, *names: str) -> str:
    found = f"print(*({{*{names}}} & {{*sys.modules}}))"
    code = f"import sys; from sandbox.egress import process; {statement}; {found}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
