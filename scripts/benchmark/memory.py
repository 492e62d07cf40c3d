"""What our own processes hold: wrapper, keeper, process 1, gateway, holder; never the server."""

from __future__ import annotations

from pathlib import Path

Held = dict[str, object]


def own(wrapper: int) -> Held:
    """What the processes of a session that this host realises hold."""
    return summed(processes(wrapper))


def processes(wrapper: int) -> dict[str, int]:
    """The pids of our processes below `wrapper`."""
    keeper = _child(wrapper, "mcp-keeper")
    init = _child(keeper, "mcp-init") if keeper else 0
    gateway = _child(wrapper, "mcp-gateway")
    ours = {"wrapper": wrapper, "keeper": keeper, "init": init, "gateway": gateway}
    return {name: pid for name, pid in ours.items() if pid}


def summed(ours: dict[str, int]) -> Held:
    """KiB of each process, and how it was read: `pss`, or `rss` where refused."""
    parts = {name: _held(pid) for name, pid in ours.items()}
    return {
        "kib": sum(kib for kib, _ in parts.values()),
        "parts": {name: {"kib": kib, "read_as": how} for name, (kib, how) in parts.items()},
    }


def below(root: int, servers: tuple[str, ...]) -> Held:
    """What `root` and all processes below it hold, but an interpreter that runs one of `servers`."""
    found, waiting = dict[str, int](), [root]
    while waiting:
        pid = waiting.pop()
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            waiting += map(int, task.read_text().split())
        # By its own words: those around it name the server too, further back.
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if not (words[1:2] == ["-I"] and words[2] in servers):
            found[str(pid)] = pid
    return summed(found)


def _child(parent: int, name: str) -> int:
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        for pid in task.read_text().split():
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                return int(pid)
    return 0


def _held(pid: int) -> tuple[int, str]:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]), "pss"
    except OSError:
        pass  # process 1 is not dumpable, so an ordinary user may not see its mappings
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4, "rss"
