"""What a server starts from: what its lock names, else a version, a range or the newest one of a registry."""

from __future__ import annotations

from typing import Final, Literal

from sandbox.choice import Choice
from sandbox.errors import SandboxError
from sandbox.locked import lock_of
from sandbox.policy.model import Policy
from sandbox.policy.score import UNKNOWN, Score, Start, exposure
from sandbox.prepare import needs_engine, of_a_held_image
from sandbox.prepared import Found, Wish
from sandbox.supply import ranges, spec
from sandbox.supply.locked import refuse_elsewhere
from sandbox.supply.request import Request, parse

_LOOSER: Final = ("version", "range", "newest")
_SAID: Final = ("{}, with the newest of what it depends on", "a range: {}", "the newest: {}")
_FAR: Final = 10**9
"""A release that no package has yet."""


def counted(chosen: Choice, wish: Wish) -> Found | None:
    """The lock that counts for this start here, as far as nothing has to be asked; else its error."""
    found = lock_of(chosen, wish)
    if found is not None and found.lock.kind in ("npm", "pypi"):
        inside = wish.backend == "docker" or (wish.backend == "auto" and needs_engine(chosen.policy))
        refuse_elsewhere(found.lock, found.path, inside=inside)
    return found


def scored(chosen: Choice, wish: Wish) -> Score:
    """The exposure of what `run` would start; a lock that does not count is none."""
    try:
        found = counted(chosen, wish)
    except SandboxError:
        found = None
    policy = of_a_held_image(chosen.policy, found)
    if found is not None:
        return exposure(policy, Start("locked", found.name))
    return exposure(policy, UNKNOWN if chosen.bundle is not None else asked(chosen.request))


def scored_profile(policy: Policy, wish: Wish) -> Score:
    """The same of a profile by itself, whose command `wish` leaves open."""
    try:
        request = parse(policy.server.command)
    except SandboxError:
        return exposure(policy)  # it would not start
    return scored(Choice(policy, policy.server.command, request, policy.name), wish)


def asked(request: Request | None) -> Start:
    """The loosest of what is asked of a registry."""
    if request is None:
        return UNKNOWN
    found = [(_LOOSER.index(how), one) for one in request.specs for how in [_how(request.ecosystem, one)]]
    worst = max(at for at, _ in found)
    return Start(_LOOSER[worst], _SAID[worst].format(", ".join(one for at, one in found if at == worst)))


def _how(ecosystem: str, one: str) -> Literal["version", "range", "newest"]:
    """A range without an upper end gets the newest, and so does a tag."""
    if ecosystem == "npm":
        if spec.npm_pinned(one):
            return "version"
        open_ = ranges.npm_allows(one[len(spec.npm_name(one)) + 1 :], f"{_FAR}.0.0")
    else:
        if spec.pypi_pinned(one):
            return "version"
        open_ = ranges.pypi_allows(one[len(spec.pypi_base(one)) :].rpartition("]")[2], str(_FAR))
    return "newest" if open_ else "range"
