"""`mcp-sandbox demo`: a real server at work in its sandbox, and what that sandbox could not do."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sandbox.cli.breach_report import visible
from sandbox.cli.output import document, emit, note, paint

if TYPE_CHECKING:
    from sandbox.demo.measure import Row, Seen
    from sandbox.demo.play import Played

HEADINGS = ("it tried to", "without the sandbox", "in the sandbox")
UNABLE = "your user cannot either"


def parser() -> argparse.ArgumentParser:
    """The options of `demo`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox demo",
        description="Runs a real MCP server in its sandbox, calls it as a client does, then tries in the\n"
        "very same sandbox what a hostile server would try. Every row is measured twice: with your own\n"
        "rights and in the sandbox. The attempts send nothing beyond this machine and leave nothing behind;\n"
        "the server's package, fetched the first time, and the audit log are kept.\n"
        "Exit 0 when the server worked and everything was blocked, else 1.",
        epilog="example: mcp-sandbox demo --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("--json", action="store_true", help="one JSON document")
    return built


def main(args: argparse.Namespace) -> int:
    """Plays the demo and shows it; needs no answer."""
    from sandbox.demo.play import play

    for number in (signal.SIGTERM, signal.SIGHUP):
        # Unwinds instead of dying on the spot, so that canaries and listeners go too.
        signal.signal(number, lambda received, _frame: sys.exit(128 + received))
    played = play(dict(os.environ), lambda text: note(f"mcp-sandbox: {text}"))
    if args.json:
        document(as_document(played))
    else:
        _show(played)
    return 0 if played.ok else 1


def as_document(played: Played) -> dict[str, Any]:
    """The whole demo as one JSON document."""
    session, audit = played.session, played.audit
    return {
        "ok": played.ok,
        "caller": "root" if os.geteuid() == 0 else "user",
        "server": {
            "title": played.server.title, "command": list(played.server.command),
            "name": session.name, "version": session.version, "tools": list(session.tools),
            "start_ms": round(session.start_s * 1000, 1), "fell_back": played.fell_back or None,
        },
        "call": {
            "tool": played.server.tool, "answer": session.answer, "worked": session.worked,
            "ms": round(session.call_s * 1000, 1), "exit_status": session.status,
        },
        "rows": [{**asdict(row), "blocked": row.blocked} for row in played.rows],
        "audit": audit and {
            "path": audit.log.path, "events": audit.events, "ok": audit.finding is None,
        },
        "config": played.config(),
    }  # fmt: skip


def _show(played: Played) -> None:
    emit("")
    for name, text in _facts(played):
        emit(f"  {paint(f'{name:<8}', 'bold', sys.stdout)}{text}")
    emit("")
    cells = [(row.tried, outside(row.outside), inside(row)) for row in played.rows]
    if sys.stdout.isatty():
        _rich(played.rows, cells)
    else:
        _plain(cells)
    blocked = sum(row.blocked for row in played.rows)
    emit("")
    emit(f"  {_verdict(played, blocked)}")
    emit("")
    for name, text in _endings(played):
        emit(f"  {paint(f'{name:<8}', 'bold', sys.stdout)}{text}")


def _facts(played: Played) -> list[tuple[str, str]]:
    session = played.session
    some = ", ".join(visible(tool) for tool in session.tools[:4])
    more = ", …" if len(session.tools) > 4 else ""
    answer = visible(session.answer.strip().replace("\n", " "))[:80]
    return [
        ("server", f"{visible(session.name)} {visible(session.version)} ({played.server.title})"),
        ("started", f"in {session.start_s * 1000:.0f} ms, up to its answer to `initialize`"),
        ("tools", f"{len(session.tools)}: {some}{more}"),
        ("called", f"{played.server.tool}, {session.call_s * 1000:.1f} ms: {answer}"),
    ]


def _verdict(played: Played, blocked: int) -> str:
    count = f"{blocked} of {len(played.rows)} attempts blocked"
    works = "the server works" if played.session.worked else "the server did not do its work"
    return paint(f"{count}, {works}", "green" if played.ok else "red", sys.stdout)


def _endings(played: Played) -> list[tuple[str, str]]:
    audit = played.audit
    if audit is None:
        logged = paint("no log of this session was found", "red", sys.stdout)
    else:
        state = "verified" if audit.finding is None else paint(audit.finding.what, "red", sys.stdout)
        logged = f"{visible(audit.log.path)}: {audit.events} events, {state}"
    return [
        ("audit", logged),
        ("config", f"in your MCP client: {json.dumps(played.config(), ensure_ascii=False)}"),
    ]


def outside(seen: Seen) -> str:
    """The control's cell: what your own rights would have given a server."""
    if seen.reached:
        return seen.text
    return UNABLE if seen.measured else seen.text.upper()


def inside(row: Row) -> str:
    """The sandbox's cell, plain without colour."""
    if row.inside.reached:
        return f"NOT BLOCKED: {row.inside.text}"
    return f"blocked: {row.inside.text}" if row.inside.measured else row.inside.text.upper()


def _plain(cells: list[tuple[str, str, str]]) -> None:
    lines = [HEADINGS, *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(2)]
    for line in lines:
        emit(f"  {line[0]:<{widths[0]}}  {line[1]:<{widths[1]}}  {line[2]}")


def _rich(rows: tuple[Row, ...], cells: list[tuple[str, str, str]]) -> None:
    # Imported here: rich costs more than everything else this command imports.
    from rich.box import ROUNDED
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(*HEADINGS, box=ROUNDED, header_style="bold")
    for row, (tried, without, within) in zip(rows, cells, strict=True):
        control = "yellow" if row.outside.reached else "dim" if row.outside.measured else "red"
        # Text, not markup: names of files and servers are shown, never interpreted.
        table.add_row(
            Text(tried), Text(without, control), Text(within, "green" if row.blocked else "bold red")
        )
    sys.stdout.flush()
    Console(highlight=False).print(Padding(table, (0, 0, 0, 1), expand=False))
