"""What a person, and an open call, is told of a denied destination: once each, and not too many a minute."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable

from sandbox.audit.redact import Redactor
from sandbox.egress.words import DEFAULT_DENY
from sandbox.policy.model import Policy

MOST_PER_MINUTE = 10
HOST_MAX = 100
"""Characters of a destination in the words for an open call: a model reads them, and the server chose it."""
REASON_MAX = 200
_REMEMBERED = 1024
_QUIC = "udp"
_MORE = "more was denied: `mcp-sandbox audit show --kind egress` and `--kind dns` show it"


class Notices:
    """One session's lines on stderr about what its server tried to reach; no known secret is in them."""

    def __init__(self, policy: Policy, server: str, note: Callable[[str], None], redactor: Redactor) -> None:
        self._note = note
        self._clean = redactor.text
        self._server = server
        self._profile = policy.name
        self.rule = f"{DEFAULT_DENY}, {_place(policy)}"
        """The default deny with the file, and the line where `allow` was written."""
        self._told: dict[str, None] = {}
        self._recent: deque[float] = deque()
        self._silenced = False

    def denied(self, where: str, reason: str, rule: str, grant: str, *, protocol: str, now: float) -> str:
        """Tells a person of a destination not told before; the words for calls that are open now.

        Datagrams are in the log alone: a client that tries QUIC goes on over TCP, and nobody can allow one.
        The words for a call name no option: whoever reads them may be able to edit the configuration.
        """
        if protocol == _QUIC:
            return ""
        if where not in self._told and self._may_tell(now):
            self._remember(where)
            help_ = f"; allow it with `--allow-net {self._clean(grant)}`" if grant else ""
            text = self._text(self._clean(where), self._clean(reason), rule)
            self._note(f"mcp-sandbox: {one_line(text + help_)}")
        # A cut before the secret is found would leave its beginning.
        where, reason = (one_line(self._clean(text)) for text in (where, reason))
        return one_line(self._text(_cut(where, HOST_MAX), _cut(reason, REASON_MAX), rule))

    def unreached(self, where: str, why: str, *, now: float) -> str:
        """Tells a person once why a server elsewhere was not reached; the words for open calls."""
        shown = re.sub(r"^\[Errno -?\d+\] ", "", self._clean(why))
        text = one_line(f"`{_cut(self._clean(where), HOST_MAX)}` was not reached: {_cut(shown, REASON_MAX)}")
        if text not in self._told and self._may_tell(now):
            self._remember(text)
            self._note(f"mcp-sandbox: {text}")
        return text

    def _text(self, where: str, reason: str, rule: str) -> str:
        return f"denied `{where}` to `{self._server}` (profile `{self._profile}`): {reason} [{rule}]"

    def _may_tell(self, now: float) -> bool:
        while self._recent and now - self._recent[0] > 60:
            self._recent.popleft()
            self._silenced = False
        if len(self._recent) < MOST_PER_MINUTE:
            self._recent.append(now)
            return True
        if not self._silenced:
            self._silenced = True
            self._note(f"mcp-sandbox: {_MORE}")
        return False

    def _remember(self, where: str) -> None:
        self._told[where] = None
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]


def one_line(text: str) -> str:
    """`text` with whatever would end, move or hide a line of it shown as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _place(policy: Policy) -> str:
    origin = policy.origin("network.allow")
    if origin.file != "default":
        return f"{os.path.basename(origin.file)}:{origin.line}" if origin.line else origin.file
    return os.path.basename(policy.sources[0][0]) if policy.sources else policy.name
