"""Run as a program of its own: starts a command and ends it, with all it started, after some seconds."""

import os
import signal
import subprocess
import sys


def main(within: str, *command: str) -> int:
    """The command reads our stdin; whatever it does, nothing of it is left when this returns."""
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - the user's own profile names it
    try:
        return process.wait(float(within))
    except subprocess.TimeoutExpired:
        return 1
    finally:
        # Its group too where it ended itself: what it left in the background is not to stay.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.poll()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
