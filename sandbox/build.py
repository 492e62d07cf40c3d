"""The build sandbox: where npm and uv resolve and install a package, with no project, home or secrets."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping

from sandbox import leases
from sandbox.backend.native import launch
from sandbox.backend.native.cgroup import places
from sandbox.backend.running import Running
from sandbox.errors import CannotEnforce
from sandbox.host.closure import closure_of_program
from sandbox.host.survey import survey
from sandbox.plan.facts import Closure, HostFacts
from sandbox.plan.plan import plan
from sandbox.plan.spec import Bind, File, Spec, ViewStep
from sandbox.policy.model import Files, Policy, Quota
from sandbox.records import replace
from sandbox.supply.job import BuildJob, BuildOutcome

WALL_S = 900.0
LOG_BYTES = 4 << 20
POLICY = Policy(
    name="build",
    files=Files(home=256 << 20, tmp=1 << 30),
    quota=Quota(memory=2 << 30, cpus=None, pids=512, open_files=8192, disk=2 << 30, wall=WALL_S),
)


def builder(facts: HostFacts, environ: Mapping[str, str]) -> Callable[[BuildJob], BuildOutcome]:
    """What `freeze` calls to run a job: each step in a sandbox of its own, until one fails."""

    def run(job: BuildJob) -> BuildOutcome:
        base = build_spec(job, facts, environ)
        for number, step in enumerate(job.steps):
            session = f"build-{os.getpid()}-{number}"
            spec = replace(base, argv=step)
            told = launch.orders(spec, session, spec.env, (_lease(session, spec, environ),))
            status = collect(launch.start(spec, told), step[0], job.log)
            if status != 0:
                return BuildOutcome(status)
        return BuildOutcome(0)

    return run


def build_spec(job: BuildJob, facts: HostFacts, environ: Mapping[str, str]) -> Spec:
    """The plan of `POLICY` with the tree, writable, and the settings of the user's registries."""
    needs = _programs(job, environ)
    seen = survey(POLICY, needs, environ=environ, cwd="/")
    spec = plan(POLICY, facts, seen, network="host")
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
    return replace(spec, cwd=job.mount, env=tuple(env.items()), view=(*spec.view, *steps), server="build")


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
    lease = leases.Lease(session, spec.server, os.getpid(), leases.start_time(os.getpid()), cgroups)
    return leases.take(lease, environ)


def collect(running: Running, program: str, log: str) -> int:
    """The exit status of a build that is being started; all it prints goes to the log."""
    try:
        running.release()
        running.ready(program)
        os.close(running.take_stdin())
        _collect(running, log)
        ended = running.wait(5.0)
        return ended.exit_status if ended is not None else 124
    finally:
        running.kill()
        running.wait(5.0)
        for fd in (running.stdin, running.stdout, running.stderr):
            if fd >= 0:
                os.close(fd)


def _collect(running: Running, log: str) -> None:
    """Copies both outputs to the log, bounded, until both end or the wall is reached."""
    import time

    deadline = time.monotonic() + WALL_S
    room = LOG_BYTES
    ends = {running.stdout, running.stderr}
    with open(log, "ab") as file:
        while ends:
            ready, _, _ = select.select(list(ends), [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return
            for fd in ready:
                data = os.read(fd, 65536)
                if not data:
                    ends.discard(fd)
                file.write(data[:room])
                room -= len(data[:room])
