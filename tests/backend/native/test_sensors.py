"""The descriptors by which a sandbox is measured: all of them arrive, or it does not start."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sandbox.backend import pipes
from sandbox.backend.native import sensors


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    ends = pipes.pair()
    yield ends
    for fd in ends:
        os.close(fd)


def test_what_is_sent_arrives_by_name(pair: tuple[int, int]) -> None:
    read, write = os.pipe()
    sensors.send(pair[1], {"disk:/tmp": read})
    sensors.send(pair[1], {"syscalls": write})
    found = sensors.receive(pair[0], frozenset({"disk:/tmp", "syscalls"}))
    os.write(found["syscalls"], b"x")
    assert os.read(found["disk:/tmp"], 1) == b"x"
    assert not any(os.get_inheritable(fd) for fd in found.values())
    for fd in (read, write, *found.values()):
        os.close(fd)


def test_a_missing_one_is_an_error_and_nothing_stays_open(pair: tuple[int, int]) -> None:
    read, write = os.pipe()
    sensors.send(pair[1], {"disk:/tmp": write})
    os.close(write)
    with pytest.raises(OSError, match="measured by: syscalls"):
        sensors.receive(pair[0], frozenset({"disk:/tmp", "syscalls"}))
    assert os.read(read, 1) == b"", "somebody still holds the end that was sent"
    os.close(read)
