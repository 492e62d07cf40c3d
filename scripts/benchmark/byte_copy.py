"""The least a relay in Python can do: two threads that copy bytes between a client and a server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

CHUNK = 1 << 16


def copy(source: int, target: int) -> None:
    """Copies until the source ends, then closes the target."""
    while data := os.read(source, CHUNK):
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
    os.close(target)


server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - by hand
assert server.stdin is not None  # noqa: S101 - PIPE above
assert server.stdout is not None  # noqa: S101 - PIPE above
back = threading.Thread(target=copy, args=(server.stdout.fileno(), 1))
back.start()
copy(0, server.stdin.fileno())
back.join(2)
server.kill()
os._exit(server.wait())
