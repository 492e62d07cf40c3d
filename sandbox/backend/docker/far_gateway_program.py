"""Process 1 of the gateway's container: takes the holder, then is the egress gateway, reported over stdio.

Its standard input is the wrapper: when that ends, it ends at once. Before it takes the holder it gives up
every right; the one it had made the engine's machine unreachable: an address of its own that is also the
container's leads nowhere else, and the gateway treats it as this machine's (`addresses`, "own").
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from errno import EEXIST
from socket import AF_UNIX, SHUT_WR, SOCK_SEQPACKET, socket, socketpair
from threading import Thread
from typing import Any

from sandbox import linux
from sandbox.backend.docker.far_words import HEAD, Order, exempt, frame
from sandbox.backend.docker.handover import ask, hand_over
from sandbox.backend.docker.holder_program import ADDRESS, drop_rights
from sandbox.netlink import Netlink

HELD = b"H"
START_S = 15.0
_PAUSE_S = 0.002
_LARGEST = 1 << 16
Serve = Callable[[int, int, bytes, Any, Callable[[], None]], None]


def main(serve: Serve) -> None:
    """Never returns; `serve` is the gateway's own (sandbox.egress.process), until the wrapper hangs up."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    try:
        order = _order()
        _forbid(order.own)
        drop_rights()
        # Before any thread: a filter is the thread's that installs it, and of those that it starts.
        linux.install_filter(order.filter)
        outward = Thread(target=_carry_out, args=(ours,), daemon=True)
        Thread(target=_carry_in, args=(ours,), daemon=True).start()
        outward.start()
    except BaseException as error:  # nobody else would tell
        _write(frame(_fault(error)))
        os._exit(1)
    try:
        _run(serve, order, theirs)
    except BaseException as error:
        with suppress(OSError):
            theirs.setblocking(True)
            theirs.send(_fault(error))
    theirs.close()
    outward.join()
    # Not `sys.exit`: it would wait for the lock of the standard input, which a thread reads.
    os._exit(0)


def _order() -> Order:
    body = _read(sys.stdin.buffer.read, HEAD)
    # From the wrapper, whose code this process runs; nobody else reaches its input.
    found = pickle.loads(_read(sys.stdin.buffer.read, int.from_bytes(body, "big")))  # noqa: S301
    assert isinstance(found, Order)  # noqa: S101 - pickled by the other side of this module
    return found


def _read(read: Callable[[int], bytes], size: int) -> bytes:
    body = read(size)
    if len(body) != size:
        os._exit(0)  # the wrapper is gone
    return body


def _forbid(own: tuple[str, ...]) -> None:
    """Makes the addresses of the engine's machine ours, but those that the way out needs."""
    needed = exempt(_text("/proc/net/route"), _text("/etc/resolv.conf"))
    with Netlink() as netlink:
        netlink.loopback_up()
        for address in own:
            if address in needed:
                continue
            try:
                netlink.add_address(address, 128 if ":" in address else 32)
            except OSError as error:
                # There already; or no IPv6 here, and then it leads nowhere either.
                if error.errno != EEXIST and ":" not in address:
                    raise


def _text(path: str) -> str:
    with open(path) as file:
        return file.read()


def _run(serve: Serve, order: Order, channel: socket) -> None:
    gateways, holders = socketpair(AF_UNIX, SOCK_SEQPACKET)
    holder = _holder()
    if not ask(holder):
        raise ConnectionError("the holder is somebody else's")
    hand_over(holder, order.ports, holders.fileno())
    # The word that says that every socket is here goes to the wrapper like any other message.
    Thread(target=_tell_held, args=(holders, channel), daemon=True).start()
    serve(gateways.detach(), channel.fileno(), HELD, order.charge, lambda: None)


def _holder() -> socket:
    until = time.monotonic() + START_S
    while True:
        one = socket(AF_UNIX, SOCK_SEQPACKET)
        try:
            one.settimeout(START_S)
            one.connect(ADDRESS)
            return one
        except OSError:
            one.close()
            if time.monotonic() > until:
                raise
        time.sleep(_PAUSE_S)


def _tell_held(holders: socket, channel: socket) -> None:
    with suppress(OSError):
        channel.send(holders.recv(len(HELD)))


def _fault(error: BaseException) -> bytes:
    return json.dumps({"fault": f"{type(error).__name__}: {error}"[:400]}).encode()


# --- the channel -----------------------------------------------------------------------------------


def _carry_in(ours: socket) -> None:
    """The wrapper's words; an empty one is its last, an end without one is its death."""
    read = sys.stdin.buffer.read
    while True:
        body = _read(read, int.from_bytes(_read(read, HEAD), "big"))
        with suppress(OSError):
            if body:
                ours.send(body)
            else:
                ours.shutdown(SHUT_WR)


def _carry_out(ours: socket) -> None:
    """Until the gateway has said its last."""
    with suppress(OSError):
        while body := ours.recv(_LARGEST):
            _write(frame(body))


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
