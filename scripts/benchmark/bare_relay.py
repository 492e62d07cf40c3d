"""The least that something between can do: one connection at a time, copied both ways, no look and no log.

`bare_relay.py PORT...` says as one JSON line the ports by which each of those is reached, and ends with its
standard input.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading

CHUNK = 1 << 19


def serve(listener: socket.socket, port: int) -> None:
    """One connection after another."""
    block = memoryview(bytearray(CHUNK))
    while True:
        client, _ = listener.accept()
        try:
            with client, socket.create_connection(("127.0.0.1", port)) as target:
                for one in (client, target):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                copy(client, target, block)
        except OSError:
            continue  # whoever measures has noticed


def copy(client: socket.socket, target: socket.socket, block: memoryview) -> None:
    """Until both have said all; bulk goes one way at a time here, so a full sink may hold everything up."""
    to = {client.fileno(): (client, target), target.fileno(): (target, client)}
    poll = select.poll()
    for fd in to:
        poll.register(fd, select.POLLIN)
    while to:
        for fd, _ in poll.poll():
            source, sink = to[fd]
            count = source.recv_into(block)
            if count:
                sink.sendall(block[:count])
            else:
                poll.unregister(fd)
                del to[fd]
                sink.shutdown(socket.SHUT_WR)


def main(ports: list[int]) -> None:
    """Serves until the end of standard input."""
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in ports]
    for listener, port in zip(listeners, ports, strict=True):
        threading.Thread(target=serve, args=(listener, port), daemon=True).start()
    sys.stdout.write(json.dumps([one.getsockname()[1] for one in listeners]) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


main([int(word) for word in sys.argv[1:]])
