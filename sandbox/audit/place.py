"""Where the logs are and how their files are opened: never through a link, never for others to write."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping

from sandbox import places
from sandbox.errors import AuditError, UsageError

_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
HINT = "set XDG_STATE_HOME to a directory you can write, or log elsewhere with `--audit PATH`"


def directory(environ: Mapping[str, str]) -> str:
    """The directory of the logs of sessions that name no other place."""
    if not any(environ.get(name, "").startswith("/") for name in ("XDG_STATE_HOME", "HOME")):
        what = "neither HOME nor XDG_STATE_HOME says where the audit log belongs"
        raise AuditError("audit-no-place", what, hint="set HOME, or log elsewhere with `--audit PATH`")
    return f"{places.state_dir(environ)}/audit"


def head_path(log: str, session: str, *, shared: bool) -> str:
    """The head beside a log: `<session>.head`, or `LOG.<session>.head` where sessions share the log."""
    return f"{log}.{session}.head" if shared else f"{log.removesuffix('.jsonl')}.head"


def is_session(name: str) -> bool:
    """True for what can be a session's id: it is a file name too."""
    return 0 < len(name) <= 64 and name[0] not in "._-" and _ALPHABET.issuperset(name)


def check_session(session: str) -> None:
    """Refuses an id that could leave the directory or hide in it."""
    if not is_session(session):
        raise UsageError("bad-session", f"`{session!r}` cannot be a session id")


def make_directory(state: str) -> int:
    """A descriptor of `state`/audit, the latter ours alone; neither may be a link or another user's."""
    base, name = os.path.split(state)
    os.makedirs(base, mode=0o700, exist_ok=True)
    parent = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ours = _private(parent, name, state, 0o022)
    finally:
        os.close(parent)
    try:
        return _private(ours, "audit", f"{state}/audit", 0o077)
    finally:
        os.close(ours)


def _private(parent: int, name: str, shown: str, forbidden: int) -> int:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        pass
    opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        status = os.fstat(opened)
        if status.st_uid not in (os.geteuid(), 0):
            raise AuditError("audit-not-private", f"`{shown}` belongs to uid {status.st_uid}", hint=HINT)
        if status.st_mode & forbidden and status.st_uid == os.geteuid():
            os.fchmod(opened, stat.S_IMODE(status.st_mode) & ~forbidden)
    except BaseException:
        os.close(opened)
        raise
    return opened


def not_writable(path: str, error: OSError) -> AuditError:
    """The error of a log that cannot be opened for writing, with what to do about it."""
    if isinstance(error, FileExistsError):
        return AuditError("audit-exists", f"`{path}` or its head is there already; a session is logged once")
    return AuditError("audit-not-writable", f"cannot open `{path}` for writing: {reason(error)}", hint=HINT)


def reason(error: OSError) -> str:
    """What the system says went wrong, in words that fit our use of O_NOFOLLOW."""
    return "it is a symbolic link" if error.errno == errno.ELOOP else (error.strerror or str(error))
