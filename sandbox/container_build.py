"""The build container: npm or uv of an image install a package for it, with no project, home or secrets.

It has the network of the engine's machine, as the build sandbox has: a registry may be reached by a proxy or
a resolver on loopback alone. What the settings say, logins among it, comes by files that this container
alone sees: neither `docker inspect` nor an image has it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping

from sandbox import containers, leases
from sandbox.backend.docker.keeper import HELD
from sandbox.backend.docker.launch import Early
from sandbox.backend.docker.orders import Orders
from sandbox.build import POLICY, collect, owner_of
from sandbox.errors import CannotEnforce
from sandbox.host.survey import survey
from sandbox.plan.contained import over_the_image
from sandbox.plan.etc import NETWORKED
from sandbox.plan.facts import Closure, Container, HostFacts
from sandbox.plan.plan import plan
from sandbox.plan.spec import Bind, File, Spec, ViewStep
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


def builder(facts: HostFacts, place: Container, environ: Mapping[str, str]) -> Callable[[BuildJob], BuildOutcome]:
    """What `freeze` calls to run a job: all its steps in one container of `place`, until one fails."""

    def run(job: BuildJob) -> BuildOutcome:
        return BuildOutcome(_run(build_spec(job, facts, place, environ), job.log, environ))

    return run


def build_spec(job: BuildJob, facts: HostFacts, place: Container, environ: Mapping[str, str]) -> Spec:
    """The plan of `POLICY` in the image, with the tree, writable, and the user's registry settings."""
    argv = (PYTHON, "-I", "-S", "-c", _STEPS, JOB)
    seen = survey(POLICY, Closure(argv, why="the image"), environ=environ, cwd="/")
    spec = plan(POLICY, facts, seen, container=place)
    idmap = spec.identity.drop and facts.idmap.works and place.engine.place == "local"
    if spec.identity.drop and not idmap:
        raise CannotEnforce(
            "cannot-build",
            f"the store needs an idmapped mount: {facts.idmap.detail or 'the engine has its own machine'}",
            hint=facts.idmap.hint or "start it as an unprivileged user",
        )
    # The engine gives the files of its own machine, whose network this is.
    kept = [step for step in spec.view if not (isinstance(step, File) and step.target in NETWORKED)]
    view: list[ViewStep] = [*kept, *_job(job, idmap=idmap)]
    view += over_the_image(place, POLICY.files.tmp, view)
    return replace(spec, cwd=job.mount, view=tuple(view), network="host", server="build")


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


def _run(spec: Spec, log: str, environ: Mapping[str, str]) -> int:
    session = f"build-{os.getpid()}-{os.urandom(4).hex()}"
    own = os.getpid()
    empty = leases.Lease(
        session, spec.server, own, leases.start_time(own), backend="docker", profile=POLICY.name
    )
    lease = containers.with_containers(empty, environ)
    early = Early(environ)
    try:
        told = orders(spec, session, environ, leases.take(lease, environ))
        running = early.start(told, (_no_trap(), -1))
    finally:
        early.close()
    return collect(running, spec.argv[0], log)


def _no_trap() -> int:
    """What a keeper waits for before it starts anything, said already: there is nothing to be held here."""
    read, write = os.pipe()
    os.write(write, HELD)
    os.close(write)
    return read


def orders(spec: Spec, session: str, environ: Mapping[str, str], lease: str) -> Orders:
    """As for a server, but without a holder, and with labels that say what it is."""
    told = containers.orders(spec, session, environ, (), (lease,))
    labels = containers.labels(session, "build")
    body = {**told.body, "Labels": dict(labels), "Hostname": spec.identity.hostname}
    return replace(told, body=body, labels=list(labels), holder="", spares="")
