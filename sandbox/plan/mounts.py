"""From wanted paths to mounts: real sources, one a place, parents before children."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sandbox.errors import ProfileError
from sandbox.plan.facts import PathFact
from sandbox.plan.spec import Bind, Device, Proc, Symlink, ViewStep
from sandbox.plan.wants import Want
from sandbox.policy.paths import below

ABSENT = PathFact("", "")


def bind(want: Want, facts: Mapping[str, PathFact], *, idmap: bool) -> Bind:
    """The mount of one wanted path: its real source, at the place asked for or at its real path."""
    fact = facts.get(want.source, ABSENT)
    if fact.kind not in ("file", "dir"):
        raise _unusable(want, fact)
    return Bind(
        fact.real,
        want.target or fact.real,
        writable=want.writable,
        why=want.key,
        owner=(fact.uid, fact.gid),
        idmap=idmap,
        is_dir=fact.kind == "dir",
        origin=str(want.origin),
    )


def merged(binds: Iterable[Bind]) -> tuple[Bind, ...]:
    """One mount a place, parents first. Grants of one path add up; two paths at one place are refused."""
    at: dict[str, Bind] = {}
    for one in binds:
        there = at.get(one.target)
        if there and there.source != one.source:
            raise ProfileError(
                "mounted-twice",
                f"`{one.source}` and `{there.source}` are both wanted at `{one.target}`",
                rule=f"{one.origin} {one.why}, {there.origin} {there.why}",
                hint=f"give one of them a place of its own: `{one.source}:/mnt{one.source}`",
            )
        if there is None or (one.writable and not there.writable):
            at[one.target] = one
    return tuple(sorted(at.values(), key=lambda one: one.target.split("/")))


def needed(binds: Sequence[Bind], system: Sequence[ViewStep]) -> tuple[Bind, ...]:
    """The mounts that show or protect what an outer one does not already show in the same way."""
    kept: list[Bind] = [step for step in system if isinstance(step, Bind)]
    already = len(kept)
    for one in binds:
        outer = enclosing(one.target, kept)
        if outer is None or not _shows(outer, one):
            kept.append(one)
    return tuple(kept[already:])


def _shows(outer: Bind, one: Bind) -> bool:
    same = shown(outer, one.target) == one.source and (not one.idmap or one.owner == outer.owner)
    # The command's trees ask only to be seen; what a profile calls read-only stays so in a writable tree.
    return same and not one.writable and (one.why == "command" or not outer.writable)


def enclosing(place: str, steps: Iterable[ViewStep], *, strictly: bool = False) -> Bind | None:
    """The mount that decides what a place inside shows; None where that is the sandbox's own."""
    found: ViewStep | None = None
    for step in steps:
        at = target_of(step)
        over = below(place, at) and not (strictly and place == at)
        if over and (found is None or below(at, target_of(found))):
            found = step
    return found if isinstance(found, Bind) else None


def shown(outer: Bind, place: str) -> str:
    """The host path that a place in the tree of `outer` shows."""
    return f"{outer.source.rstrip('/')}{place.removeprefix(outer.target)}" or "/"


def target_of(step: ViewStep) -> str:
    """The place inside of any step of the view."""
    if isinstance(step, Proc):
        return "/proc"
    return f"/dev/{step.name}" if isinstance(step, Device) else step.target


def links(
    wanted: Iterable[Want],
    facts: Mapping[str, PathFact],
    given: Iterable[tuple[str, str]],
    view: Sequence[ViewStep],
) -> tuple[Symlink, ...]:
    """Links outside every mounted tree: the command's own, and the written spelling of a real path."""
    places = dict(given)
    for want in wanted:
        if want.target is None and facts[want.source].real != want.source:
            places.setdefault(want.source, facts[want.source].real)
    made: list[Symlink] = []
    for place in sorted(places, key=lambda place: place.split("/")):
        # Below another link the same name is found where that one leads.
        if _free(place, [*view, *made]):
            made.append(Symlink(place, places[place]))
    return tuple(made)


def _free(place: str, view: Sequence[ViewStep]) -> bool:
    """True where nothing of the view is at the place, above it as a tree or link, or below it."""
    if enclosing(place, view) is not None:
        return False
    covered = (below(place, target_of(step)) for step in view if isinstance(step, Symlink | Proc))
    return not any(covered) and not any(below(target_of(step), place) for step in view)


def place_of(path: str, view: Sequence[ViewStep]) -> str | None:
    """Where the host's directory `path` is seen inside, the same place first; None where it is not."""
    trees = sorted((step for step in view if isinstance(step, Bind)), key=lambda one: -len(one.source))
    candidates = [f"{one.target}{path.removeprefix(one.source)}" for one in trees if below(path, one.source)]
    for place in [path] * (path in candidates) + candidates:
        outer = enclosing(place, view)
        if outer is not None and shown(outer, place) == path:
            return place
    return None


def _unusable(want: Want, fact: PathFact) -> ProfileError:
    if fact.kind == "other":
        what, hint = "is neither a file nor a directory", "sockets and devices of the host stay outside"
    else:
        what, hint = "does not exist, or you may not see it", f"create it, or remove `{want.text}`"
    written = "" if want.text == want.source else f", written `{want.text}`,"
    return ProfileError("mount-missing", f"`{want.source}`{written} {what}", rule=want.rule, hint=hint)
