"""The wiring of the Docker backend: which image and command a policy gets, and the orders of one session."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sandbox import images, leases
from sandbox.backend.docker import reap, seccomp
from sandbox.backend.docker.holder import Making
from sandbox.backend.docker.launch import Early
from sandbox.backend.docker.orders import Orders
from sandbox.backend.native import seccomp as native_seccomp
from sandbox.backend.native.identity import FIRST_UID
from sandbox.backend.running import Running
from sandbox.egress.charge import Charge
from sandbox.errors import CommandNotFound
from sandbox.gateway import Far
from sandbox.host.closure import closure, language_of
from sandbox.host.engine import engine
from sandbox.host.lookup import is_system
from sandbox.places import state_dir
from sandbox.plan.container import Place, body, may_be_piped, staged
from sandbox.plan.facts import Closure, Container, HostFacts
from sandbox.plan.image import Image
from sandbox.plan.spec import Bind, File, Spec
from sandbox.policy.model import Policy
from sandbox.records import replace
from sandbox.supply.request import Request

HOLDER = "base"
MOST_PROCESSES = 32768
_SHEBANG = 256
_ECOSYSTEMS = {"npm": "node", "pypi": "python"}


def container(
    policy: Policy, facts: HostFacts, needs: Closure, request: Request | None, environ: Mapping[str, str]
) -> Container:
    """What the plan stands on: the engine as it is, the image, and who the server is on the engine's host."""
    found = engine(environ)
    root = facts.uid == 0
    # One of this session's own, as native's: no two servers of a root caller are the same user.
    own = FIRST_UID + os.getpid()
    uid, gid = (own, own) if root else (facts.uid, facts.gid)
    return Container(found, image(policy, needs, request, environ), uid, gid)


def image(policy: Policy, needs: Closure, request: Request | None, environ: Mapping[str, str]) -> Image:
    """The profile's own, else the one of ours that has what the command needs."""
    named = policy.server.image
    if named is not None and named not in images.NAMES:
        return images.own(named, environ, unpinned=policy.server.unpinned)
    return images.find(named or image_name(policy, needs, request), environ)


def image_name(policy: Policy, needs: Closure, request: Request | None) -> str:
    """`browser` for its tier, else by the package's ecosystem or by what interprets the command."""
    if policy.syscalls == "browser":
        return "browser"
    if request is not None:
        return _ECOSYSTEMS[request.ecosystem]
    language = language_of(needs.argv[0]) or _of_script(needs.argv[0])
    return language if language in images.NAMES else HOLDER


def _of_script(path: str) -> str:
    """What the first line of a script asks for; a bare name is the image's, whatever lies here."""
    if "/" not in path:
        return ""
    try:
        with open(path, "rb") as file:
            first = file.read(_SHEBANG).split(b"\n")[0]
    except OSError:
        return ""
    words = first[2:].decode(errors="replace").split() if first.startswith(b"#!") else []
    named = [word for word in words if not word.startswith("-") and not word.endswith("/env")]
    return language_of(named[0]) if named else ""


def closure_inside(command: tuple[str, ...], policy: Policy, environ: Mapping[str, str], cwd: str) -> Closure:
    """What the command needs of this host; programs of the system are those of the image."""
    named = policy.server.image
    if named is not None and named not in images.NAMES:
        return Closure(command, why="the image")
    try:
        found = closure(command, environ=environ, cwd=cwd)
    except CommandNotFound:
        if "/" in command[0]:
            raise
        return Closure(command, why="the image")  # this machine need not have what the image has
    if not is_system(found.argv[0]):
        return found
    return replace(found, argv=(os.path.basename(found.argv[0]), *found.argv[1:]))


def folder(session: str, environ: Mapping[str, str]) -> str:
    """Where a session's staged files are."""
    return f"{state_dir(environ)}/containers/{session}"


def create_body(
    spec: Spec, session: str, environ: Mapping[str, str], secrets: tuple[tuple[str, str], ...] = ()
) -> dict[str, Any]:
    """The create body, but for the holder whose network is joined: that is known once there is one."""
    podman = engine(environ).kind == "podman"
    most = processes() if podman else 0
    joined = piped(spec, environ, secrets)
    place = Place(session, folder(session, environ), "HOLDER", labels(session), podman, most, joined)
    return body(spec, place, _filter(spec, environ), secrets)


def _filter(spec: Spec, environ: Mapping[str, str]) -> str:
    """The filter's profile; gVisor's knows no other answer than an error."""
    if spec.runtime:
        return seccomp.for_sentry(seccomp.load(spec.syscalls, machine(environ)))
    found = seccomp.load(spec.syscalls, machine(environ), kill=spec.forbidden == "kill")
    return seccomp.narrowing(found) if spec.narrows else found


def piped(spec: Spec, environ: Mapping[str, str], secrets: tuple[tuple[str, str], ...]) -> bool:
    """Whether stdin and stdout are pipes of this machine's kernel: our images have what joins them."""
    found = engine(environ)
    if spec.endpoint is not None:
        return False  # nobody speaks over them
    ours = spec.image is not None and spec.image.name in images.NAMES
    here = found.place == "local" and found.kind == "docker"
    return ours and here and may_be_piped(spec, [name for name, _ in (*spec.env, *secrets)])


def machine(environ: Mapping[str, str]) -> str:
    """The engine's architecture, as uname(2) has it."""
    return engine(environ).machine or os.uname().machine


def processes() -> int:
    """An RLIMIT_NPROC that every engine of this machine may set."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    return MOST_PROCESSES if hard == resource.RLIM_INFINITY else min(MOST_PROCESSES, hard)


def written(spec: Spec, environ: Mapping[str, str]) -> list[tuple[int | str, int, str]]:
    """The files of the session's folder: name, mode, content; for Podman the filter is one of them."""
    steps = ((n, step) for n, step in staged(spec) if isinstance(step, File))
    made: list[tuple[int | str, int, str]] = [(n, s.mode, s.content.decode("latin-1")) for n, s in steps]
    if engine(environ).kind == "podman":
        made.append(("seccomp.json", 0o400, _filter(spec, environ)))
    return made


def labels(session: str, role: str = "server") -> tuple[tuple[str, str], ...]:
    """How a container says whose it is."""
    return reap.labels(session, role)


def with_containers(lease: leases.Lease, environ: Mapping[str, str]) -> leases.Lease:
    """The lease with all that `start` will make for its session."""
    name, found = server_name(lease.session), engine(environ)
    beside = ("net",) if found.place == "local" else ("net", "gateway", "addresses")
    return replace(
        lease,
        engine=found.endpoint,
        containers=(name, *(f"{name}-{one}" for one in beside)),
        folder=folder(lease.session, environ),
    )


def server_name(session: str) -> str:
    """What the server's container is called."""
    return f"mcp-sandbox-{session}"


def start(
    early: Early,
    spec: Spec,
    session: str,
    environ: Mapping[str, str],
    secrets: tuple[tuple[str, str], ...],
    remove: tuple[str, ...],
    trap: tuple[int, int],
) -> Running:
    """Tells the keeper what to build, and returns at once."""
    return early.start(orders(spec, session, environ, secrets, remove), trap)


def orders(
    spec: Spec,
    session: str,
    environ: Mapping[str, str],
    secrets: tuple[tuple[str, str], ...],
    remove: tuple[str, ...],
) -> Orders:
    """All that a keeper needs to know."""
    return Orders(
        name=server_name(session),
        body=create_body(spec, session, environ, secrets),
        ports=sorted({rule.port for rule in spec.egress.allow}),
        folder=folder(session, environ),
        files=written(spec, environ),
        trees=[(n, s.source, s.writable, s.is_dir, *s.owner) for n, s in staged(spec) if isinstance(s, Bind)],
        uid=spec.identity.uid,
        gid=spec.identity.gid,
        holder=images.find(HOLDER, environ).id,
        spares=spares(environ),
        labels=list(labels(session)),
        engine=engine(environ).endpoint,
        podman=engine(environ).kind == "podman",
        piped=piped(spec, environ, secrets),
        sources=[step.source for step in spec.view if isinstance(step, Bind) and not step.idmap],
        far=engine(environ).place != "local",
        limits=list(engine(environ).limits),
        remove=list(remove),
        **_bridged(spec),
    )


def _bridged(spec: Spec) -> dict[str, Any]:
    """What the keeper needs for a server that speaks HTTP: the bridge runs on this machine."""
    if spec.endpoint is None:
        return {}
    from sandbox.backend.native import narrowed

    here = os.uname().machine
    bpf = narrowed.only(native_seccomp.load("net", here), narrowed.OUTSIDE, here)
    at = spec.endpoint
    return {
        "endpoint": (at.host, at.port, at.path, at.ready),
        "bridge": bpf.decode("latin-1"),
        "message": spec.message,
    }


def far(spec: Spec, session: str, environ: Mapping[str, str]) -> Far | None:
    """A gateway beside the container, where the engine's machine cannot hand sockets to this one."""
    found = engine(environ)
    if found.place == "local":
        return None
    base, python = images.find(HOLDER, environ), images.find("python", environ)
    ports = tuple(sorted({rule.port for rule in spec.egress.allow}))
    making = Making(base.id, spares(environ), found.endpoint, found.limits, labels(session, "holder"))

    def run(trap: int, channel: int, charge: Charge, _: bytes) -> None:
        from sandbox import engine as engines
        from sandbox.backend.docker import far_gateway
        from sandbox.backend.docker.far_words import Order

        api = engines.connect(environ)
        # For the engine's kernel, not for this machine's.
        order = Order(ports, charge, native_seccomp.load("net", machine(environ)))
        far_gateway.run(api, far_gateway.Far(server_name(session), python.id, making, order), trap, channel)

    return run


def spares(environ: Mapping[str, str]) -> str:
    """The folder where holders wait."""
    return f"{state_dir(environ)}/holders"
