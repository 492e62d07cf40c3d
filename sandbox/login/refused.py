"""How a login fails: every message of `login` and `logout`, with what a stranger said made harmless."""

from __future__ import annotations

from sandbox.errors import SandboxError

_SHOWN_CHARS = 160


class LoginRefused(SandboxError):
    """The login was not carried through; nothing was kept, and nothing that was kept before has changed."""

    exit_status = 1
    answerable = False


class Unreachable(LoginRefused):
    """Nobody answered as one should: later it may go well."""


def shown(text: object) -> str:
    """What somebody else said, for a message: one line, ASCII, printable, and cut."""
    plain = str(text)[: _SHOWN_CHARS + 1]
    escaped = plain.encode("unicode_escape").decode("ascii").replace("`", "'")
    return escaped if len(plain) <= _SHOWN_CHARS else f"{escaped[:_SHOWN_CHARS]}..."
