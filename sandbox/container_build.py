"""The build container: npm or uv of an image install a package for it, with no project, home or secrets.

It has a holder's network, as servers have, and reaches the configured registries through this machine's
gateway. What the settings say, logins among it, comes by files that this container alone sees: neither
`docker inspect` nor an image has it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping

from sandbox import containers, leases
from sandbox.backend.docker.launch import Early
from sandbox.backend.docker.orders import Orders
from sandbox.build import owner_of
from sandbox.building import Building, Note, policy_of
from sandbox.errors import CannotEnforce
from sandbox.gateway import Gateway
from sandbox.host.survey import survey
from sandbox.plan.contained import over_the_image
from sandbox.plan.facts import Closure, Container, HostFacts
from sandbox.plan.plan import plan
from sandbox.plan.spec import Bind, File, Spec, ViewStep
from sandbox.policy.model import Policy
from sandbox.records import replace
from sandbox.supply.inside import PYTHON
from sandbox.supply.job import CONFIG, BuildJob, BuildOutcome

JOB = f"{CONFIG}/job.json"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Where the images' own programs look for the authorities they trust."""
_BUNDLES = (BUNDLE, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem")
# All images of ours have a python.
_STEPS = """
import json, os, sys
with open(sys.argv[1]) as file:
    told = json.load(file)
for step in told["steps"]:
    status = os.spawnve(os.P_WAIT, step[0], step, {**os.environ, **told["env"]})
    if status:
        sys.exit(status if status > 0 else 128 - status)
"""


def builder(
    facts: HostFacts,
    place: Container,
    environ: Mapping[str, str],
    hosts: tuple[str, ...] = (),
    note: Note = lambda line: None,
) -> Callable[[BuildJob], BuildOutcome]:
    """What `freeze` calls to run a job: all its steps in one container of `place`, until one fails.

    `hosts`: the profile's `[supply] hosts`. `note` is told what a step was denied.
    """

    def run(job: BuildJob) -> BuildOutcome:
        policy = policy_of(job, hosts, environ)
        spec = build_spec(job, policy, facts, place, environ)
        with Building(job, policy, environ, note) as building:
            return building.ended(_run(building, spec, environ))

    return run


def build_spec(
    job: BuildJob, policy: Policy, facts: HostFacts, place: Container, environ: Mapping[str, str]
) -> Spec:
    """The plan of `policy` in the image, with the tree, writable, and the user's registry settings."""
    argv = (PYTHON, "-I", "-S", "-c", _STEPS, JOB)
    seen = survey(policy, Closure(argv, why="the image"), environ=environ, cwd="/")
    spec = plan(policy, facts, seen, container=place)
    idmap = spec.identity.drop and facts.idmap.works and place.engine.place == "local"
    if spec.identity.drop and not idmap:
        raise CannotEnforce(
            "cannot-build",
            f"the store needs an idmapped mount: {facts.idmap.detail or 'the engine has its own machine'}",
            hint=facts.idmap.hint or "start it as an unprivileged user",
        )
    view: list[ViewStep] = [*spec.view, *_job(job, idmap=idmap)]
    view += over_the_image(place, policy.files.tmp, view)
    return replace(spec, cwd=job.mount, view=tuple(view), server="build", narrows=job.narrows)


def _job(job: BuildJob, *, idmap: bool) -> Iterator[ViewStep]:
    staging = os.path.realpath(job.staging)
    yield Bind(staging, job.mount, writable=True, owner=owner_of(staging), idmap=idmap)
    mounts = dict(job.mounts) if BUNDLE in dict(job.mounts) else {**_trust(), **dict(job.mounts)}
    for source, inside in mounts.items():
        real = os.path.realpath(source)
        yield Bind(real, inside, owner=owner_of(real), idmap=idmap, is_dir=os.path.isdir(real))
    yield from (File(inside, content) for inside, content in job.files)
    told = {"steps": job.steps, "env": dict(job.env)}
    yield File(JOB, json.dumps(told).encode())


def _trust() -> dict[str, str]:
    """The authorities that this machine trusts, for registries that the image's own do not know."""
    found = next((path for path in _BUNDLES if os.path.isfile(path)), None)
    return {found: BUNDLE} if found else {}


def _run(building: Building, spec: Spec, environ: Mapping[str, str]) -> int:
    session, own = building.session, os.getpid()
    empty = leases.Lease(
        session, spec.server, own, leases.start_time(own), backend="docker", profile=building.policy.name
    )
    lease = containers.with_containers(empty, environ)
    early = Early(environ)
    try:
        told = orders(spec, session, environ, leases.take(lease, environ))
        gateway = Gateway()
        running = early.start(told, gateway.trap)
    finally:
        early.close()
    return building.step(running, gateway, spec, containers.far(spec, session, environ))


def orders(spec: Spec, session: str, environ: Mapping[str, str], lease: str) -> Orders:
    """As for a server, with labels that say what it is."""
    told = containers.orders(spec, session, environ, (), (lease,))
    labels = containers.labels(session, "build")
    return replace(told, body={**told.body, "Labels": dict(labels)}, labels=list(labels))
