"""How a keeper steps out of its wrapper's group: what is meant for the wrapper does not end it."""

from __future__ import annotations

import os
import signal

from sandbox import linux

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGQUIT)


def leave_group() -> None:
    """A session of its own, no directory held, a name, and deaf to the signals of a terminal or a client."""
    os.setsid()
    os.chdir("/")
    linux.set_name("mcp-keeper")
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
