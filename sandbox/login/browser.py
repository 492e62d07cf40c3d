"""Shows a checked address in the user's browser: by the platform's own opener, and without a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from sandbox.login.address import Address

SECONDS = 10.0
_OPENERS = {"darwin": (("open",),), "linux": (("xdg-open",), ("wslview",), ("gio", "open"))}
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")


def show(page: Address, environ: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Whether an opener took the address; without a display none is asked, since it would take the terminal.

    It gets one argument that begins with `http` and holds none but the characters of `login.address`.
    """
    if platform == "linux" and not any(environ.get(name) for name in _DISPLAYS):
        return False
    for name, *rest in _OPENERS.get(platform, ()):
        program = shutil.which(name, path=environ.get("PATH", os.defpath))
        if program and _opened([program, *rest, str(page)], environ):
            return True
    return False


def _opened(words: list[str], environ: Mapping[str, str]) -> bool:
    """Whether it ended well, or still runs: some stay for as long as the browser does."""
    try:
        running = subprocess.Popen(  # noqa: S603 - a list, and the address was checked
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            start_new_session=True,
        )
        return running.wait(SECONDS) == 0
    except subprocess.TimeoutExpired:
        return True
    except OSError:
        return False
