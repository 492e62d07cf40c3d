"""Runs as root on the machine: lets each caller do its part and writes a JSON line for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAYLOAD = Path("/payload")
CALLER = "/usr/bin/python3 /payload/caller.py"
RUNTIME = "/run/user/1000"
HIDE = 'for place in systemd dbus; do mount -t tmpfs tmpfs /run/$place; done; export HOME=/root; exec "$@"'
# How a program comes to run, and with which words it is started so.
HOME = ["HOME=/home/caller", "USER=caller"]
AS_USER = ["runuser", "-u", "caller", "--", "env", f"XDG_RUNTIME_DIR={RUNTIME}", *HOME]
WAYS = {
    "unit of the user's manager": [*AS_USER, "systemd-run", "--user", "--wait", "--pipe", "--collect", "-q"],
    "scope of the user's manager": [*AS_USER, "systemd-run", "--user", "--scope", "-q"],
    "session scope": ["su", "-l", "caller", "-c"],
    "root, session scope": ["su", "-l", "root", "-c"],
    "root, unit": ["env", "HOME=/root"],
    "root, no manager in sight": ["unshare", "-m", "sh", "-ec", HIDE, "sh"],
    "user without a manager": ["runuser", "-u", "lonely", "--", "env", "HOME=/home/lonely"],
}
PARTS = ["doctor", "start", "memory", "pids", "cpu", "seen", "frozen", "stopped", "storm"]


def main() -> None:
    """Everything, and a last line that says so."""
    with open(sys.argv[1], "w", buffering=1) as results:
        tell(results, "systemd", version())
        prepare()
        only = [name for name in (PAYLOAD / "only").read_text().split(",") if name]
        asked = (PAYLOAD / "way").read_text()
        for way, words in WAYS.items():
            if asked not in way:
                continue
            for answer in ask(words, only or PARTS):
                tell(results, f"{way}: {answer['part']}", answer)
        if not only and not asked:
            tell(results, "logged out: outlive", outlive())
        tell(results, "end", "")


def tell(results: Any, part: str, said: object) -> None:
    """One result."""
    results.write(json.dumps({"part": part, "said": said}) + "\n")


def version() -> str:
    """Of systemd and the kernel."""
    systemd = output(["systemctl", "--version"]).splitlines()[0]
    cpu = ", users without the cpu controller" if (PAYLOAD / "delegate.conf").exists() else ""
    return f"{systemd}, Linux {os.uname().release}{cpu}"


def prepare() -> None:
    """A user's manager that stays, with or without the processor's controller."""
    delegate = PAYLOAD / "delegate.conf"
    if delegate.exists():
        place = Path("/etc/systemd/system/user@.service.d")
        place.mkdir(parents=True)
        (place / "delegate.conf").write_text(delegate.read_text())
        output(["systemctl", "daemon-reload"])
    output(["loginctl", "enable-linger", "caller"])
    deadline = time.monotonic() + 20
    while not Path(RUNTIME, "systemd/private").exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def ask(words: list[str], parts: list[str]) -> Iterator[dict[str, Any]]:
    """What a caller says to its parts, as it comes."""
    for part in parts:
        command = f"{CALLER} {part}"
        argv = [*words, command] if words[-1] == "-c" else [*words, *command.split()]
        yield said(part, output(argv, seconds=300))


def said(part: str, text: str) -> dict[str, Any]:
    """The one line of a part; where there is none, all the same what was printed."""
    lines = text.splitlines()
    nothing = {"part": part, "said": {"said": lines}}
    return next((json.loads(line) for line in lines if line.startswith("{")), nothing)


def outlive() -> dict[str, Any]:
    """A user without lingering logs in, starts a client in the background and logs out."""
    place = Path("/home/lonely/outlive")
    output(["su", "-l", "lonely", "-c", f"setsid {CALLER} outlive >{place} 2>&1 &"])
    deadline = time.monotonic() + 120
    while not (place.exists() and place.read_text().endswith("\n")) and time.monotonic() < deadline:
        time.sleep(0.5)
    return said("outlive", place.read_text() if place.exists() else "")


def output(argv: list[str], seconds: float = 120) -> str:
    """A command's stdout; its stderr goes to the console."""
    pipes = {"stdout": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    # S603: words of ours.
    ran = subprocess.run(argv, text=True, timeout=seconds, check=False, **pipes)  # type: ignore[call-overload]  # noqa: S603
    return str(ran.stdout)


if __name__ == "__main__":
    main()
