"""How much has passed to each allowed host and in all, and what exceeds a limit before it passes (P)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from sandbox.plan.rows import size
from sandbox.policy.hosts import spelt
from sandbox.policy.model import HostBudget, HostRule, Network
from sandbox.policy.quota import show_size
from sandbox.records import dataclass, field

What = Literal["upload", "download", "connections"]


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that the next bytes, or the next connection, would exceed; what it names has not passed yet."""

    quota: str
    """The profile's key: `network.upload`, or `network.budget."host:port".upload`."""
    what: What
    host: str
    """`host:port` of the rule whose budget it is; empty where it is the session's."""
    used: int
    """What would have passed in all, this included."""
    limit: int
    why: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes up and down, and connections ever made; only what was allowed to pass counts."""

    upload: int = 0
    download: int = 0
    connections: int = 0


@dataclass(slots=True)
class _Meter:
    """The limits of one host or of the session (None is no limit), and what was counted against them."""

    host: str
    limits: Mapping[What, int | None]
    used: dict[What, int] = field(default_factory=lambda: {"upload": 0, "download": 0, "connections": 0})

    def excess(self, what: What, count: int) -> Excess | None:
        limit = self.limits[what]
        if limit is None or self.used[what] + count <= limit:
            return None
        return _excess(self.host, what, self.used[what] + count, limit)

    def usage(self) -> Usage:
        return Usage(self.used["upload"], self.used["download"], self.used["connections"])


class Budget:
    """The counters of one session. Each method says what would be exceeded, or counts and returns None.

    After the first excess nothing more passes, as little as it may be: the session is ending.
    """

    def __init__(self, network: Network) -> None:
        self._session = _Meter("", _limits(network))
        self._hosts: dict[tuple[str, int], _Meter] = {}
        self._exceeded: Excess | None = None
        budgets = {(one.host, one.port): one for one in network.budgets}
        for rule in network.allow:
            at = (rule.host, rule.port)
            self._hosts[at] = _Meter(spelt(*at), _limits(budgets.get(at) or HostBudget(*at)))

    def connect(self, rule: HostRule) -> Excess | None:
        """Asked before a connection to what `rule` allows is made."""
        return self._count(rule, "connections", 1)

    def up(self, rule: HostRule, count: int) -> Excess | None:
        """Asked before `count` bytes from the server are sent; with an Excess none of them may be."""
        return self._count(rule, "upload", count)

    def down(self, rule: HostRule, count: int) -> Excess | None:
        """Asked before `count` bytes are handed to the server; with an Excess none of them may be."""
        return self._count(rule, "download", count)

    @property
    def total(self) -> Usage:
        """What passed in the whole session."""
        return self._session.usage()

    def hosts(self) -> tuple[tuple[str, Usage], ...]:
        """What passed by each rule that was used, as `host:port`."""
        return tuple((one.host, one.usage()) for one in self._hosts.values() if any(one.used.values()))

    def _count(self, rule: HostRule, what: What, count: int) -> Excess | None:
        # A rule that the policy does not have is a mistake of ours, and stops here with a KeyError.
        host, session = self._hosts[rule.host, rule.port], self._session
        if self._exceeded is None:
            # The host's own budget first: of two that are exceeded it says more.
            self._exceeded = host.excess(what, count) or session.excess(what, count)
        if self._exceeded is None:
            host.used[what] += count
            session.used[what] += count
        return self._exceeded


def _limits(source: Network | HostBudget) -> dict[What, int | None]:
    return {"upload": source.upload, "download": source.download, "connections": source.connections}


def _excess(host: str, what: What, used: int, limit: int) -> Excess:
    quota = f'network.budget."{host}".{what}' if host else f"network.{what}"
    where = f" to `{host}`" if host else " of the session"
    if what == "connections":
        why = f"connection {used}{where}: `{quota}` allows {limit}"
    else:
        over = f"{used - limit} B more than the {show_size(limit)} of `{quota}`"
        why = f"{what}{where} would reach {size(used)}, {over}"
    return Excess(quota, what, host, used, limit, why)
