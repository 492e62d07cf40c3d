"""What the wrapper says arrives whole, with its descriptor, and a wrapper that says nothing is no order."""

from __future__ import annotations

import json
import os
import socket
from threading import Thread
from typing import Any

import pytest

from sandbox.backend import early
from sandbox.backend.docker import orders
from sandbox.backend.docker.orders import Orders
from sandbox.records import names

EVERY_BYTE = bytes(range(256)).decode("latin-1")


def told(**changes: Any) -> Orders:
    usual: dict[str, Any] = {
        "name": "mcp-sandbox-s1",
        "body": {"Image": "sha256:1", "Env": ["A=é", f"B={chr(0xDC80)}"], "HostConfig": {"Memory": 1 << 40}},
        "ports": [443],
        "folder": "/state/s1",
        "files": [[0, 0o444, EVERY_BYTE], ["seccomp.json", 0o400, "{}"]],
        "trees": [[1, "/srv/ü", True, True, 0, 4_000_000_000]],
        "sources": ["/srv/p"],
        "uid": 1000,
        "gid": 1001,
        "holder": "sha256:2",
        "spares": "/state/holders",
        "labels": [["a", "b"]],
        "engine": "unix:///engine.sock",
        "limits": ["memory"],
        "remove": ["/lease"],
        "podman": True,
        "far": True,
    }
    return Orders(**(usual | changes))


@pytest.fixture
def channel() -> tuple[int, int]:
    """The wrapper's end and the keeper's, each closed by whoever uses it."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def received(channel: tuple[int, int], one: Orders, trap: int) -> tuple[Orders, int]:
    # A document larger than the socket's buffer is read while it is said.
    speaker = Thread(target=early.send, args=(channel[0], orders.spelt(one), trap))
    speaker.start()
    found = orders.receive(channel[1])
    speaker.join(10)
    assert found is not None
    return found


def test_every_field_arrives_as_it_was(channel: tuple[int, int]) -> None:
    one = told()
    assert set(json.loads(json.dumps({name: getattr(one, name) for name in names(one)}))) == set(names(one))
    found, trap = received(channel, one, 0)
    os.close(trap)
    assert found == one


def test_every_byte_of_a_file_arrives(channel: tuple[int, int]) -> None:
    found, trap = received(channel, told(files=[[3, 0o444, EVERY_BYTE * 8192]]), 0)
    os.close(trap)
    assert found.files[0][2].encode("latin-1") == bytes(range(256)) * 8192


def test_the_traps_descriptor_arrives_with_them(channel: tuple[int, int]) -> None:
    trap, gateway = socket.socketpair()
    with trap, gateway:
        found, number = received(channel, told(), trap.fileno())
        with socket.socket(fileno=number) as there:
            gateway.sendall(b"H")
            assert there.recv(1) == b"H"
            assert not os.get_inheritable(there.fileno())
        assert found.name == "mcp-sandbox-s1"


def test_both_ends_are_closed_afterwards(channel: tuple[int, int]) -> None:
    _, trap = received(channel, told(), 0)
    os.close(trap)
    for end in channel:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(end)


def test_a_wrapper_that_ends_before_its_orders_gave_none(channel: tuple[int, int]) -> None:
    os.close(channel[0])
    assert orders.receive(channel[1]) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(channel[1])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0], ids=["nothing", "half", "all but a byte"])
def test_orders_that_were_cut_short_are_none_to_follow(channel: tuple[int, int], share: float) -> None:
    document = json.dumps({name: getattr(told(), name) for name in Orders.__slots__}).encode()
    with socket.socket(fileno=channel[0]) as ours:
        socket.send_fds(ours, [b"O"], [0])
        ours.sendall(document[: int((len(document) - 1) * share)])
    with pytest.raises(json.JSONDecodeError):
        orders.receive(channel[1])


def test_words_that_are_no_orders_are_not_followed(channel: tuple[int, int]) -> None:
    with socket.socket(fileno=channel[0]) as ours:
        ours.sendall(b"X{}")
    assert orders.receive(channel[1]) is None


def test_orders_without_a_trap_are_not_followed(channel: tuple[int, int]) -> None:
    document = json.dumps({name: getattr(told(), name) for name in Orders.__slots__}).encode()
    with socket.socket(fileno=channel[0]) as ours:
        ours.sendall(b"O" + document)
    with pytest.raises((ValueError, IndexError)):
        orders.receive(channel[1])
