"""One fact of a session; the audit sink adds sequence, time, session and hashes."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.records import dataclass, field

SCHEMA = 1

_KINDS = """
session.start session.ready session.end session.restart spec waiver supply.build supply.reuse lock
relay.request relay.response relay.notification relay.dropped relay.noise relay.held
tool.call tool.deny tool.ask tool.found pin.new pin.changed pin.approved poison.found
protocol.found request.found secret.found secret.redacted
egress.allow egress.deny egress.close egress.behaviour dns.allow dns.deny
quota.sample quota.warn quota.freeze quota.resume quota.breach breach.report
kill syscall.deny canary.seen file.used
guard.planted decoys
http.refused http.open http.close
"""
KINDS = frozenset(_KINDS.split())

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]


@dataclass(frozen=True, slots=True)
class Event:
    """A kind of `KINDS`, the rule behind it and its detail; JSON values only, no payloads."""

    kind: str
    detail: Mapping[str, Value] = field(default_factory=dict)
    rule: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown event kind `{self.kind}`")
