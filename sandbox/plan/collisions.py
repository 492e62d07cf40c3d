"""Mounts that would hide the sandbox's own view, have nothing to lie on, or were chosen by the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandbox.errors import ProfileError
from sandbox.plan.facts import PathFact, Survey
from sandbox.plan.mounts import ABSENT, enclosing, shown, target_of
from sandbox.plan.spec import Bind, Symlink, ViewStep
from sandbox.plan.wants import Want, log_place
from sandbox.policy.model import Policy
from sandbox.policy.paths import below

_KERNEL = ("/proc", "/dev", "/sys")


def refuse_hiding(one: Bind, system: Sequence[ViewStep], home: str) -> None:
    """Raises `ProfileError` where a mount would cover, or move into, what every sandbox has."""
    blocked = [place for place in _KERNEL if below(one.target, place)]
    blocked += [target_of(step) for step in system if below(target_of(step), one.target)]
    blocked += [
        step.target for step in system if isinstance(step, Symlink) and below(one.target, step.target)
    ]
    blocked += [
        step.target
        for step in system
        if isinstance(step, Bind) and step.target != home and _moved_into(one, step)
    ]
    if blocked:
        raise ProfileError(
            "mount-hides-system",
            f"`{one.source}` at `{one.target}` would hide the sandbox's own `{blocked[0]}`",
            rule=f"{one.origin} {one.why}",
            hint=f"mount it elsewhere: `{one.source}:/mnt{one.source}`",
        )


def _moved_into(one: Bind, tree: Bind) -> bool:
    return below(one.target, tree.target) and shown(tree, one.target) != one.source


def refuse_without_mountpoint(one: Bind, view: Sequence[ViewStep], facts: Mapping[str, PathFact]) -> None:
    """Raises `ProfileError` where a mount lies in another tree that has no such path to mount it on."""
    outer = enclosing(one.target, view, strictly=True)
    path = shown(outer, one.target) if outer else one.source
    fact = facts.get(path, ABSENT)
    if path == one.source or (fact.real == path and fact.kind == ("dir" if one.is_dir else "file")):
        return
    # The command's own trees cannot move: then the outer one has to.
    mover = outer if outer and one.why == "command" else one
    raise ProfileError(
        "no-mountpoint",
        f"`{one.source}` cannot be mounted at `{one.target}`: the host has no "
        f"{'directory' if one.is_dir else 'file'} `{path}` to mount it on",
        rule=f"{mover.origin} {mover.why}",
        hint=f"create it, or mount elsewhere: `{mover.source}:/mnt{mover.source}`",
    )


def refuse_swapped(wanted: Sequence[Want], facts: Mapping[str, PathFact]) -> None:
    """Raises `ProfileError` where a link in a tree that the server may write chose what is mounted."""
    for outer in wanted:
        for want in wanted if outer.writable else ():
            _refuse_swap(want, outer, facts)


def refuse_log_within(
    policy: Policy, survey: Survey, view: Sequence[ViewStep], asked: Sequence[Want]
) -> None:
    """Raises `ProfileError` where the server could write the audit log, or a link on the way to it."""
    place = log_place(policy, survey.cwd)
    if place is None:
        return
    folder, _, name = place.rpartition("/")
    real = f"{survey.paths.get(folder or '/', ABSENT).real.rstrip('/')}/{name}"
    roots = [want.source for want in asked if want.writable]
    roots += [step.source for step in view if isinstance(step, Bind) and step.writable]
    for root in roots:
        if below(place, root) or below(real, root):
            raise ProfileError(
                "log-within-mount",
                f"the audit log `{place}` would lie in `{root}`, which the server may write",
                rule=f"{policy.origin('audit.path')} audit.path",
                hint="log to a directory that is not granted, or leave `--audit` out",
            )


def _refuse_swap(want: Want, outer: Want, facts: Mapping[str, PathFact]) -> None:
    real, found = facts[outer.source].real, facts[want.source].real
    for root in (outer.source, real):
        inside = want.source != root and below(want.source, root)
        if inside and found != f"{real}{want.source.removeprefix(root)}":
            # An earlier session of the same server could have put the link there.
            raise ProfileError(
                "symlink-in-writable",
                f"`{want.source}` leads to `{found}` by a link in `{root}`, which the server may write",
                rule=want.rule,
                hint=f"name `{found}` itself, if it is what you mean",
            )
