"""Finds logs, reads them and verifies them; follows no link and changes nothing."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sandbox.audit import place
from sandbox.audit.chain import HEAD_SIZE, LINE_MAX, Head, parse_head
from sandbox.audit.verify import Finding, verify
from sandbox.errors import AuditError, UsageError
from sandbox.records import dataclass

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Log:
    """One log file: of the one `session` it is named after, or shared (`session` is "")."""

    path: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What verifying a log found: `finding` is None for a log as it was written."""

    log: Log
    events: int
    """As many as the heads remember."""
    finding: Finding | None
    unfinished: tuple[str, ...] = ()
    """Sessions that never closed their chain: killed, or still running."""


def logs(environ: Mapping[str, str]) -> list[Log]:
    """Every session's log under the state directory, the newest first; also of a head whose log is gone."""
    directory = place.directory(environ)
    try:
        with os.scandir(directory) as entries:
            names = {entry.name: entry.stat(follow_symlinks=False).st_mtime_ns for entry in entries}
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(directory, error) from error
    sessions: dict[str, int] = {}
    for name, time in names.items():
        session, dot, kind = name.rpartition(".")
        if dot and kind in ("jsonl", "head") and place.is_session(session):
            sessions[session] = max(time, sessions.get(session, 0))
    newest = sorted(sessions, key=lambda session: (-sessions[session], session))
    return [Log(f"{directory}/{session}.jsonl", session) for session in newest]


def find(environ: Mapping[str, str], wanted: str) -> Log:
    """The log a person means: a path, a session, a unique beginning of one, or a server (its newest)."""
    if "/" in wanted or wanted.endswith(".jsonl"):
        return _at(environ, os.path.abspath(wanted))
    known = logs(environ)
    exact = [log for log in known if log.session == wanted]
    begun = exact or [log for log in known if wanted and log.session.startswith(wanted)]
    if len(begun) > 1:
        what = f"`{wanted}` begins {len(begun)} sessions: {', '.join(log.session for log in begun[:5])}"
        raise UsageError("ambiguous-session", what, hint="mcp-sandbox audit show --sessions")
    found = begun or [log for log in known if server(log) == wanted][:1]
    if not found:
        what = f"no session and no server is called `{wanted}` (a path has a `/`)"
        raise UsageError("no-such-session", what, hint="mcp-sandbox audit show --sessions")
    return found[0]


def _at(environ: Mapping[str, str], path: str) -> Log:
    directory, name = os.path.split(path)
    session = name.removesuffix(".jsonl")
    private = name.endswith(".jsonl") and place.is_session(session)
    # `SESSION.head` beside it: a log with one session, wherever it was copied to.
    if private and (os.path.lexists(f"{directory}/{session}.head") or directory == _home(environ)):
        return Log(path, session)
    return Log(path)


def _home(environ: Mapping[str, str]) -> str:
    try:
        return place.directory(environ)
    except AuditError:
        return ""


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor of a regular file, opened without following a link and without waiting for a FIFO."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise AuditError("audit-unreadable", f"`{path}` is not a regular file")
        yield fd
    finally:
        os.close(fd)


def _unreadable(path: str, error: OSError) -> AuditError:
    return AuditError("audit-unreadable", f"cannot read `{path}`: {place.reason(error)}")


def lines(fd: int) -> Iterator[bytes]:
    """The file's lines with their ends, none longer than a line of ours can be."""
    with open(fd, "rb", closefd=False) as stream:
        while line := stream.readline(LINE_MAX):
            yield line


def events(log: Log) -> Iterator[bytes]:
    """The lines of a log as they stand in the file."""
    with opened(log.path) as fd:
        yield from lines(fd)


def server(log: Log) -> str:
    """The server that a log's first event names; "" where there is none to read."""
    import json

    try:
        value = json.loads(next(events(log), b"")).get("server", "")
    except (AuditError, ValueError, AttributeError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""


def head_paths(log: Log) -> dict[str, str]:
    """Where the heads of a log are, by session."""
    directory, name = os.path.split(log.path)
    if log.session:
        return {log.session: place.head_path(log.path, log.session, shared=False)}
    try:
        names = os.listdir(directory)
    except OSError as error:
        raise _unreadable(directory, error) from error
    cut = {other: other.removeprefix(f"{name}.").removesuffix(".head") for other in names}
    return {
        session: f"{directory}/{other}"
        for other, session in cut.items()
        if place.is_session(session) and other == place.head_path(name, session, shared=True)
    }


def running(log: Log) -> set[str]:
    """The sessions of a log whose sink still holds its head."""
    return {session for session, path in head_paths(log).items() if _held(path)}


def _held(path: str) -> bool:
    try:
        with opened(path) as fd:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (AuditError, OSError):
        return False
    return False


def check(log: Log) -> Checked:
    """Verifies one log against its heads; a log that is being written meanwhile is read again."""
    for _ in range(_ATTEMPTS):
        before = _heads(log)
        checked = _check(log, before)
        if checked.finding is None or _heads(log) == before:
            break
    return checked


def _heads(log: Log) -> dict[str, bytes]:
    found = {}
    for session, path in head_paths(log).items():
        if os.path.lexists(path):
            with opened(path) as fd:
                found[session] = os.pread(fd, HEAD_SIZE + 1, 0)
    return found


def _check(log: Log, records: Mapping[str, bytes]) -> Checked:
    heads: dict[str, Head] = {}
    for session, record in records.items():
        head = parse_head(record)
        if head is None or head.session != session:
            what = f"the head of session `{session}` was changed: cannot rule out truncation"
            return Checked(log, 0, Finding(1, "head-damaged", what, session))
        heads[session] = head
    open_heads = tuple(sorted(session for session, head in heads.items() if not head.closed))
    count = sum(head.seq for head in heads.values())
    if heads and not os.path.lexists(log.path):
        return Checked(log, count, Finding(1, "truncated", "the log is gone, its head remains"), open_heads)
    with opened(log.path) as fd:
        finding = verify(lines(fd), heads, only=log.session)
    return Checked(log, count, finding, open_heads)
