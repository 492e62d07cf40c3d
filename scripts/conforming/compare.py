"""Two runs of the same suite, check by check."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conforming.served import Subject
from conforming.suites import Check, Suite, run
from conforming.toolchain import Toolchain

AGAIN = 2
"""How often a scenario with a difference is run again, both ways: one that stays is ours."""


@dataclass(frozen=True)
class Difference:
    """A check that says different things; None where it was not made at all."""

    bare: Check | None
    sandboxed: Check | None

    def told(self) -> str:
        """One line."""
        one = next(check for check in (self.bare, self.sandboxed) if check)
        sides = [
            f"{check.status} {check.error}".strip() if check else "absent"
            for check in (self.bare, self.sandboxed)
        ]
        return f"{one.scenario} {one.id} {one.name} #{one.nth}: {sides[0]} -> {sides[1]}"


@dataclass(frozen=True)
class Outcome:
    """Both runs of one suite."""

    suite: str
    bare: tuple[Check, ...]
    sandboxed: tuple[Check, ...]

    @property
    def differences(self) -> list[Difference]:
        """Every check whose status, or existence, depends on the sandbox."""
        bare = {check.key: check for check in self.bare}
        through = {check.key: check for check in self.sandboxed}
        pairs = [Difference(bare.get(key), through.get(key)) for key in {**bare, **through}]
        return [one for one in pairs if _differ(_status(one.bare), _status(one.sandboxed))]

    def passed(self, checks: Sequence[Check]) -> int:
        """How many succeeded."""
        return sum(check.status == "SUCCESS" for check in checks)

    def document(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "suite": self.suite,
            "bare": [dataclasses.asdict(check) for check in self.bare],
            "sandboxed": [dataclasses.asdict(check) for check in self.sandboxed],
            "differences": [difference.told() for difference in self.differences],
        }


def _differ(bare: str, through: str) -> bool:
    return bare != through and {bare, through} != {"SUCCESS", "INFO"}


def _status(check: Check | None) -> str:
    return "" if check is None else check.status


Pair = tuple[Subject, Subject]


def compare(
    tools: Toolchain, suites: Sequence[Suite], subjects: Pair, place: Path, scenario: str = ""
) -> list[Outcome]:
    """Each suite against both, the bare one first; `place` keeps what was written."""
    outcomes = []
    for suite in suites:
        own = place / suite.name.replace(", ", "-")
        outcome = _both(suite, tools, subjects, own / "first", scenario)
        outcomes.append(_settled(suite, tools, subjects, own, outcome))
    return outcomes


def _both(suite: Suite, tools: Toolchain, subjects: Pair, place: Path, scenario: str) -> Outcome:
    bare, through = (
        tuple(run(suite, tools, subject, place / name, scenario))
        for name, subject in zip(("bare", "sandboxed"), subjects, strict=True)
    )
    return Outcome(suite.name, bare, through)


def _settled(suite: Suite, tools: Toolchain, subjects: Pair, place: Path, first: Outcome) -> Outcome:
    """The outcome, with scenarios that differ taken from another run: some depend on the time they take."""
    outcome = first
    for attempt in range(AGAIN):
        told = [one.bare or one.sandboxed for one in outcome.differences]
        for scenario in sorted({check.scenario for check in told if check is not None}):
            again = _both(suite, tools, subjects, place / f"again-{attempt}-{scenario}", scenario)
            outcome = Outcome(
                outcome.suite,
                (*(check for check in outcome.bare if check.scenario != scenario), *again.bare),
                (*(check for check in outcome.sandboxed if check.scenario != scenario), *again.sandboxed),
            )
    return outcome
