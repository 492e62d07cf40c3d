"""What a plan has otherwise when an engine realises it: who, how bounded, which /etc, which command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from posixpath import normpath

from sandbox.errors import CannotEnforce
from sandbox.plan.enforceable import refuse_unenforceable
from sandbox.plan.environment import PATH
from sandbox.plan.etc import synthetic
from sandbox.plan.facts import Closure, Container, Engine, HostFacts, Survey
from sandbox.plan.plan import Ground, drawn
from sandbox.plan.spec import Bind, File, Identity, Limits, Socket, Spec, Tmpfs, ViewStep
from sandbox.plan.wants import HOME
from sandbox.policy.model import Origin, Policy
from sandbox.records import replace

TIMES = ("/etc/localtime", "/etc/timezone")
"""Public files of the host's that an image cannot know."""
_CLOSED = "/root"
_DEFAULT = Origin("default")


def in_container(policy: Policy, facts: HostFacts, survey: Survey, container: Container) -> Spec:
    """The spec that an engine realises; raises rather than enforce less."""
    refuse_unenforceable(policy, None)
    refuse_engine(container.engine)
    root = facts.uid == 0
    writes = bool(policy.files.write or policy.files.persist)
    who = identity(container, root=root, writes=writes)
    idmap = root and facts.idmap.works and container.engine.place == "local"
    # An engine elsewhere has no file of ours; its own /etc/resolv.conf and hosts are the holder's.
    files = () if container.engine.place == "remote" else etc(who, survey.etc)
    ground = Ground(who, files, idmap=idmap)
    ours = replace(policy, files=replace(policy.files, programs=()))  # the image has its own
    spec = drawn(ours, facts, survey, ground, limits(policy, container.engine), "trap")
    refuse_far_files(container.engine, spec.view)
    refuse_far_decoys(container.engine, policy)
    refuse_far_localhost(container.engine, policy)
    refuse_far_http(container.engine, policy)
    return replace(
        spec,
        argv=argv(container, survey.closure),
        cwd=_cwd(container, spec),
        env=environment(container, policy, spec.env),
        view=(*covered(spec.view, policy), *over_the_image(container, policy.files.tmp, spec.view)),
        waivers=(*spec.waivers, *unpinned(policy)),
        notes=(*spec.notes, *_uncounted(container.engine, spec.limits)),
        backend="docker",
        image=container.image,
        runtime=runtime(policy, container.engine),
    )


def _uncounted(engine: Engine, bounds: Limits) -> tuple[str, ...]:
    if bounds.memory is None or "swap" in engine.limits:
        return ()
    return (f"the engine at {engine.endpoint} does not count swap, which may come on top of the memory",)


def unpinned(policy: Policy) -> tuple[str, ...]:
    """A sentence where the profile takes an image by a name that its owner can move."""
    if not policy.server.unpinned or "@sha256:" in (policy.server.image or ""):
        return ()
    origin = policy.origin("server.unpinned")
    return (f"the image `{policy.server.image}` is whatever its owner last gave that name ({origin})",)


def _cwd(container: Container, spec: Spec) -> str:
    """The image's own directory where the caller's is not seen inside."""
    own = container.image.cwd if container.image.own else ""
    return own if own and spec.cwd == spec.identity.home else spec.cwd


def identity(container: Container, *, root: bool, writes: bool) -> Identity:
    """The caller's uid, or the session's for a root caller; an own image's user where nothing is written."""
    if container.engine.rootless:
        # Root of a rootless engine's namespace is the caller on the host, and owns what the caller owns.
        return Identity(0, 0, home=HOME)
    uid, _, gid = container.image.user.partition(":")
    if container.image.own and not writes and _number(uid) > 0:
        own = _number(gid)
        return Identity(_number(uid), own if own >= 0 else _number(uid), home=HOME)
    return Identity(container.uid, container.gid, drop=root, home=HOME)


def _number(text: str) -> int:
    """A uid or gid as an image writes it; -1 for a name, which only the image could look up."""
    return int(text) if text.isascii() and text.isdigit() else -1


def limits(policy: Policy, engine: Engine) -> Limits:
    """The policy's quotas, all by the engine; one that it says it cannot hold stops the start."""
    quota = policy.quota
    for name, value in (("memory", quota.memory), ("pids", quota.pids)):
        if value is not None and name not in engine.limits:
            raise _cannot_limit(policy, engine, name)
    cpus = quota.cpus
    if cpus is not None and "cpu" not in engine.limits:
        if policy.origin("quota.cpus") != _DEFAULT:
            raise _cannot_limit(policy, engine, "cpus")
        cpus = None
    return Limits(
        memory=quota.memory,
        cpus=cpus,
        pids=quota.pids,
        open_files=quota.open_files,
        wall=quota.wall,
        idle=quota.idle,
        written=quota.written,
        cpu_time=quota.cpu_time,
        busy=quota.busy,
        mechanism="engine",
    )


def _cannot_limit(policy: Policy, engine: Engine, name: str) -> CannotEnforce:
    return CannotEnforce(
        "cannot-enforce",
        f"the engine at {engine.endpoint} says that it cannot limit {name}",
        rule=f"{policy.origin(f'quota.{name}')} quota.{name}",
        hint="mcp-sandbox doctor",
    )


def etc(who: Identity, contents: Mapping[str, bytes]) -> tuple[ViewStep, ...]:
    """Ours over the image's: who the server is, how names resolve, what time it is where the user is."""
    steps = [File(path, content) for path, content in sorted(synthetic(who).items())]
    return (*steps, *(File(path, contents[path], copied=True) for path in TIMES if path in contents))


def over_the_image(container: Container, size: int, taken: Sequence[ViewStep]) -> tuple[ViewStep, ...]:
    """Empty trees in memory: where the image wants a volume on the engine's disk, and over its /root."""
    there = [step.target for step in taken if isinstance(step, Bind | Tmpfs | File)]
    volumes = dict.fromkeys(normpath(path) for path in container.image.volumes)
    made = [Tmpfs(path, size, mode=0o1777) for path in volumes if path not in there]
    if any(path.startswith(f"{_CLOSED}/") for path in there):
        # A root caller's own programs may lie below it, where an image lets nobody pass.
        made.append(Tmpfs(_CLOSED, 1 << 16, inodes=1 << 10, mode=0o555))
    return tuple(made)


def argv(container: Container, closure: Closure) -> tuple[str, ...]:
    """The command as the engine's own command line takes it: an image's entrypoint comes first."""
    image = container.image
    return (*image.entrypoint, *(closure.argv or image.command))


def environment(
    container: Container, policy: Policy, variables: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """An own image keeps its PATH, behind what the command needs; the engine adds its other variables."""
    own = dict(container.image.env).get("PATH")
    asked = "PATH" in policy.env.passed or any(name == "PATH" for name, _ in policy.env.fixed)
    if not container.image.own or not own or asked:
        return variables
    made = dict(variables)
    made["PATH"] = made["PATH"].removesuffix(PATH) + own
    return tuple(sorted(made.items()))


def runtime(policy: Policy, engine: Engine) -> str:
    """The engine's name of the OCI runtime that the profile asks for; refused where it has none."""
    if policy.isolation.runtime == "default" or engine.gvisor:
        return engine.gvisor if policy.isolation.runtime == "gvisor" else ""
    raise CannotEnforce(
        "cannot-enforce",
        f"`isolation.runtime` asks for gVisor, which the engine at {engine.endpoint} is not set up for",
        rule=f"{policy.origin('isolation.runtime')} isolation.runtime",
        hint="mcp-sandbox doctor",
    )


def covered(view: Sequence[ViewStep], policy: Policy) -> tuple[ViewStep, ...]:
    """The view as the runtime can show it: gVisor mounts nothing over a socket, and connects to none."""
    bare = policy.isolation.runtime == "gvisor"
    return tuple(step for step in view if not (bare and isinstance(step, Socket)))


def refuse_far_files(engine: Engine, steps: Sequence[ViewStep]) -> None:
    """An engine on another machine has none of the host's files, and none of ours."""
    binds = [step for step in steps if isinstance(step, Bind)]
    if engine.place == "remote" and binds:
        one = binds[0]
        raise CannotEnforce(
            "cannot-enforce",
            f"`{one.source}` is on this machine, and the engine at {engine.endpoint} is on another",
            rule=f"{one.origin} {one.why}",
            hint="use an engine of this machine, or an image that holds the server and its files",
        )


def refuse_far_decoys(engine: Engine, policy: Policy) -> None:
    """A decoy is a file that we write."""
    if engine.place == "remote" and policy.isolation.decoys:
        raise CannotEnforce(
            "cannot-enforce",
            f"decoys are files of this machine, and the engine at {engine.endpoint} is on another",
            rule=f"{policy.origin('isolation.decoys')} isolation.decoys",
            hint="use an engine of this machine, or leave the decoys out",
        )


def refuse_far_localhost(engine: Engine, policy: Policy) -> None:
    """The gateway dials from the engine's machine, whose loopback is not this one's."""
    for rule in policy.network.allow:
        if engine.place != "local" and _is_loopback(rule.host):
            raise CannotEnforce(
                "cannot-enforce",
                f"`{rule.host}:{rule.port}` is this machine's, and the engine at {engine.endpoint} "
                "runs on another",
                rule=f"{rule.origin} network.allow",
                hint="allow the service by a name that the engine's machine can reach",
            )


def refuse_far_http(engine: Engine, policy: Policy) -> None:
    """The connection to a server inside is made in its network and handed out, which no other machine can."""
    if engine.place != "local" and policy.server.transport == "http":
        raise CannotEnforce(
            "cannot-enforce",
            f"a server that speaks HTTP is reached by a socket made beside it, and the engine at "
            f"{engine.endpoint} is on another machine",
            rule=f"{policy.origin('server.transport')} server.transport",
            hint="use an engine of this machine, or the native backend",
        )


def _is_loopback(host: str) -> bool:
    """Of canonical hosts: all of 127.0.0.0/8, whose addresses alone end in a number."""
    return host in ("localhost", "::1") or (host.startswith("127.") and host[-1].isdigit())


def refuse_engine(engine: Engine) -> None:
    """What every sandbox needs of an engine, whatever the profile says."""
    if not engine.seccomp:
        raise CannotEnforce(
            "cannot-enforce",
            f"the engine at {engine.endpoint} filters no system calls",
            rule="never weaker than asked",
            hint="mcp-sandbox doctor",
        )
