"""A connection to a loopback: by whichever family somebody listens, and never to oneself."""

from __future__ import annotations

import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.backend.near import Tables, connect, listening


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


# --- where else somebody listens -------------------------------------------------------------------

TABLE = b"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0 0 10 0
   1: 00000000:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0 0 10 0
   2: 0100007F:C350 0100007F:0BB8 01 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0 0 10 0
   3: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00
   4: 0100007F:2328 00000000:0000 0A 0000"""


def test_the_ports_of_a_table() -> None:
    assert listening(TABLE) == {3000, 53, 8080}


@given(st.integers(0, len(TABLE)))
def test_a_table_that_is_cut_anywhere(at: int) -> None:
    assert listening(TABLE[:at]) <= {3000, 53, 8080}


def test_where_it_listens_instead_is_said_and_what_is_ours_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("127.0.0.1", 0)) as own:
        port, ours = other.getsockname()[1], own.getsockname()[1]
        tables = Tables({ours})
        assert port in tables.ports()
        assert ours not in tables.ports()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionRefusedError, match="nobody listens there, but on port"):
                connect(taken.getsockname()[1], tables)
        for fd in tables.descriptors:
            os.close(fd)
