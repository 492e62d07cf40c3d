"""A parser of ours that leaves what follows `--` alone: it is a server's command."""

from __future__ import annotations

import argparse
import sys
from typing import Any


class Commanded(argparse.ArgumentParser):
    """Gives the words after the first `--` as `command`, whatever they look like."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As the library's, on the words before `--`."""
        words = list(sys.argv[1:] if args is None else args)
        cut = words.index("--") if "--" in words else len(words)
        found, unknown = super().parse_known_args(words[:cut], namespace)
        found.command = words[cut + 1 :]
        return found, unknown
