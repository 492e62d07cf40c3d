"""The holder makes connections to the server's loopback, and the bridge beside gets them handed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from errno import ECONNREFUSED
from threading import Thread

import pytest

from sandbox.backend.docker.dialler import Dialler
from sandbox.backend.docker.handover import answer, hand_over, order
from sandbox.backend.near import connect


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The taker's end of a channel, and the holder's."""
    taker, holder = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with taker, holder:
        yield taker, holder


@pytest.fixture
def holding(pair: tuple[socket.socket, socket.socket]) -> Iterator[socket.socket]:
    """A holder that answers until its taker has gone."""

    def hold() -> None:
        while answer(pair[1], connect):
            pass

    thread = Thread(target=hold)
    thread.start()
    yield pair[0]
    pair[0].close()
    thread.join(5)
    assert not thread.is_alive(), "the end of the channel is the holder's"


def test_a_connection_is_handed_over(holding: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Dialler(holding, listener.getsockname()[1]).dial()
        served, _ = listener.accept()
        with made, served:
            assert not made.get_inheritable()
            made.sendall(b"said")
            assert served.recv(16) == b"said"


def test_many_threads_dial_at_once(holding: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        dialler = Dialler(holding, listener.getsockname()[1])
        made: list[socket.socket] = []
        threads = [Thread(target=lambda: made.append(dialler.dial())) for _ in range(16)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(10)
        assert len({one.fileno() for one in made}) == len(threads)
        for one in made:
            one.close()


def test_nobody_listens(holding: socket.socket) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError) as caught:
            Dialler(holding, taken.getsockname()[1]).dial()
    assert caught.value.errno == ECONNREFUSED


@pytest.mark.parametrize("said", [b"x", b"-1", b"70000", b"3000 3001", b"\xff"])
def test_a_request_that_is_none_is_answered_and_the_next_is_served(
    said: bytes, holding: socket.socket
) -> None:
    holding.send(said)
    assert holding.recv(4096).startswith(b"0 ")
    test_a_connection_is_handed_over(holding)


def test_a_holder_that_is_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].close()
    with pytest.raises(OSError):  # noqa: PT011 - any
        Dialler(pair[0], 3000).dial()


def test_an_answer_of_a_holder_that_was_taken_over(pair: tuple[socket.socket, socket.socket]) -> None:
    """Descriptors beside other words are closed."""
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket() as stray:
        socket.send_fds(pair[1], [b"there"], [stray.fileno(), stray.fileno()])
        with pytest.raises(OSError, match=r"there|holder"):
            Dialler(pair[0], 3000).dial()
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_ports_and_the_servers_own_come_apart(pair: tuple[socket.socket, socket.socket]) -> None:
    read, write = os.pipe()
    thread = Thread(target=hand_over, args=(pair[0], (443, 8443), write, 3000))
    thread.start()
    ports, own, fd = order(pair[1])
    pair[1].send(b"held")
    thread.join(5)
    assert (ports, own) == ([443, 8443], 3000)
    for one in (read, write, fd):
        os.close(one)
