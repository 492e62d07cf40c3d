"""The process of a bridge: from a forked child of ours to one that can only speak HTTP, and ends with us.

It parses what the server says, so it gets no right that the server has not, and loses some that it has.
"""

from __future__ import annotations

import gc
import os
import posix
import resource
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn

from sandbox import linux
from sandbox.bridge import run as bridge
from sandbox.records import dataclass

OPEN_FILES = 512
MEMORY = 512 << 20
MESSAGES = 8
"""So many messages of the largest size are held besides."""


@dataclass(frozen=True, slots=True)
class Streams:
    """What a bridge reads, writes and tells a person over; everything else but `kept` is closed."""

    stdin: int
    stdout: int
    notes: int


def carry(target: bridge.Target, streams: Streams, bpf: bytes, kept: tuple[int, ...] = ()) -> NoReturn:
    """Becomes the bridge in this process, which has to be a child of its own; ends with its status.

    `kept`: descriptors that `target.dial` needs; they stay where they are.
    """
    status = 1
    try:
        _alone(streams, kept)
        _bounded(target.message)
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        linux.install_filter(bpf)
        status = bridge.run(target, 0, 1, 2)
    except BaseException as error:
        tell(2, error)
    finally:
        os._exit(status)


def forget(environ: Mapping[str, str] | Mapping[bytes, bytes]) -> None:
    """The caller's variables, which the forks before this one have brought along, are nobody's here."""
    for value in environ.values():
        linux.overwrite(value)


def tell(notes: int, error: BaseException) -> None:
    """One line about what should never happen."""
    with suppress(OSError):
        os.write(notes, f"mcp-sandbox: the bridge failed: {type(error).__name__}: {error}\n".encode()[:1000])


def _alone(streams: Streams, kept: tuple[int, ...]) -> None:
    with suppress(PermissionError):  # it leads a session already
        os.setsid()
    linux.set_name("mcp-bridge")
    linux.scrub_arguments("mcp-bridge")
    forget(posix.environ)
    os.environ.clear()
    gc.enable()  # the wrapper starts without
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for target, fd in enumerate((streams.stdin, streams.stdout, streams.notes)):
        os.dup2(fd, target)
    first = 3
    for fd in sorted(kept):
        os.closerange(first, fd)
        first = fd + 1
    linux.close_from(first)


def _bounded(message: int) -> None:
    """No file is written, and what it holds is bounded, whatever the server sends."""
    wanted = (
        (resource.RLIMIT_CORE, 1),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_DATA, MEMORY + MESSAGES * message),
    )
    for kind, most in wanted:
        _, hard = resource.getrlimit(kind)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))
