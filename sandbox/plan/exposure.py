"""Whether a mount would show a secret place, and what the profile waives by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandbox.errors import ProfileError
from sandbox.places import cache_dir
from sandbox.plan.facts import Survey
from sandbox.plan.guards import waives
from sandbox.plan.spec import Bind
from sandbox.plan.wants import Want, guarded
from sandbox.policy.model import Policy
from sandbox.policy.paths import Exposure, below, judge, waiver
from sandbox.policy.secret_places import OTHER_HOME


def waivers(policy: Policy, survey: Survey, wanted: Sequence[Want], expose: Sequence[str]) -> tuple[str, ...]:
    """What the profile exposes, a sentence each; raises `ProfileError` for what it does not waive."""
    # The policy's own wants come first and win: what the profile asks for is judged as the profile's.
    mounts = {path: want for want in reversed(wanted) for path in _spellings(want, survey)}
    entries = [spelling for entry in expose for spelling in _both(entry, survey)]
    # Twice where the home lies behind a symlink: both spellings of it are the home.
    homes = _both(survey.home, survey)
    judged = [judge(mounts, entries, home=home, places=survey.protected) for home in homes]
    refused = [one for judgement in judged for one in judgement.refused if not _kept_in_a_home(one, mounts)]
    if refused:
        raise _refused(refused, mounts)
    idle = set.intersection(*(set(judgement.idle) for judgement in judged))
    for entry in expose:
        if idle.issuperset(_both(entry, survey)) and not _opens_guard(entry, wanted, survey):
            raise _idle(policy, entry)
    origin = policy.origin("files.expose")
    waived = (one for judgement in judged for one in judgement.waived)
    return tuple(dict.fromkeys(f"{one.mount} shows {one.place}: {one.reason} ({origin})" for one in waived))


def _spellings(want: Want, survey: Survey) -> set[str]:
    """The paths to judge: as written and as they are, so that no alias of a secret place gets past."""
    store = cache_dir({**survey.environ, "HOME": survey.home})
    # Frozen packages live in our own cache, which no profile may mount: only the command's trees may.
    ours = want.key == "command" and want.source != store and below(want.source, store)
    return set() if ours else {want.source, survey.paths[want.source].real}


def _kept_in_a_home(one: Exposure, mounts: Mapping[str, Want]) -> bool:
    """A tree that the command starts from, somewhere below another user's home (root's pyenv under sudo).

    What is secret in that home has places of its own, which still refuse it.
    """
    inside = one.mount != one.place and below(one.mount, one.place)
    return inside and one.reason == OTHER_HOME and mounts[one.mount].key == "command"


def _both(path: str, survey: Survey) -> tuple[str, ...]:
    fact = survey.paths.get(path)
    return (path, fact.real) if fact and fact.kind and fact.real != path else (path,)


def _opens_guard(entry: str, wanted: Sequence[Want], survey: Survey) -> bool:
    trees = (survey.paths[want.source].real for want in wanted if want.writable)
    return any(waives(_both(entry, survey), path) for tree in trees for path in guarded(tree))


def guard_waivers(policy: Policy, binds: Sequence[Bind], expose: Sequence[str]) -> tuple[str, ...]:
    """A sentence per guarded file that the profile leaves writable by name."""
    origin = policy.origin("files.expose")
    paths = (path for one in binds if one.writable and one.is_dir for path in guarded(one.source))
    return tuple(
        f"{path} may be written: programs outside run it ({origin})" for path in paths if waives(expose, path)
    )


def _refused(found: Sequence[Exposure], mounts: Mapping[str, Want]) -> ProfileError:
    # The most exact first: what the mount is or lies in, before what it merely contains.
    one = min(found, key=lambda one: (not below(one.mount, one.place), len(one.place)))
    want = mounts[one.mount]
    places = sorted({other.place for other in found if other.mount == one.mount and other.place != one.place})
    written = "" if want.source == one.mount else f", which is `{want.source}`,"
    subject = "the command needs" if want.key == "command" else "the profile mounts"
    more = f" (and {len(places)} more places)" if places else ""
    name = waiver(one, found)
    named = f', or waive it by name: `[files] expose = ["{name}"]`' if name else ""
    return ProfileError(
        "secret-place",
        f"{subject} `{one.mount}`{written} and so shows `{one.place}`: {one.reason}{more}",
        rule=want.rule if want.key != "command" else "secret places are never mounted unasked",
        hint=f"mount a directory that holds no secrets{named}",
    )


def _idle(policy: Policy, entry: str) -> ProfileError:
    return ProfileError(
        "waiver-idle",
        f"`files.expose` names `{entry}`, which no mount shows",
        rule=f"{policy.origin('files.expose')} files.expose",
        hint=f"remove `{entry}` from `expose`, or mount it with `read`",
    )
