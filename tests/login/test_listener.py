"""The loopback end: what a browser gets, what a terminal may bring, and how long either is waited for."""

from __future__ import annotations

import os
import pty
import socket
import threading

import pytest

from sandbox.login.listener import CONNECTIONS, Listener
from sandbox.login.refused import LoginRefused
from tests.login.conftest import Login


def ask(listener: Listener, head: str, answers: list[bytes]) -> threading.Thread:
    place = listener.redirect.removeprefix("http://").partition("/")[0]
    host, _, port = place.partition(":")

    def work() -> None:
        with socket.create_connection((host, int(port)), 5) as one:
            for part in head.format(place=place):
                one.sendall(part.encode())
            while piece := one.recv(65536):
                answers.append(piece)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_request_may_come_byte_by_byte() -> None:
    answers: list[bytes] = []
    with Listener("/cb") as listener:
        thread = ask(listener, "GET /cb?state=a HTTP/1.1\r\nhost: {place}\r\n\r\n", answers)
        assert listener.wait(lambda query: query == "state=a", 10) == "state=a"
    thread.join()
    head = b"".join(answers).decode()
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    for wanted in ("Cache-Control: no-store", "Referrer-Policy: no-referrer", "default-src 'none'"):
        assert wanted in head


def test_it_listens_on_loopback_alone() -> None:
    with Listener("/cb") as listener:
        assert listener.redirect.startswith("http://127.0.0.1:")
        assert listener._socket.getsockname()[0] == "127.0.0.1"


def test_once_it_is_over_nobody_listens() -> None:
    with Listener("/cb") as listener:
        port = listener._socket.getsockname()[1]
        assert listener.wait(lambda _: True, 0.0) is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_a_flood_of_connections_leaves_room_for_the_answer() -> None:
    answers: list[bytes] = []
    with Listener("/cb") as listener:
        address = ("127.0.0.1", listener._socket.getsockname()[1])
        flood: list[socket.socket] = []
        for _ in range(CONNECTIONS + 4):
            flood.append(socket.create_connection(address, 5))
            assert listener.wait(lambda _: False, 0.01) is None
        assert len(listener._open) == CONNECTIONS
        thread = ask(listener, "GET /cb?x HTTP/1.1\r\nHost: {place}\r\n\r\n", answers)
        assert listener.wait(lambda _: True, 10) == "x"
        thread.join()
    for one in flood:
        one.close()


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        pytest.param(
            "{redirect}?state=a&code=b\n", "state=a&code=b", id="the address of the browser's error"
        ),
        pytest.param("  {redirect}?state=a \n", "state=a", id="with spaces"),
        pytest.param("\n{redirect}?state=a\n", "state=a", id="after an empty line"),
        pytest.param("http://evil.test/cb?state=a\n", None, id="another address"),
        pytest.param("state=a\n", None, id="no address"),
        pytest.param("\x04", None, id="the end of what is typed"),
    ],
)
def test_an_address_can_be_pasted(typed: str, found: str | None) -> None:
    ours, theirs = pty.openpty()
    try:
        with Listener("/cb") as listener:
            os.write(ours, typed.format(redirect=listener.redirect).encode())
            assert listener.wait(lambda _: True, 10 if found else 0.3, theirs) == found
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_port_that_is_taken_is_named(login: Login) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LoginRefused, match=f"port {port} of 127.0.0.1"):
            login(port=port)
