"""`mcp-sandbox doctor`: what this host can enforce, tried just now, and what that means for each backend."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from dataclasses import asdict, dataclass
from typing import Literal

from sandbox.cli.output import document, emit, paint
from sandbox.plan.facts import HostFacts, Probe

State = Literal["works", "fails", "limited", "absent"]
# State -> what a terminal shows, what a pipe shows, colour.
_MARKS: dict[State, tuple[str, str, str]] = {
    "works": ("✓", "ok", "green"),
    "fails": ("✗", "FAILS", "red"),
    "limited": ("!", "limited", "yellow"),
    "absent": ("·", "-", ""),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report: a probe or a backend."""

    name: str
    state: State
    detail: str
    hint: str = ""


def parser() -> ArgumentParser:
    """The options of `doctor`."""
    built = ArgumentParser(
        prog="mcp-sandbox doctor",
        description="Tries everything the sandbox relies on, on this host and as this user.",
        epilog="exit status: 0 the native backend can do all it must, 1 something stops it\n\n"
        "example:\n  mcp-sandbox doctor --json",
        formatter_class=RawDescriptionHelpFormatter,
    )
    built.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    built.add_argument(
        "--refresh", action="store_true", help="measure again what `run` remembers of this host (always done)"
    )
    return built


def main(args: Namespace) -> int:
    """Measures, renews what `run` remembers, prints; 1 where the native backend cannot be used."""
    # A diagnosis from memory would repeat the trouble that was just mended: --refresh or not, it is measured.
    from sandbox.host.remembered import facts

    found = facts(os.environ, refresh=True)
    native, docker = verdicts(found)
    if args.json:
        _json(found, native, docker)
    else:
        _print(found, [native, docker])
    return 1 if native.state == "fails" else 0


def rows(found: HostFacts) -> list[Row]:
    """Every probe: what the native backend needs first, then what is only used where it exists."""
    return [
        _needed("namespaces", found.namespaces),
        _needed("read-only view", found.mounts),
        _needed("own /proc", found.proc),
        _needed("seccomp", found.seccomp),
        _needed("egress trap", found.trap),
        _needed("mapped owners", found.idmap) if found.uid == 0 else _optional("mapped owners", found.idmap),
        _cgroups(found),
        _landlock(found),
        _optional("bubblewrap", found.bubblewrap),
        _optional("docker engine", found.docker),
        _optional("gvisor", found.gvisor),
    ]


def _needed(name: str, probe: Probe) -> Row:
    return Row(name, "works" if probe.works else "fails", probe.detail, probe.hint)


def _optional(name: str, probe: Probe) -> Row:
    # What nothing depends on is no finding: no hint either.
    return Row(name, "works" if probe.works else "absent", probe.detail)


def _cgroups(found: HostFacts) -> Row:
    cgroups = found.cgroups
    return Row("cgroups", "works" if cgroups.version else "limited", cgroups.detail, cgroups.hint)


def _landlock(found: HostFacts) -> Row:
    abi = found.landlock_abi
    return Row("landlock", "works" if abi else "absent", f"ABI {abi}" if abi else "not in this kernel")


def verdicts(found: HostFacts) -> tuple[Row, Row]:
    """What each backend can do here: native, then docker."""
    stopped = [row.name for row in rows(found) if row.state == "fails"]
    if stopped:
        native = Row("native", "fails", f"cannot be used here: {', '.join(stopped)}")
    elif found.cgroups.version:
        native = _by_cgroup(found)
    else:
        detail = "memory by polling, processes by rlimit, both checked; CPU cannot be limited"
        native = Row("native", "limited", f"isolates fully; {detail}")
    engine = "an engine answers" if found.docker.works else "no engine answers"
    return native, Row("docker", "absent", f"{engine}; this backend comes in a later version")


def _by_cgroup(found: HostFacts) -> Row:
    by = f"by cgroup v{found.cgroups.version}"
    if found.cgroups.version == 1 and "cpu" not in found.cgroups.directories:
        return Row("native", "limited", f"isolates fully; memory and processes {by}; CPU cannot be limited")
    return Row("native", "works", f"enforces everything; memory, processes and CPU {by}")


def _print(found: HostFacts, backends: list[Row]) -> None:
    who = "root, which drops to a uid of its own first" if found.uid == 0 else f"uid {found.uid}"
    emit(f"{paint('this host', 'bold', sys.stdout)}: Linux {found.kernel}, {found.machine}, as {who}\n")
    table = rows(found)
    width = max(len(row.name) for row in (*table, *backends))
    for row in table:
        _line(row, width)
    emit(f"\n{paint('backends', 'bold', sys.stdout)}\n")
    for row in backends:
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


def _json(found: HostFacts, native: Row, docker: Row) -> None:
    host = {"kernel": found.kernel, "machine": found.machine, "uid": found.uid, "gid": found.gid}
    document(
        {
            "usable": native.state != "fails",
            "host": host,
            "probes": [asdict(row) for row in rows(found)],
            "cgroups": {"version": found.cgroups.version, "directories": dict(found.cgroups.directories)},
            "backends": [asdict(native), asdict(docker)],
        }
    )
