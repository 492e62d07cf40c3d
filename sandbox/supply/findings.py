"""Records of a judgement: what was found about packages before they are locked."""

from __future__ import annotations

from typing import Literal

from sandbox.records import dataclass

Rule = Literal[
    "age",
    "yanked",
    "deprecated",
    "malicious",
    "vulnerable",
    "lookalike",
    "signature",
    "attestation",
    "provenance",
    "reach",
]
Strength = Literal["refuse", "warn"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to think twice about one package."""

    rule: Rule
    package: str
    """`NAME` as its registry spells it, or the host of `reach`; `--waive RULE:NAME` waives it."""
    version: str
    what: str
    """What was found, without the package's name and without control characters."""
    strength: Strength

    @property
    def waiver(self) -> str:
        """The word that waives it."""
        return f"{self.rule}:{self.package}"

    def __str__(self) -> str:
        about = f"{self.package}@{self.version}" if self.version else self.package
        return f"{about}: {self.what}"


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

    def origin(self, name: str, version: str) -> tuple[str, ...]:
        """What was verified of one package's origin."""
        found = (one.words for one in self.provenance if (one.name, one.version) == (name, version))
        return next(found, ())
