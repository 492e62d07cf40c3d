"""The only place that writes to the terminal: ours goes to stderr, documents to stdout."""

from __future__ import annotations

import os
import sys

from sandbox.errors import SandboxError, UsageError
from sandbox.hints import Any

_GREEN, _RED, _YELLOW, _BOLD, _RESET = "\033[32m", "\033[31m", "\033[33m", "\033[1m", "\033[0m"
COLOURS = {"green": _GREEN, "red": _RED, "yellow": _YELLOW, "bold": _BOLD}


def coloured(stream: Any) -> bool:
    """True on a terminal whose user has not set NO_COLOR (no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream is not None and not plain and stream.isatty()


def paint(text: str, colour: str, stream: Any) -> str:
    """`text` in `colour` where the stream shows colours, else unchanged."""
    return f"{COLOURS[colour]}{text}{_RESET}" if coloured(stream) else text


def harmless(text: str) -> str:
    """`text` with all but printable characters, line ends and tabs escaped.

    Messages quote what packages, projects and servers chose: it must not drive the terminal.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def note(text: str) -> None:
    """One message of ours, on stderr; a stderr that is gone loses it and nothing else."""
    if sys.stderr is None:  # it was closed when Python started
        return
    try:
        sys.stderr.write(held(harmless(text), sys.stderr) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def failure(error: SandboxError) -> None:
    """Why nothing started: as ever for a person at a terminal, in one line for the log of a client."""
    person = sys.stderr is not None and sys.stderr.isatty()
    note(str(error) if person else f"error: {error.line()}")


def emit(text: str) -> None:
    """One line of a command's result, on stdout; never used by `run`, whose stdout is MCP's."""
    if sys.stdout is None:
        raise UsageError("no-stdout", "standard output is closed, and this command prints its result there")
    try:
        sys.stdout.write(held(text, sys.stdout) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError("no-stdout", f"standard output cannot be written: {error.strerror}") from error


def held(text: str, stream: Any) -> str:
    """`text` with what the stream's encoding has not, such as Latin-1's, escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:  # it is none of text
        return text


def document(value: dict[str, Any]) -> None:
    """One JSON document with `schema` first, on stdout."""
    emit(spelt({"schema": 1, **value}))


def spelt(value: object) -> str:
    """A document as text; as JSON escapes it what stdout cannot hold, half of a surrogate pair too."""
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if held(text, sys.stdout) == text else json.dumps(value, indent=2)
