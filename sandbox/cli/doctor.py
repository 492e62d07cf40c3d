"""`mcp-sandbox doctor`: what this host can enforce, tried just now, and what that means for each backend."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from dataclasses import asdict

from sandbox.cli import doctor_engine
from sandbox.cli.doctor_engine import Seen
from sandbox.cli.findings import Row, State
from sandbox.cli.output import document, emit, paint
from sandbox.plan.facts import HostFacts, Probe

# State -> what a terminal shows, what a pipe shows, colour.
_MARKS: dict[State, tuple[str, str, str]] = {
    "works": ("✓", "ok", "green"),
    "fails": ("✗", "FAILS", "red"),
    "limited": ("!", "limited", "yellow"),
    "absent": ("·", "-", ""),
}


def parser() -> ArgumentParser:
    """The options of `doctor`."""
    built = ArgumentParser(
        prog="mcp-sandbox doctor",
        description="Tries everything the sandbox relies on, on this host and as this user.",
        epilog="exit status: 0 the native backend can do all it must, or else the docker backend can;\n"
        "1 something stops both\n\n"
        "example:\n  mcp-sandbox doctor --json",
        formatter_class=RawDescriptionHelpFormatter,
    )
    built.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    built.add_argument(
        "--refresh", action="store_true", help="measure again what `run` remembers of this host (always done)"
    )
    return built


def main(args: Namespace) -> int:
    """Measures, renews what `run` remembers, prints; 1 where no backend can do all it must."""
    # A diagnosis from memory would repeat the trouble that was just mended: --refresh or not, it is measured.
    from sandbox.host.remembered import facts

    found = facts(os.environ, refresh=True)
    seen = doctor_engine.look(os.environ)
    backends = (native(found), doctor_engine.verdict(seen))
    if args.json:
        _json(found, seen, backends)
    else:
        _print(found, seen, backends)
    return 0 if usable(*backends) else 1


def usable(native: Row, docker: Row) -> bool:
    """True where `run` finds a backend: native with whatever it can limit, else docker with everything."""
    return native.state != "fails" or docker.state == "works"


def rows(found: HostFacts) -> list[Row]:
    """Every probe of the host: what the native backend needs first, then what is used where it exists."""
    return [
        _needed("namespaces", found.namespaces),
        _needed("read-only view", found.mounts),
        _needed("own /proc", found.proc),
        _needed("seccomp", found.seccomp),
        _needed("egress trap", found.trap),
        _needed("mapped owners", found.idmap) if found.uid == 0 else _optional("mapped owners", found.idmap),
        _cgroups(found),
        _watchdog(found),
        _landlock(found),
        _optional("bubblewrap", found.bubblewrap),
    ]


def _needed(name: str, probe: Probe) -> Row:
    return Row(name, "works" if probe.works else "fails", probe.detail, probe.hint)


def _optional(name: str, probe: Probe) -> Row:
    # What nothing depends on is no finding: no hint either.
    return Row(name, "works" if probe.works else "absent", probe.detail)


def _cgroups(found: HostFacts) -> Row:
    cgroups = found.cgroups
    whole = cgroups.version and not cgroups.lacks
    return Row("cgroups", "works" if whole else "limited", cgroups.detail, cgroups.hint)


def _watchdog(found: HostFacts) -> Row:
    """Which numbers quotas are measured by; nothing here sets project quotas for what is on a disk."""
    if found.cgroups.version:
        return Row("watchdog", "works", f"counts by cgroup v{found.cgroups.version}; files by /proc")
    return Row("watchdog", "limited", "adds up /proc; buffers of pipes and sockets are not counted")


def _landlock(found: HostFacts) -> Row:
    abi = found.landlock_abi
    return Row("landlock", "works" if abi else "absent", f"ABI {abi}" if abi else "not in this kernel")


def native(found: HostFacts) -> Row:
    """What the native backend can do here."""
    stopped = [row.name for row in rows(found) if row.state == "fails"]
    if stopped:
        return Row("native", "fails", f"cannot be used here: {', '.join(stopped)}")
    if found.cgroups.version:
        return _by_cgroup(found)
    detail = "memory by polling, processes by rlimit, both checked; CPU cannot be limited"
    return Row("native", "limited", f"isolates fully; {detail}")


def _by_cgroup(found: HostFacts) -> Row:
    by = f"by cgroup v{found.cgroups.version}"
    lacks = "cpu" in found.cgroups.lacks
    if lacks or (found.cgroups.version == 1 and "cpu" not in found.cgroups.directories):
        return Row("native", "limited", f"isolates fully; memory and processes {by}; CPU cannot be limited")
    return Row("native", "works", f"enforces everything; memory, processes and CPU {by}")


def _print(found: HostFacts, seen: Seen, backends: tuple[Row, Row]) -> None:
    who = "root, which drops to a uid of its own first" if found.uid == 0 else f"uid {found.uid}"
    emit(f"{paint('this host', 'bold', sys.stdout)}: Linux {found.kernel}, {found.machine}, as {who}\n")
    host, engine = rows(found), doctor_engine.rows(seen, found.gvisor)
    width = max(len(row.name) for row in (*host, *engine, *backends))
    for row in host:
        _line(row, width)
    for title, part in (("container engine", engine), ("backends", backends)):
        emit(f"\n{paint(title, 'bold', sys.stdout)}\n")
        for row in part:
            _line(row, width)


def _line(row: Row, width: int) -> None:
    sign, word, colour = _MARKS[row.state]
    mark = sign if _pretty() else f"{word:<7}"
    emit(
        f"  {paint(mark, colour, sys.stdout) if colour else mark}  {row.name:<{width}}  {row.detail}".rstrip()
    )
    if row.hint and row.state != "works":
        indent = " " * (width + 6 if _pretty() else width + 13)
        emit(f"{indent}hint: {row.hint}")


def _pretty() -> bool:
    return sys.stdout.isatty() and (sys.stdout.encoding or "").lower().startswith("utf")


def _json(found: HostFacts, seen: Seen, backends: tuple[Row, Row]) -> None:
    host = {"kernel": found.kernel, "machine": found.machine, "uid": found.uid, "gid": found.gid}
    probes = (*rows(found), *doctor_engine.rows(seen, found.gvisor))
    document(
        {
            "usable": usable(*backends),
            "host": host,
            "probes": [asdict(row) for row in probes],
            "cgroups": {"version": found.cgroups.version, "directories": dict(found.cgroups.directories)},
            "engine": doctor_engine.described(seen),
            "backends": [asdict(row) for row in backends],
        }
    )
