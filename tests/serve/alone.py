"""A front in a process of its own: prints its port, and goes with its stdin.

python -m tests.serve.alone FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from sandbox.serve import http
from tests.serve.serving import served


def main() -> None:
    """Serves until nobody holds the other end of stdin any more."""
    http.raise_descriptors()
    with served(Path(sys.argv[1])) as front:
        sys.stdout.write(f"{front.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
