"""A bridge that was taken over: each attack, tried as its process; `python -m` of it is that process."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORD = "canary-of-the-callers"


def outcome(attempt: Callable[[], Any]) -> Any:
    """What it gave, or by which error it failed."""
    try:
        return attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, repr(error))


def attempts(secret: int, port: int, folder: Path) -> dict[str, Any]:
    """Each attack by name, tried in whichever process this is."""

    def connected() -> str:
        with socket.socket() as one:
            one.settimeout(5)
            one.connect(("127.0.0.1", port))
            return "got"

    def listened() -> str:
        with socket.create_server(("127.0.0.1", 0)):
            return "got"

    def forked() -> str:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return "got"

    def written() -> str:
        (folder / "left").write_text("x")
        return "got"

    made = {
        "read a file": lambda: Path("/etc/passwd").read_bytes()[:1] and "got",
        "write a file": written,
        "list a folder": lambda: os.listdir("/etc") and "got",
        "connect": connected,
        "listen": listened,
        "fork": forked,
        "signal another process": lambda: os.kill(os.getppid(), 0) or "got",
        "use what was open": lambda: os.pread(secret, 64, 0).decode() and "got",
        "read the environment": lambda: "got" if WORD in os.environ.get("CANARY", "") else "empty",
        "start a thread": lambda: _thread(),
    }
    return {name: outcome(attempt) for name, attempt in made.items()}


def _thread() -> str:
    made = threading.Thread(target=lambda: None)
    made.start()
    made.join()
    return "got"


def main(names: str, secret: int, port: int, folder: Path) -> None:
    """Never returns: says on stdout what each attempt gave, behind the filter of that name."""
    from sandbox import linux
    from sandbox.backend import bridge_process
    from sandbox.backend.native import narrowed, seccomp
    from sandbox.bridge import run
    from sandbox.plan.spec import Endpoint

    def deed(_target: run.Target, _stdin: int, stdout: int, _notes: int) -> int:
        os.write(stdout, json.dumps(attempts(secret, port, folder)).encode())
        return 0

    run.run = deed
    bpf = narrowed.only(seccomp.load("net", linux.MACHINE), getattr(narrowed, names), linux.MACHINE)
    null = os.open(os.devnull, os.O_RDWR)
    streams = bridge_process.Streams(null, 1, 2)
    bridge_process.carry(run.Target(Endpoint("127.0.0.1", 1, "/")), streams, bpf)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
