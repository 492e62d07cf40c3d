"""A connection to a loopback: by whichever family somebody listens, and never to oneself."""

from __future__ import annotations

import socket
import struct

import pytest

from sandbox.backend.near import connect


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"]
)
def test_by_either_family(family: int, address: str) -> None:
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen()
        with connect(listener.getsockname()[1]) as made:
            assert made.getpeername()[0] == address
            assert made.gettimeout() is None


def test_ipv4_comes_first() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        with connect(listener.getsockname()[1]) as made:
            assert made.getpeername()[0] == "127.0.0.1"


def test_where_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            connect(taken.getsockname()[1])


def test_never_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may choose the very port that is asked for; the control shows that it then connects."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with socket.socket() as alone:
        alone.bind(("127.0.0.1", port))
        alone.connect(("127.0.0.1", port))
        assert alone.getpeername() == alone.getsockname(), "the control"
        # Without a farewell, after which the port would rest for a minute.
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    class Same(socket.socket):
        """Bound to where it connects, as the kernel may have it."""

        def connect(self, address: tuple[str, int]) -> None:
            self.bind(address)
            super().connect(address)

    monkeypatch.setattr("sandbox.backend.near.socket", Same)
    with pytest.raises(ConnectionRefusedError):
        connect(port)


def test_a_queue_that_nobody_empties_is_no_wait_for_ever() -> None:
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        first.connect(("127.0.0.1", port))
        with pytest.raises(TimeoutError):
            connect(port, within=0.05)
