"""What a scope costs a start: the program with it and without, one after the other, from a login session.

Where no controllers are to be had (here.sh) no limit is written; the scope and every move are real.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

STARTS = 20
BOMB = Path("/payload/bomb.py").read_text()
# Our own program with the limits left out, for the time alone.
DRIVER = """
import sys
from sandbox import scope
from sandbox.backend.native import cgroup
from sandbox.host import cgroups, remembered
from sandbox.records import replace

mode = sys.argv.pop(1)
offered = cgroups._from_manager
cgroup.settings = lambda limits: []
remembered._code = lambda: mode
scope.CONTROLLERS, cgroups._V2 = (), {}


def find():
    mounted = cgroups._mounted(cgroups._read("/proc/self/mountinfo"))["unified"]
    found, why = offered(mounted)
    return replace(found, lacks=()) if found else sys.exit(why)


cgroups.find = find if mode == "scope" else cgroups.Cgroups
from sandbox.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
CLIENT = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "v2", "version": "1"}}
HELLO = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": CLIENT}


def start(mode: str) -> float:
    """Milliseconds from the spawn to the first answer."""
    own = {
        "HOME": os.environ["HOME"],
        "PATH": "/usr/bin:/bin",
        "XDG_CACHE_HOME": f"{os.environ['HOME']}/{mode}",
    }
    words = ["run", "--name", "cost", "--backend", "native", "--", "/usr/bin/python3", "-c", BOMB]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", DRIVER, mode, *words], env=own, **pipes)  # type: ignore[call-overload]  # noqa: S603
    process.stdin.write(json.dumps(HELLO).encode() + b"\n")
    process.stdin.flush()
    answered = bool(process.stdout.readline())
    spent = (time.monotonic() - began) * 1000
    if answered and (mode == "scope") is not scoped():
        sys.exit(f"the sandbox is not where `{mode}` says")
    process.stdin.close()
    if process.wait(10) or not answered:
        sys.exit(f"no answer with `{mode}`")
    return spent


def scoped() -> bool:
    """Whether the sandbox that runs has its own scope."""
    return any("mcp-sandbox-" in path.read_text() for path in Path("/proc").glob("[0-9]*/cgroup"))


def main() -> None:
    """Both, interleaved; the first of each fills the memory of the host's facts."""
    spent: dict[str, list[float]] = {"scope": [], "none": []}
    for turn in range(STARTS + 1):
        for mode, found in spent.items():
            took = start(mode)
            found += [took] if turn else []
    for mode, found in spent.items():
        sys.stdout.write(f"{mode}: median {statistics.median(found):.1f} ms, least {min(found):.1f} ms\n")


if __name__ == "__main__":
    main()
