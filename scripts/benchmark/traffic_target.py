"""What the measured server talks to: echoes 64 bytes, sends and takes bulk, raw and over TLS, one at a time.

`traffic_target.py [CERTIFICATE KEY]` says its ports as one JSON line, and ends with its standard input. An
opening of 64 bytes says what is wanted, and is echoed; a connection that is to be held stays open.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading

OPENING = 64
CHUNK = 1 << 18
HELD: list[socket.socket] = []


def serve(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    """One connection after another: what is measured is the way here, not this."""
    block = memoryview(bytearray(CHUNK))
    while True:
        client, _ = listener.accept()
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one = client if context is None else context.wrap_socket(client, server_side=True)
            with one:
                answer(one, block)
        except OSError:
            continue  # whoever measures has noticed


def answer(one: socket.socket, block: memoryview) -> None:
    """Does what the opening says."""
    opening = one.recv(OPENING)  # sent whole, and loopback keeps it so
    one.sendall(opening)
    _, what, size = opening.split()
    if what == b"hold":
        HELD.append(one.dup())
    elif what == b"download":
        give(one, block, int(size))
    elif what == b"upload":
        take(one, block, int(size))
        one.sendall(opening)


def give(one: socket.socket, block: memoryview, size: int) -> None:
    """Sends `size` bytes."""
    while size:
        part = block[: min(size, CHUNK)]
        one.sendall(part)
        size -= len(part)


def take(one: socket.socket, block: memoryview, size: int) -> None:
    """Receives `size` bytes."""
    while size:
        got = one.recv_into(block)
        if not got:
            raise ConnectionError("the other side closed early")
        size -= got


def main(pair: list[str]) -> None:
    """Serves until the end of standard input."""
    ports = {}
    for name in ("raw", "tls") if pair else ("raw",):
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        ports[name] = listener.getsockname()[1]
        context = None
        if name == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*pair)
        threading.Thread(target=serve, args=(listener, context), daemon=True).start()
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


main(sys.argv[1:])
