"""One attempt at what a server has no business doing; run with `python -I -c` inside and outside the sandbox.

It prints what it got as a hash over a nonce that the demo chose. The demo never believes it: it knows the
hash itself, or looks at the file, the socket or the process that the attempt was about.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import signal
import socket
import sys
from typing import Any

Found = dict[str, Any]


def proof(ask: Found, data: bytes) -> str:
    """What only someone who has `data` can print."""
    return hashlib.sha256(ask["nonce"].encode() + data).hexdigest()


def read(ask: Found) -> Found:
    """Reads a file."""
    with open(ask["path"], "rb") as file:
        return {"proofs": [proof(ask, file.read())]}


def write(ask: Found) -> Found:
    """Creates a file, or adds to one."""
    with open(ask["path"], "ab") as file:
        file.write(ask["content"].encode())
    return {}


def environ(ask: Found) -> Found:
    """Looks for a variable in its own environment and in that of every process it can read."""
    prefix = ask["variable"].encode() + b"="
    found = [os.environb.get(ask["variable"].encode(), b"")]
    for place in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(place, "rb") as file:
                found += [v[len(prefix) :] for v in file.read().split(b"\0") if v.startswith(prefix)]
        except OSError:
            continue
    return {"proofs": sorted({proof(ask, value) for value in found if value})}


def processes(ask: Found) -> Found:
    """Lists every process, each by its last argument."""
    proofs = []
    for place in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(place, "rb") as file:
                proofs.append(proof(ask, file.read().rstrip(b"\0").rpartition(b"\0")[2]))
        except OSError:
            continue
    return {"proofs": proofs, "count": len(proofs)}


def kill(ask: Found) -> Found:
    """Ends a process."""
    os.kill(ask["pid"], signal.SIGKILL)
    return {}


def datagram(ask: Found) -> Found:
    """Sends one UDP datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(bytes.fromhex(ask["payload"]), (ask["host"], ask["port"]))
    return {}


def connect(ask: Found) -> Found:
    """Connects and sends."""
    with socket.create_connection((ask["host"], ask["port"]), timeout=5) as out:
        out.sendall(bytes.fromhex(ask["payload"]))
    return {}


def unix(ask: Found) -> Found:
    """Connects to a unix socket, sends, and returns the body of what comes back, if it is asked for."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as out:
        out.settimeout(5)
        out.connect(ask["path"])
        out.sendall(bytes.fromhex(ask["payload"]))
        if not ask["answers"]:
            return {}
        data = b""
        while chunk := out.recv(65536):
            data += chunk
    return {"proofs": [proof(ask, data.partition(b"\r\n\r\n")[2])]}


ACTS = {one.__name__: one for one in (read, write, environ, processes, kill, datagram, connect, unix)}


def main() -> None:
    """Tries one act; what stopped it is told by the name of the error."""
    act, ask = sys.argv[1], json.loads(sys.argv[2])
    try:
        found = ACTS[act](ask)
    except OSError as error:
        import errno

        found = {"error": errno.errorcode.get(error.errno or 0, type(error).__name__)}
    sys.stdout.write(json.dumps({"tried": ask["nonce"], **found}) + "\n")


main()
