"""What must hold of the machine's results, and the table for docs/quotas.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Said = dict[str, Any]
RLIMITS, DIRECT = "user without a manager", "root, no manager in sight"
MEMORY_MOST = {True: 1.05, False: 1.4}
"""At the kill, over the limit: with a cgroup, and by polling."""


def problems(row: Said, *, cpu: bool) -> list[str]:
    """What does not hold of one row; nothing where all does. `cpu`: users have its controller."""
    way, _, part = row["part"].rpartition(": ")
    if part not in RULES:
        return [] if row["part"] in ("systemd", "end") else ["no such part"]
    said = row["said"]["said"]
    if not isinstance(said, dict) or "error" in said or "said" in said:
        return [f"it failed: {said}"]
    if "nothing" in said and way in (RLIMITS, DIRECT):
        return []
    refused = way == RLIMITS or (not cpu and not way.startswith("root"))
    if part == "cpu" and refused:
        return [] if "cannot-enforce" in said.get("refused", "") else ["its share was not refused"]
    found = [text for text, holds in RULES[part](said, way) if not holds]
    return found + ([f"left: {said['left']}"] if said.get("left") else [])


def doctor(said: Said, way: str) -> Iterable[tuple[str, bool]]:
    """A scope is offered, or what there is instead is said."""
    how = {RLIMITS: "", DIRECT: "v2 below "}.get(way, "v2, a scope for each sandbox below ")
    yield "doctor does not say how", said["cgroups"]["detail"].startswith(how)
    scoped = way not in (RLIMITS, DIRECT)
    yield "the plan does not say how", any("in a scope of its own" in row for row in said["plan"]) is scoped


def memory(said: Said, way: str) -> Iterable[tuple[str, bool]]:
    """A breach with its numbers, and the kernel's own word."""
    yield "not ended as a breach", said["exit"] == 124
    yield "the open call is not told", rule(said) == "quota.memory"
    yield "too much memory at the kill", said["peak_of_limit"] <= MEMORY_MOST[way != RLIMITS]
    if way != RLIMITS:
        yield "the whole group was not killed", "oom_group_kill" in said["events"]
        yield "swap is not off, or the group is not one", said["swap, oom.group"] == "0 1"


def pids(said: Said, way: str) -> Iterable[tuple[str, bool]]:
    """Never more than asked for and process 1."""
    yield "not ended as a breach", said["exit"] == 124
    yield "too many processes", processes(said) <= 32
    if way != RLIMITS:
        # One more for a moment: the kernel counts a process before it refuses it.
        yield "the kernel counts too many", said["most"] <= 34
        yield "the kernel tells of no refusal", said["events"][-1:] not in ([], ["0"])


def cpu(said: Said, way: str) -> Iterable[tuple[str, bool]]:
    """Half a processor for two busy processes."""
    yield "more than its share, or none", 0.3 <= said.get("share", 9) <= 0.6


def frozen(said: Said, way: str) -> Iterable[tuple[str, bool]]:
    """Stopped whole and set going, then killed, by the cgroup's files."""
    if way != RLIMITS:
        yield "not frozen", said["freeze"] == {"1": "frozen 1", "0": "frozen 0"}
        yield "not killed", said["exit"] == 137


def seen(said: Said, way: str) -> Iterable[tuple[str, bool]]:
    """With a cgroup the kernel has every number."""
    if way != RLIMITS:
        yield f"measured by {said['mechanism']}", said["mechanism"] == "cgroup-v2"
        yield f"not all is known: {said['use']}", all(value is not None for value in said["use"].values())


def stopped(said: Said, way: str) -> Iterable[tuple[str, bool]]:
    """Who stops the scope ends the sandbox."""
    if way != RLIMITS:
        yield "it went on", said["exit"] is not None and said["ended_ms"] < 5000


def outlive(said: Said, way: str) -> Iterable[tuple[str, bool]]:
    """A client that outlives its login keeps its sandbox."""
    yield "it ended with the login", said["answered"]


def nothing_left(said: Said, way: str) -> Iterable[tuple[str, bool]]:
    """At no moment."""
    yield f"something stayed: {said.get('stayed')}", not said.get("stayed")


RULES: dict[str, Callable[[Said, str], Iterable[tuple[str, bool]]]] = {
    "doctor": doctor, "start": nothing_left, "memory": memory, "pids": pids, "cpu": cpu, "frozen": frozen,
    "seen": seen, "stopped": stopped, "storm": nothing_left, "outlive": outlive,
}  # fmt: skip


def rule(said: Said) -> str:
    """The rule that the open call's error names."""
    errors = (
        line["error"]["data"]["rule"] for line in said["answer"] if isinstance(line, dict) and "error" in line
    )
    return next(errors, "")


COLUMNS = [
    "started from",
    "by",
    "memory at the kill",
    "processes of 32",
    "of 0.5 CPU",
    "frozen",
    "killed 20 times, left",
]


def table(rows: list[Said]) -> str:
    """One line for each way in which the program was started, in Markdown."""
    by_way: dict[str, dict[str, Said]] = {}
    for row in rows:
        way, _, part = row["part"].rpartition(": ")
        if part in RULES and part != "outlive" and isinstance(row["said"]["said"], dict):
            by_way.setdefault(way, {})[part] = row["said"]["said"]
    lines = [COLUMNS, ["---"] * len(COLUMNS), *([way, *cells(parts)] for way, parts in by_way.items())]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cells(parts: dict[str, Said]) -> list[str]:
    """The numbers of one way; a dash where one is missing."""
    memory, pids, cpu = parts.get("memory", {}), parts.get("pids", {}), parts.get("cpu", {})
    freeze, storm = parts.get("frozen", {}).get("freeze"), parts.get("storm", {})
    doctor = parts.get("doctor", {}).get("cgroups", {}).get("detail", "")
    how = "cgroup v2" if "v2 below" in doctor else "rlimits and polling"
    how = "cgroup v2, a scope" if "scope for each" in doctor else how
    return [
        how,
        f"{memory['peak_of_limit']:.2f} of the limit, exit {memory['exit']}" if memory else "-",
        f"{processes(pids)}, exit {pids['exit']}" if pids else "-",
        "refused" if "refused" in cpu else str(cpu.get("share", "-")),
        "yes" if freeze else "-",
        f"{len(storm['stayed']) + len(storm['left'])}" if storm else "-",
    ]


def processes(pids: Said) -> int:
    """The most there were, without process 1: by the bomb's own count."""
    results = [line["result"] for line in pids["answer"] if isinstance(line, dict) and "result" in line]
    return 1 + max((int(result["content"][0]["text"]) for result in results), default=0)
