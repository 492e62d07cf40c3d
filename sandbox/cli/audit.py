"""`audit show`, `follow` and `verify`: what happened, as it happens, and whether it was changed."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from sandbox.audit import read
from sandbox.audit.chain import LAST
from sandbox.cli import breach_report, output
from sandbox.cli.breach_report import visible
from sandbox.errors import AuditError, UsageError
from sandbox.event import KINDS, SCHEMA

_POLL = 0.2
"""Seconds between two looks at a log that is followed."""
FAMILIES = frozenset(kind.partition(".")[0] for kind in KINDS if "." in kind)
"""What comes before the dot: `egress` stands for `egress.allow`, `egress.deny` and the rest."""
_COLOURS = {
    **dict.fromkeys(("deny", "breach", "kill", "dropped", "seen", "found", "report"), "red"),
    **dict.fromkeys(
        ("waiver", "noise", "changed", "ask", "redacted", "behaviour", "warn", "freeze"), "yellow"
    ),
    **dict.fromkeys(("allow", "ready"), "green"),
    **dict.fromkeys(("start", "end", "spec"), "bold"),
}
_EXAMPLE = """example:
  mcp-sandbox audit show github --kind egress
  mcp-sandbox audit verify"""


def parser() -> argparse.ArgumentParser:
    """The arguments of `audit` and its three commands."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox audit",
        description="Show, follow or verify the audit log.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = built.add_subparsers(dest="action", required=True, metavar="COMMAND")
    show = commands.add_parser("show", help="print a session's events")
    follow = commands.add_parser("follow", help="print a session's events as they happen, until it ends")
    for one in (show, follow):
        one.add_argument("session", nargs="?", metavar="SESSION", help=_SESSION)
        one.add_argument("--kind", choices=sorted(KINDS | FAMILIES), metavar="KIND", help=_KIND)
        one.add_argument("--json", action="store_true", help="the log's own lines")
    show.add_argument("--sessions", action="store_true", help="list the sessions instead, the newest first")
    verify = commands.add_parser("verify", help="name the first line that was changed, removed or moved")
    verify.add_argument("log", nargs="*", metavar="SESSION|PATH", help="default: every session")
    verify.add_argument("--json", action="store_true", help="one JSON document")
    return built


_KIND = "only events of this kind, `egress.deny`, or of this family, `egress`"
_SESSION = "a session, the beginning of one, a server, or a log's path (default: the newest session)"


def main(args: argparse.Namespace) -> int:
    """Runs one of the three; an unreadable log is a finding, as a changed one is."""
    if args.action == "verify":
        return _verify(args.log, as_json=args.json)
    try:
        if args.action == "follow":
            return _follow(_chosen(args.session), args.kind, as_json=args.json)
        if args.sessions:
            return _sessions(as_json=args.json)
        return _print(read.events(_chosen(args.session)), args.kind, as_json=args.json)
    except AuditError as error:
        output.note(str(error))
        return 1


def _chosen(session: str | None) -> read.Log:
    if session is not None:
        return read.find(os.environ, session)
    newest = read.logs(os.environ)[:1]
    if not newest:
        raise UsageError("no-session", "no session has been logged yet", hint="mcp-sandbox run --help")
    return newest[0]


def _print(lines: Iterator[bytes], kind: str | None, *, as_json: bool) -> int:
    """Prints events; a line that is none is told on stderr and makes the status 1."""
    status = 0
    for number, raw in enumerate(lines, start=1):
        event = _event(raw)
        if event is None:
            output.note(f"line {number} is not an event; `mcp-sandbox audit verify` says what is wrong")
            status = 1
        elif kind is None or f"{event['kind']}.".startswith(f"{kind}."):
            for line in [raw.decode("ascii", "backslashreplace").rstrip("\n")] if as_json else _told(event):
                output.emit(line)
    return status


def _event(raw: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    texts = ("time", "server", "kind", "rule")
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in texts):
        return None
    return value if isinstance(value.get("detail"), dict) else None


def _told(event: dict[str, Any]) -> list[str]:
    if event["kind"] != "breach.report":
        return [human(event)]
    summary = {"what": breach_report.summary(event["detail"])}
    return [human({**event, "detail": summary}), *breach_report.lines(event["detail"])]


def human(event: dict[str, Any]) -> str:
    """One line for a person: time, server, kind, detail, rule; what a terminal would act on is escaped."""
    moment = visible(event["time"][:23].replace("T", " "))
    kind = visible(event["kind"])
    colour = _COLOURS.get(kind.rpartition(".")[2])
    shown = output.paint(f"{kind:<18}", colour, sys.stdout) if colour else f"{kind:<18}"
    detail = " ".join(f"{visible(name)}={_compact(value)}" for name, value in event["detail"].items())
    rule = f"  [{visible(event['rule'])}]" if event["rule"] else ""
    return f"{moment}  {visible(event['server']):<12}  {shown}  {detail}{rule}".rstrip()


def _compact(value: object) -> str:
    plain = isinstance(value, str) and value and not any(char in value for char in ' "=[]')
    return visible(str(value) if plain else json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _sessions(*, as_json: bool) -> int:
    for log in read.logs(os.environ):
        first = _event(next(_safely(log), b"")) or {"time": "", "server": ""}
        alive = bool(read.running(log))
        if as_json:
            entry = {"session": log.session, "server": first["server"], "start": first["time"]}
            output.emit(json.dumps({"schema": SCHEMA, **entry, "running": alive, "path": log.path}))
            continue
        state = output.paint("running", "green", sys.stdout) if alive else "ended"
        moment = first["time"][:19].replace("T", " ")
        output.emit(f"{visible(moment):<19}  {visible(log.session)}  {visible(first['server']):<12}  {state}")
    return 0


def _safely(log: read.Log) -> Iterator[bytes]:
    try:
        yield from read.events(log)
    except AuditError:
        return


def _follow(log: read.Log, kind: str | None, *, as_json: bool) -> int:
    """Prints what is there and what comes, until the session's end or the death of its sink."""
    with read.opened(log.path) as fd:
        return _print(_flushed(_growing(log, fd)), kind, as_json=as_json)


def _flushed(lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield line
        sys.stdout.flush()


def _growing(log: read.Log, fd: int) -> Iterator[bytes]:
    while True:
        # Asked before reading: what was written before its sink let go is still read below.
        alive = bool(read.running(log))
        for line in _whole_lines(fd):
            yield line
            event = _event(line)
            if log.session and event and event["kind"] == LAST:
                return
        if not alive:
            output.note("nobody writes this log any more")
            return
        time.sleep(_POLL)


def _whole_lines(fd: int) -> Iterator[bytes]:
    """The lines from the descriptor's position on; a last line without its end is left for the next time."""
    rest = b""
    while chunk := os.read(fd, 1 << 16):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
    os.lseek(fd, -len(rest), os.SEEK_CUR)


def _verify(wanted: list[str], *, as_json: bool) -> int:
    try:
        logs = [read.find(os.environ, name) for name in wanted] if wanted else read.logs(os.environ)
    except AuditError as error:
        output.note(str(error))
        return 1
    results = [_result(log) for log in logs]
    if as_json:
        output.document({"ok": all(result["ok"] for result in results), "logs": results})
    else:
        for result in results:
            output.emit(_verdict(result))
        if not results:
            output.note("no session has been logged yet")
    return 0 if all(result["ok"] for result in results) else 1


def _result(log: read.Log) -> dict[str, Any]:
    try:
        checked = read.check(log)
    except AuditError as error:
        finding = {"line": 0, "fault": "unreadable", "what": error.what, "session": log.session}
        return {"path": log.path, "ok": False, "events": 0, "finding": finding, "unfinished": []}
    found = checked.finding
    return {
        "path": log.path,
        "ok": found is None,
        "events": checked.events,
        "finding": found
        and {"line": found.line, "fault": found.fault, "what": found.what}
        | ({"session": found.session} if found.session else {}),
        "unfinished": list(checked.unfinished),
    }


def _verdict(result: dict[str, Any]) -> str:
    path, finding = visible(result["path"]), result["finding"]
    if finding:
        bad = output.paint("bad", "red", sys.stdout)
        place = f":{finding['line']}" if finding["line"] else ""
        return f"{bad}  {path}{place}: {finding['fault']}: {visible(finding['what'])}"
    ok = output.paint("ok", "green", sys.stdout)
    left = f", not closed: {', '.join(result['unfinished'])}" if result["unfinished"] else ""
    return f"{ok}  {path}: {result['events']} events{left}"
