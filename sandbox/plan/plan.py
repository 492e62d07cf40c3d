"""Policy and facts in, one concrete sandbox out: the same Spec for the same values, and no side effect."""

from __future__ import annotations

from sandbox.errors import CannotEnforce
from sandbox.hints import Literal
from sandbox.plan.collisions import (
    refuse_hiding,
    refuse_log_within,
    refuse_swapped,
    refuse_without_mountpoint,
)
from sandbox.plan.enforceable import refuse_unenforceable
from sandbox.plan.environment import environment, secrets
from sandbox.plan.etc import etc
from sandbox.plan.exposure import guard_waivers, waivers
from sandbox.plan.facts import Container, HostFacts, Survey
from sandbox.plan.guards import guards, unguarded
from sandbox.plan.limits import limits, scratch
from sandbox.plan.mounts import bind, links, merged, needed, place_of
from sandbox.plan.sockets import covers, unsearched
from sandbox.plan.spec import Bind, Endpoint, Identity, Limits, Spec, Symlink, Tmpfs, ViewStep
from sandbox.plan.system import inodes, kernel, programs, scratch_space
from sandbox.plan.wants import HOME, command_wants, exposed, kept_home, there, wants
from sandbox.policy.model import Policy
from sandbox.policy.paths import below
from sandbox.records import dataclass

Network = Literal["trap", "host"]
DROPPED = 1000
"""The number that a root caller's dedicated uid has inside."""


_View = tuple[tuple[ViewStep, ...], tuple[str, ...], tuple[str, ...]]
"""The steps, the waivers and the notes."""


def plan(
    policy: Policy,
    facts: HostFacts,
    survey: Survey,
    *,
    network: Network = "trap",
    container: Container | None = None,
) -> Spec:
    """The sandbox that enforces the whole policy on this host; raises rather than enforce less."""
    if container is not None:
        from sandbox.plan.contained import in_container  # with all that a native start has no use for

        return in_container(policy, facts, survey, container)
    refuse_unenforceable(policy, facts)
    identity = identify(facts)
    system = programs(survey.system), etc(identity, survey.etc, survey.system, network)
    ground = Ground(identity, (*system[0], *system[1]), idmap=facts.uid == 0 and facts.idmap.works)
    return drawn(policy, facts, survey, ground, limits(policy, facts.cgroups), network)


@dataclass(frozen=True, slots=True)
class Ground:
    """What a view stands on, which backends have each their own way: who, the programs and /etc, owners."""

    identity: Identity
    system: tuple[ViewStep, ...]
    idmap: bool
    """Mounts show their owner as the server's own uid."""


def drawn(
    policy: Policy, facts: HostFacts, survey: Survey, ground: Ground, bounds: Limits, network: Network
) -> Spec:
    """The spec on a ground that a backend has chosen."""
    view, waived, notes = _view(policy, facts, survey, ground)
    _refuse_unmounted(policy, survey, view)
    cwd, note = _cwd(survey, view, ground.identity.home)
    return Spec(
        server=policy.name,
        argv=survey.closure.argv,
        cwd=cwd,
        env=environment(policy, ground.identity, survey.closure, survey.environ),
        identity=ground.identity,
        view=view,
        limits=bounds,
        syscalls=policy.syscalls,
        forbidden="refuse" if policy.breach.syscall == "warn" else "kill",
        network=network,
        egress=policy.network,
        message=policy.traffic.message,
        secrets=secrets(policy, survey.environ),
        waivers=(*waived, *_unchecked(policy)),
        notes=(*notes, *note),
        endpoint=_endpoint(policy, survey),
    )


def _endpoint(policy: Policy, survey: Survey) -> Endpoint | None:
    if policy.server.url is not None:
        from sandbox.plan import remote  # for the few that run elsewhere

        return remote.endpoint(policy, home=survey.home, cwd=survey.cwd, environ=survey.environ)
    if policy.server.transport != "http":
        return None
    from sandbox.plan import http_inside  # for the few servers that listen

    return http_inside.endpoint(policy.server)


def _refuse_unmounted(policy: Policy, survey: Survey, view: tuple[ViewStep, ...]) -> None:
    """An argument rule whose directory is not there would refuse every call."""
    if not policy.tools.arguments:
        return
    from sandbox.plan.within import named, rules_inside

    meant = named(policy, home=survey.home, cwd=survey.cwd, environ=survey.environ)
    rules_inside(policy, meant, survey.paths, view)


def _unchecked(policy: Policy) -> tuple[str, ...]:
    if not policy.network.allow:
        return ()
    from sandbox.plan.egress import unchecked  # with the parser of host names: only where there are some

    return unchecked(policy)


def identify(facts: HostFacts) -> Identity:
    """The caller's own uid; for a root caller a dedicated one, because host uid 0 is never used."""
    if facts.uid == 0:
        return Identity(DROPPED, DROPPED, drop=True, home=HOME)
    return Identity(facts.uid, facts.gid, home=HOME)


def _view(policy: Policy, facts: HostFacts, survey: Survey, ground: Ground) -> _View:
    asked = there(wants(policy, home=survey.home, cwd=survey.cwd, environ=survey.environ), survey.paths)
    expose = exposed(policy, home=survey.home, cwd=survey.cwd, environ=survey.environ)
    wanted = (*asked, *command_wants(survey.closure))
    binds = merged(bind(want, survey.paths, idmap=ground.idmap) for want in wanted)
    refuse_swapped(asked, survey.paths)
    shown = waivers(policy, survey, wanted, expose)
    binds = merged((*binds, *guards(binds, survey.paths, expose)))
    system = _system(policy, facts, survey, ground, binds)
    _refuse_without_idmap(facts, ground, (*system, *binds))
    refuse_log_within(policy, survey, (*system, *binds), asked)
    kept = needed(binds, system)
    for one in kept:
        refuse_hiding(one, system, ground.identity.home)
        refuse_without_mountpoint(one, (*system, *kept), survey.paths)
    steps = (*system, *kept)
    steps = (*steps, *covers(survey.sockets, steps))
    return (
        (*steps, *links(wanted, survey.paths, survey.closure.links, steps)),
        (*shown, *guard_waivers(policy, binds, expose)),
        (*unguarded(binds, survey.paths), *unsearched(survey), *_skipped(survey)),
    )


def _system(
    policy: Policy, facts: HostFacts, survey: Survey, ground: Ground, binds: tuple[Bind, ...]
) -> tuple[ViewStep, ...]:
    sizes = scratch(policy)
    place = ground.identity.home
    home: ViewStep = Tmpfs(place, sizes.home, inodes(sizes.home), mode=0o700)
    if policy.files.persist:
        home = Bind(
            kept_home(policy, home=survey.home, environ=survey.environ),
            place,
            writable=True,
            why="files.persist",
            owner=(facts.uid, facts.gid),
            idmap=ground.idmap,
            origin=str(policy.origin("files.persist")),
        )
    steps = (*ground.system, *kernel(sizes), *scratch_space(home, sizes))
    return tuple(step for step in steps if not _gives_way(step, binds))


def _gives_way(step: ViewStep, binds: tuple[Bind, ...]) -> bool:
    """The link for `/var/tmp` is a convenience: a mount at, above or below it takes its place."""
    if not isinstance(step, Symlink) or step.target != "/var/tmp":  # noqa: S108 - a place inside the sandbox
        return False
    return any(below(one.target, step.target) or below(step.target, one.target) for one in binds)


def _refuse_without_idmap(facts: HostFacts, ground: Ground, steps: tuple[ViewStep, ...]) -> None:
    # An unprivileged caller's server has the caller's own uid and needs no mapping.
    if facts.uid != 0 or ground.idmap:
        # Reading without it works for what everybody may read; writing would give files to a passing uid.
        return
    for step in steps:
        if isinstance(step, Bind) and step.writable:
            raise CannotEnforce(
                "host-cannot-enforce",
                f"a root caller's `{step.source}` is writable inside by an idmapped mount only, which does "
                f"not work here: {facts.idmap.detail or 'the probe failed'}",
                rule=f"{step.origin} {step.why}",
                hint=facts.idmap.hint or "start it as an unprivileged user",
            )


def _skipped(survey: Survey) -> tuple[str, ...]:
    return tuple(
        f"not mounted, though the command points there: {path}; add `--allow-read {path}` if it is needed"
        for path in survey.closure.skipped
    )


def _cwd(survey: Survey, steps: tuple[ViewStep, ...], home: str) -> tuple[str, tuple[str, ...]]:
    """The caller's directory where it can be seen inside, else the home and a sentence that says so."""
    asked = survey.closure.cwd or survey.cwd
    fact = survey.paths.get(asked)
    place = place_of(fact.real if fact and fact.kind == "dir" else asked, steps)
    if place is not None:
        return place, ()
    if asked in (survey.home, "/"):
        # Where a client starts its servers when it has no better place: nothing was meant by it.
        return home, ()
    grant = "." if asked == survey.cwd else asked
    return home, (f"{asked} is not mounted: the server starts in {home}; `--allow-read {grant}` mounts it",)
