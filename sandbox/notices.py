"""What a person, and an open call, is told of a denied destination: once each, and not too many a minute."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from sandbox.egress.decide import DEFAULT_DENY
from sandbox.policy.model import Policy

MOST_PER_MINUTE = 10
_REMEMBERED = 1024
_QUIC = "udp"


class Notices:
    """One session's lines on stderr about what its server tried to reach."""

    def __init__(self, policy: Policy, server: str, note: Callable[[str], None]) -> None:
        self._note = note
        self._server = server
        self._profile = policy.name
        self.rule = f"{DEFAULT_DENY}, {_place(policy)}"
        """The default deny with the file, and the line where `allow` was written."""
        self._told: set[str] = set()
        self._recent: deque[float] = deque()
        self._silenced = False

    def denied(self, where: str, reason: str, rule: str, grant: str, *, protocol: str, now: float) -> str:
        """Tells a person of a destination not told before; the words for calls that are open now.

        Datagrams are in the log alone: a client that tries QUIC goes on over TCP, and nobody can allow one.
        """
        if protocol == _QUIC:
            return ""
        help_ = f"; allow it with `--allow-net {grant}`" if grant else ""
        text = f"denied `{where}` to `{self._server}` (profile `{self._profile}`): {reason} [{rule}]{help_}"
        if where not in self._told and len(self._told) < _REMEMBERED:
            self._told.add(where)
            self._tell(text, now)
        return text

    def _tell(self, text: str, now: float) -> None:
        while self._recent and now - self._recent[0] > 60:
            self._recent.popleft()
            self._silenced = False
        if len(self._recent) < MOST_PER_MINUTE:
            self._recent.append(now)
            self._note(f"mcp-sandbox: {text}")
        elif not self._silenced:
            self._silenced = True
            self._note("mcp-sandbox: more was denied: `mcp-sandbox audit show --kind egress` has all of it")


def _place(policy: Policy) -> str:
    origin = policy.origin("network.allow")
    if origin.file != "default":
        return f"{os.path.basename(origin.file)}:{origin.line}" if origin.line else origin.file
    return os.path.basename(policy.sources[0][0]) if policy.sources else policy.name
