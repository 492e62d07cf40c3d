"""A server for the machine: answers `initialize`, and does at a call what the call is named for."""

import json
import os
import sys
import time
from collections.abc import Callable


def answer(request: dict[str, object], result: dict[str, object]) -> None:
    """One line, at once."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}) + "\n")
    sys.stdout.flush()


def memory() -> None:
    """One touched mebibyte after the other."""
    held = []
    while True:
        held.append(bytearray(b"x" * (1 << 20)))


def pids() -> int:
    """Children that stay, until the kernel gives no more; how many there were."""
    made = 0
    while True:
        try:
            if os.fork() == 0:
                time.sleep(600)
        except OSError:
            return made
        made += 1


def cpu() -> None:
    """Two busy processes for six seconds."""
    end = time.monotonic() + 6
    child = os.fork()
    while time.monotonic() < end:
        pass
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


BOMBS: dict[str, Callable[[], object]] = {"memory": memory, "pids": pids, "cpu": cpu, "nothing": str}

for line in sys.stdin:
    request = json.loads(line)
    if request["method"] == "initialize":
        info = {"name": "bomb", "version": "1"}
        answer(request, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info})
    elif request["method"] == "tools/call":
        said = BOMBS[request["params"]["name"]]()
        answer(request, {"content": [{"type": "text", "text": str(said)}]})
