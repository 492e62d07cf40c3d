"""The build sandbox: where npm and uv resolve and install a package, with no project, home or secrets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from sandbox import leases
from sandbox.backend.native import launch
from sandbox.backend.native.cgroup import places
from sandbox.building import PROFILE, Building, Note, policy_of
from sandbox.errors import CannotEnforce
from sandbox.gateway import Gateway
from sandbox.host.closure import closure_of_program
from sandbox.host.survey import survey
from sandbox.plan.facts import Closure, HostFacts
from sandbox.plan.plan import plan
from sandbox.plan.spec import Bind, File, Spec, ViewStep
from sandbox.policy.model import Policy
from sandbox.records import replace
from sandbox.supply.job import BuildJob, BuildOutcome


def builder(
    facts: HostFacts, environ: Mapping[str, str], hosts: tuple[str, ...] = (), note: Note = lambda line: None
) -> Callable[[BuildJob], BuildOutcome]:
    """What `freeze` calls to run a job: each step in a sandbox of its own, until one fails.

    `hosts`: the profile's `[supply] hosts`. `note` is told what a step was denied.
    """

    def run(job: BuildJob) -> BuildOutcome:
        policy = policy_of(job, hosts, environ)
        base = build_spec(job, policy, facts, environ)
        with Building(job, policy, environ, note) as building:
            for number, argv in enumerate(job.steps):
                status = _step(building, replace(base, argv=argv), number, environ)
                if status != 0:
                    break
            return building.ended(status)

    return run


def _step(building: Building, spec: Spec, number: int, environ: Mapping[str, str]) -> int:
    session = f"{building.session}-{number}"
    told = launch.orders(spec, session, spec.env, (_lease(session, spec, environ),))
    gateway = Gateway()
    return building.step(launch.start(spec, told, gateway.trap), gateway, spec)


def build_spec(job: BuildJob, policy: Policy, facts: HostFacts, environ: Mapping[str, str]) -> Spec:
    """The plan of `policy` with the tree, writable, and the settings of the user's registries."""
    needs = _programs(job, environ)
    seen = survey(policy, needs, environ=environ, cwd="/")
    spec = plan(policy, facts, seen)
    idmap = spec.identity.drop and facts.idmap.works
    if spec.identity.drop and not idmap:
        raise CannotEnforce(
            "cannot-build", "the store needs an idmapped mount: " + facts.idmap.detail, hint=facts.idmap.hint
        )
    # Real paths: a cache or a settings file may lie behind a link, which no mount follows.
    staging = os.path.realpath(job.staging)
    steps: list[ViewStep] = [Bind(staging, job.mount, writable=True, owner=owner_of(staging), idmap=idmap)]
    for source, inside in job.mounts:
        if not inside.startswith("/usr/"):  # which every sandbox shows already
            real = os.path.realpath(source)
            is_dir = os.path.isdir(real)
            steps.append(Bind(real, inside, owner=owner_of(real), idmap=idmap, is_dir=is_dir))
    steps += [File(inside, content) for inside, content in job.files]
    env = dict(spec.env) | dict(job.env)
    return replace(
        spec,
        cwd=job.mount,
        env=tuple(env.items()),
        view=(*spec.view, *steps),
        server="build",
        narrows=job.narrows,
    )


def _programs(job: BuildJob, environ: Mapping[str, str]) -> Closure:
    found = [closure_of_program(program, environ=environ) for program in job.programs]
    return Closure(
        argv=job.steps[0],
        binds=tuple(dict.fromkeys(bind for one in found for bind in one.binds)),
        links=tuple(dict.fromkeys(link for one in found for link in one.links)),
        path=tuple(dict.fromkeys(place for one in found for place in one.path)),
        why="the package manager",
    )


def owner_of(path: str) -> tuple[int, int]:
    """uid and gid of a file of the host's."""
    status = os.stat(path)
    return status.st_uid, status.st_gid


def _lease(session: str, spec: Spec, environ: Mapping[str, str]) -> str:
    cgroups = tuple(places(spec.limits, session).values())
    own = os.getpid()
    lease = leases.Lease(session, spec.server, own, leases.start_time(own), cgroups, profile=PROFILE)
    return leases.take(lease, environ)
