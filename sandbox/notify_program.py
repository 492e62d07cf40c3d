"""Run as a program of its own: starts a command and ends it, with all it started, after some seconds."""

import os
import select
import signal
import subprocess
import sys


def main(within: str, *command: str) -> int:
    """The command reads our stdin; whatever it does, nothing of it is left when this returns."""
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - the user's own profile names it
    ended, _, _ = select.select([os.pidfd_open(process.pid)], [], [], float(within))
    # Its group too where it ended itself: what it left in the background is not to stay. Nobody has waited
    # for it yet, so its number is no other group's.
    os.killpg(process.pid, signal.SIGKILL)
    status = process.wait()
    return status if ended else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
