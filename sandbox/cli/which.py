"""Which sessions a person means: by the server's name, the session or its beginning, or the process."""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.cli.columns import cell
from sandbox.errors import UsageError
from sandbox.leases import Lease

_LONG = 100


def one(word: str, leases: Sequence[Lease], command: str) -> Lease:
    """The one session that `word` names; an error lists those that it may mean, and ends nothing."""
    found = _matching(word, leases)
    if not found:
        what = f"`{cell(word, _LONG)}` is no server, session or process id of a running sandbox of yours"
        raise UsageError("no-such-session", what, hint="mcp-sandbox ps --wide")
    if len(found) > 1:
        listed = "".join(f"\n`{cell(each.session, _LONG)}` (pid {each.pid})" for each in found)
        what = f"`{cell(word, _LONG)}` may mean {len(found)} sessions:{listed}"
        raise UsageError("ambiguous-session", what, hint=f"mcp-sandbox {command} {found[0].session}")
    return found[0]


def _matching(word: str, leases: Sequence[Lease]) -> list[Lease]:
    """Those whose name it is; where there is none, those whose session begins with it."""
    named = [each for each in leases if word in (each.server, each.session, str(each.pid))]
    return named or [each for each in leases if word and each.session.startswith(word)]
