"""Whom a breach is told besides the client: `[breach] notify` starts each, and waits for none."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

from sandbox.event import Value
from sandbox.policy.model import Policy

WITHIN_S = 5
"""How long a notification may run, also beyond the end of the session."""
_PROGRAM = f"{os.path.dirname(os.path.abspath(__file__))}/notify_program.py"
_TITLE = "mcp-sandbox"
_SCRIPT = "on run argv\ndisplay notification (item 1 of argv) with title (item 2 of argv)\nend run"
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SAID_MAX = 500


class Notifier:
    """One session's `[breach] notify`; `note` tells a person what cannot be started, which fails nothing."""

    def __init__(
        self, policy: Policy, server: str, environ: Mapping[str, str], note: Callable[[str], None]
    ) -> None:
        self._wanted = list(dict.fromkeys(policy.breach.notify))
        self._environ = without_secrets(environ, [secret.name for secret in policy.secrets])
        self._server = server
        self._note = note

    def tell(self, event: Mapping[str, Value]) -> None:
        """Starts all of them, and waits for none."""
        for wanted in self._wanted.copy():
            try:
                self._start(argv(wanted, str(event["message"]), self._environ), event)
            except (OSError, ValueError) as error:
                what = f"`{wanted.partition(':')[0]}` cannot be started: {error}"
                self._note(f"warning: not-notified\n  {what}")
                self._wanted.remove(wanted)  # it would not be there the next time either

    def _start(self, command: list[str], event: Mapping[str, Value]) -> None:
        """A process of its own ends it in time: ours may be gone by then."""
        told = json.dumps({"schema": 1, "server": self._server, **event}).encode()
        process = subprocess.Popen(  # noqa: S603 - what the user's own profile names
            [sys.executable, "-I", "-S", _PROGRAM, str(WITHIN_S), *command],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=self._environ, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None  # noqa: S101 - it was asked for
        # A pipe holds more than an event: this waits for no reader.
        with process.stdin as stdin:
            stdin.write(told + b"\n")
        threading.Thread(target=process.wait, name="notify", daemon=True).start()


def argv(wanted: str, message: str, environ: Mapping[str, str]) -> list[str]:
    """The program and its arguments, no shell between; ValueError where there is none."""
    if wanted != "desktop":
        words = shlex.split(wanted.removeprefix("command:"))
        return [_found(words[0] if words else "", environ), *words[1:]]
    if sys.platform == "darwin":
        return [_found("osascript", environ), "-e", _SCRIPT, message[:_SAID_MAX], _TITLE]
    # Servers of notifications may read a body as markup.
    body = message[:_SAID_MAX].translate(_MARKUP)
    options = ("--app-name=mcp-sandbox", "--urgency=critical", "--")
    return [_found("notify-send", environ), *options, _TITLE, body]


def _found(program: str, environ: Mapping[str, str]) -> str:
    found = shutil.which(program, path=environ.get("PATH", os.defpath))
    if found is None:
        raise ValueError(f"there is no program `{program}`")
    return os.path.abspath(found)


def without_secrets(environ: Mapping[str, str], names: list[str]) -> dict[str, str]:
    """The caller's environment without the server's secrets, under whatever name they stand there."""
    values = {environ[name] for name in names if environ.get(name)}
    return {name: value for name, value in environ.items() if name not in names and value not in values}
