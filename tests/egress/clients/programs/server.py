"""An MCP server whose one tool runs a command as its child, and says how that ended.

Standard library only; it must start under any Python.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any


def run(argv: list[str], env: dict[str, str] | None = None, seconds: float = 25.0) -> dict[str, Any]:
    """Exit status (None: it had to be ended), what it said, and how long it took."""
    began = time.monotonic()
    environ = {**os.environ, **(env or {})}
    child = subprocess.Popen(
        argv, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, err = child.communicate(timeout=seconds)
        status: int | None = child.returncode
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        status = None
    return {"status": status, "out": out, "err": err, "seconds": time.monotonic() - began}


def environ() -> dict[str, str]:
    """The server's own environment, as the kernel gave it."""
    with open("/proc/self/environ", "rb") as file:
        return dict(pair.decode().split("=", 1) for pair in file.read().split(b"\0") if pair)


TOOLS = {"run": run, "environ": environ}


def main() -> None:
    for line in sys.stdin:
        call = json.loads(line)
        arguments = call["params"]["arguments"]
        arguments.pop("child", None)
        result = TOOLS[call["params"]["name"]](**arguments)
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
