"""Writes a session's events, one line each, outside the sandbox; a write that fails ends the session.

Opened before the server is forked, hence light: no threading, datetime, pydantic or msgspec. Every event
costs two writes: the line (O_APPEND), then the head in place, so that even after SIGKILL the head knows the
last event. Denials and the end are also synced to the disk.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from _thread import allocate_lock
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType

from sandbox import places
from sandbox.audit import chain, place
from sandbox.audit.redact import Redactor
from sandbox.errors import AuditError
from sandbox.event import KINDS, Event

SYNCED = frozenset(
    kind
    for kind in KINDS
    if kind.rpartition(".")[2] in {"deny", "breach", "kill", "dropped", "waiver", "seen", "end"}
)
_LOCK_WAIT = 2.0
"""Seconds: another session holds a shared log for one write; whoever holds it longer must not hang us."""
_HINT = "make room, or log elsewhere with `--audit PATH`"


class Sink:
    """The open log of one session; a context manager that syncs and closes its chain.

    With no `path` the log is a new file under the state directory. With one, several sessions may append to
    it, each with its own chain and head. `emit` may be called by any thread, not by a signal handler.
    """

    def __init__(
        self,
        session: str,
        server: str,
        *,
        environ: Mapping[str, str],
        path: str | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        place.check_session(session)
        self.session = session
        self._redactor = Redactor(secrets)
        self._state = chain.begin(session, server)
        self._shared = path is not None
        self._writing, self._syncing = allocate_lock(), allocate_lock()
        self._failure = ""
        self._ended = self._closed = False
        self._synced = -1
        self._second, self._stamp = -1, ""
        self.path = (
            os.path.abspath(path) if path is not None else f"{place.directory(environ)}/{session}.jsonl"
        )
        with ExitStack() as opened, ExitStack() as undo:
            try:
                self._open(opened, undo, environ)
            except OSError as error:
                raise place.not_writable(self.path, error) from error
            undo.pop_all()
            self._opened = opened.pop_all()

    def _open(self, opened: ExitStack, undo: ExitStack, environ: Mapping[str, str]) -> None:
        if self._shared:
            directory = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY)
        else:
            directory = place.make_directory(places.state_dir(environ))
        opened.callback(os.close, directory)
        log = os.path.basename(self.path)
        self._log = self._open_log(log, directory)
        opened.callback(os.close, self._log)
        if not self._shared:
            undo.callback(os.unlink, log, dir_fd=directory)
        head = place.head_path(log, self.session, shared=self._shared)
        self._head = self._open_head(head, directory)
        opened.callback(os.close, self._head)
        undo.callback(os.unlink, head, dir_fd=directory)
        _write_head(self._head, self._state, closed=False)
        self._sync()
        os.fsync(directory)

    def _open_log(self, name: str, directory: int) -> int:
        # O_NONBLOCK: a FIFO planted at the path must not hang the start; a regular file ignores it.
        flags = os.O_CREAT | os.O_APPEND | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
        flags |= 0 if self._shared else os.O_EXCL
        log = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            self._check_shared(log)
        except BaseException:
            os.close(log)
            raise
        return log

    def _check_shared(self, log: int) -> None:
        """A log that exists must be a file nobody else can write, and end with a whole line."""
        status = os.fstat(log)
        if not stat.S_ISREG(status.st_mode):
            raise AuditError("audit-not-writable", f"`{self.path}` is not a regular file")
        if status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o022:
            what = f"`{self.path}` can be written by others"
            raise AuditError("audit-not-writable", what, hint="log to a new file, or `chmod go-w` this one")
        if status.st_size and os.pread(log, 1, status.st_size - 1) != b"\n":
            what = f"`{self.path}` ends in the middle of a line"
            raise AuditError("audit-damaged", what, hint=f"mcp-sandbox audit verify {self.path}")

    def _open_head(self, name: str, directory: int) -> int:
        head = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600, dir_fd=directory)
        # Held as long as the session lives: a reader that gets it knows that nobody writes any more. Some
        # network file systems have no locks; there a session merely looks as if it had ended.
        with suppress(OSError):
            fcntl.flock(head, fcntl.LOCK_EX)
        return head

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def conceal(self, secrets: Iterable[str]) -> None:
        """Adds secret values that no later event will hold."""
        self._redactor.conceal(secrets)

    def emit(self, event: Event, *, sync: bool = False) -> None:
        """Appends one event; when this returns it is written, and on the disk for `sync` and for denials.

        Raises AuditError when it cannot be, and from then on always; nothing can follow `session.end`.
        """
        self.emit_all((event,))
        if sync or event.kind in SYNCED:
            try:
                self._sync()
            except OSError as error:
                raise self._fail(error) from error

    def emit_all(self, events: Iterable[Event]) -> None:
        """Appends events with one write; they reach the disk with the next one that is synced."""
        self._check_usable()
        try:
            clean = self._redactor
            rows = [(event.kind, clean.text(event.rule), clean.json(event.detail)) for event in events]
            with self._writing:
                self._check_usable()
                self._append(rows)
        except AuditError:
            raise
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise self._fail(error) from error

    def _append(self, rows: list[tuple[str, str, str]]) -> None:
        try:
            lines, state = [], self._state
            for kind, rule, detail in rows:
                line, state = chain.append(state, kind, rule, detail, self._now())
                lines.append(line)
            self._write(b"".join(lines))
            self._state = state
            self._ended = rows[-1][0] == chain.LAST
            _write_head(self._head, state, closed=False)
        except BaseException as error:
            # Known before the lock is free: the file may hold more than the state says (a half line, or a
            # KeyboardInterrupt just after the write), so no other thread may continue from it.
            self._fail(error)
            raise

    def _check_usable(self) -> None:
        if self._failure:
            raise AuditError("audit-write-failed", self._failure, hint=_HINT)
        if self._closed or self._ended:
            raise AuditError("audit-closed", f"session `{self.session}` has ended; nothing follows its end")

    def _fail(self, error: BaseException) -> AuditError:
        reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        self._failure = f"cannot write `{self.path}`: {reason}"
        return AuditError("audit-write-failed", self._failure, hint=_HINT)

    def _now(self) -> str:
        second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{nanoseconds // 1000:06d}Z"

    def _write(self, line: bytes) -> None:
        if self._shared:
            _lock(self._log)
        try:
            written = os.write(self._log, line)
            if written != len(line):
                # The disk is full. Take the half line back, so that what is there still verifies.
                os.ftruncate(self._log, os.fstat(self._log).st_size - written)
                raise OSError(0, f"only {written} of {len(line)} bytes were written")
        finally:
            if self._shared:
                fcntl.flock(self._log, fcntl.LOCK_UN)

    def _sync(self) -> None:
        """Everything emitted before is on the disk when this returns; threads that wait share one sync."""
        wanted = self._state.seq
        with self._syncing:
            covered = self._state.seq
            if self._synced >= wanted:
                return
            if self._failure:
                raise AuditError("audit-write-failed", self._failure, hint=_HINT)
            # The log first: what the disk holds of the head is then never newer than its log.
            os.fdatasync(self._log)
            os.fdatasync(self._head)
            self._synced = covered

    def close(self) -> None:
        """Syncs the log, marks its head closed and lets go of the files; a second call does nothing."""
        # Both locks: no thread is between a check and its write when a descriptor's number becomes free.
        with self._syncing, self._writing:
            if self._closed:
                return
            self._closed = True
            with self._opened:
                self._finish()

    def _finish(self) -> None:
        if self._failure:
            return
        try:
            os.fdatasync(self._log)
            _write_head(self._head, self._state, closed=True)
            os.fdatasync(self._head)
            self._synced = self._state.seq
        except OSError as error:
            raise self._fail(error) from error


def _write_head(head: int, state: chain.State, *, closed: bool) -> None:
    record = chain.head_record(state, closed=closed)
    if os.pwrite(head, record, 0) != len(record):
        raise OSError(0, "the head was not written whole")


def _lock(log: int) -> None:
    deadline = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            return fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise OSError(error.errno, f"locked elsewhere for {_LOCK_WAIT:.0f} s") from error
            time.sleep(0.0005)
