"""What a person types at the terminal in answer to a question, and nothing typed before it was shown."""

from __future__ import annotations

import sys
import termios
from contextlib import suppress


def typed(question: str) -> str:
    """The line that is typed after `question`: pasted along with the command, it would answer unread."""
    with suppress(termios.error, OSError, ValueError):  # no terminal: whoever asks has seen to that
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()
