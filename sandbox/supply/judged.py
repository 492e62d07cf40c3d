"""What a resolution is held against before it is locked: records of the judgement, and the judge (no I/O)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from sandbox.policy.model import Supply
from sandbox.records import dataclass, field
from sandbox.supply.resolved import Resolution

if TYPE_CHECKING:
    from sandbox.supply.osv import Advisories
    from sandbox.supply.provenance import Evidence

Rule = Literal[
    "age", "yanked", "deprecated", "malicious", "vulnerable", "lookalike", "signature", "attestation"
]
Ecosystem = Literal["npm", "pypi"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to think twice about one package."""

    rule: Rule
    package: str
    """`NAME` as its registry spells it; `--waive RULE:NAME` waives it."""
    version: str
    what: str
    """One sentence without control characters."""
    strength: Literal["refuse", "warn"]


@dataclass(frozen=True, slots=True)
class Origins:
    """What was verified of one package's origin, for `Package.provenance`."""

    name: str
    version: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of every package; nothing is locked while `refused` is not empty."""

    findings: tuple[Finding, ...] = ()
    """Without what was waived."""
    waived: tuple[str, ...] = ()
    """`RULE NAME` of each waiver that something was waived by: `Lock.waived` says the same."""
    idle: tuple[str, ...] = ()
    """`RULE:NAME` of each asked waiver that there was nothing for."""
    unchecked: tuple[str, ...] = ()
    """What could not be checked, in sentences."""
    provenance: tuple[Origins, ...] = ()

    @property
    def refused(self) -> tuple[Finding, ...]:
        """The findings that a lock is refused for."""
        return tuple(one for one in self.findings if one.strength == "refuse")


@dataclass(frozen=True, slots=True)
class Known:
    """What a resolution is judged by, besides the policy: all of it read before."""

    now: float
    """Seconds since 1970."""
    advisories: Advisories | None = None
    """None: no database was given."""
    servers: tuple[str, ...] = ()
    """`npm:NAME` and `pypi:NAME` of the shipped profiles."""
    asked: tuple[str, ...] = ()
    """Names of the packages that were asked for: only these can be the typist's mistake."""
    evidence: Evidence | None = field(default=None)
    """Keys and attestations that a build fetched; None: none was."""


def judge(
    resolution: Resolution, ecosystem: Ecosystem, policy: Supply, known: Known, waive: Iterable[str] = ()
) -> Judged:
    """Holds every package against the policy; `waive` are `RULE:NAME`."""
    return Judged()
