"""A front in a process of its own: prints its port, and goes with its stdin.

python -m tests.serve.alone FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from sandbox.serve import http
from sandbox.serve.capacity import Capacity
from sandbox.serve.service import Service
from tests.serve.asking import FAKE
from tests.serve.serving import Sessions, served


def real() -> Service:
    """Sessions that end soon, so that a long run does not only meet their cap."""
    return Service({"": (), "github": ()}, Capacity(sessions=8, each=8, idle_s=0.5), program=FAKE)


def main() -> None:
    """Serves until nobody holds the other end of stdin any more."""
    http.raise_descriptors()
    sessions = real if sys.argv[2:] == ["sessions"] else Sessions
    with served(Path(sys.argv[1]), sessions=sessions) as front:
        sys.stdout.write(f"{front.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
