"""A spec as the body of `POST /containers/create` (Docker Engine API 1.41): pure, and all that it can say.

Paths of the host in it are the spec's own, or below `Place.folder`, where the keeper stages what no mount of
the engine's can make: written files and trees with mapped owners.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from posixpath import dirname, join, normpath
from typing import Any

from sandbox.plan.mounts import target_of
from sandbox.plan.spec import Bind, File, Proc, Socket, Spec, Symlink, Tmpfs, ViewStep
from sandbox.plan.system import DEVICE_LINKS
from sandbox.policy.paths import below
from sandbox.records import dataclass

OWN_PROCESSES = 1
"""The engine's init counts as one of the container's."""
CORE = 1
"""Not 0: a `|handler` in core_pattern, which the kernel starts as root, ignores 0 (core(5))."""
MOST_LINKS = 40
"""As the kernel's own (path_resolution(7))."""
PERIOD_NS = 1_000_000_000
_SYS = "/sys"
_SENTRY_TASKS, _TASKS_EACH = 64, 8


@dataclass(frozen=True, slots=True)
class Place:
    """What differs from session to session: names, the folder of staged files, whose network is joined."""

    session: str
    folder: str
    network: str
    """The id of the holder whose network namespace the server joins."""
    labels: tuple[tuple[str, str], ...] = ()
    podman: bool = False
    processes: int = 0
    """Podman alone: RLIMIT_NPROC, which it would otherwise raise beyond what the caller may have."""
    piped: bool = False
    """Whether the server's stdin and stdout are named pipes in the folder, not streams of the engine's."""


SHELL = "mcp-sandbox"
"""As what the image's shell names itself where it cannot execute the server."""
STDIN, STDOUT = "stdin", "stdout"
_PIPES = "/run/mcp-sandbox"
_JOIN = f'unset PWD; exec "$@" <{_PIPES}/{STDIN} >{_PIPES}/{STDOUT}'
_SHELLS_OWN = frozenset(("IFS", "LINENO", "OPTIND", "PPID", "PWD"))


def may_be_piped(spec: Spec, variables: Iterable[str]) -> bool:
    """Whether a shell in between leaves the server all as it is: dash(1) keeps no variable of other forms."""
    own = any(name in _SHELLS_OWN or not (name.isascii() and name.isidentifier()) for name in variables)
    # Another kernel's pipe, as gVisor's is, ends at its border.
    return not own and not spec.runtime


def seccomp_file(folder: str) -> str:
    """Where Podman reads the filter, which Docker takes as text."""
    return f"{folder}/seccomp.json"


def body(spec: Spec, place: Place, seccomp: str, secrets: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    """The container that realises the spec; `secrets` are variables whose values stand in no plan."""
    identity, image = spec.identity, spec.image
    if image is None:
        raise ValueError("a container needs an image")
    variables = dict(spec.env) | dict(secrets)
    return {
        "Image": image.id,
        "Entrypoint": [*(("/bin/sh", "-c", _JOIN, SHELL) if place.piped else ()), spec.argv[0]],
        "Cmd": list(spec.argv[1:]),
        "Env": [f"{name}={value}" for name, value in sorted(variables.items())],
        "User": f"{identity.uid}:{identity.gid}",
        "WorkingDir": spec.cwd,
        "Tty": False,
        "OpenStdin": not place.piped,
        "StdinOnce": not place.piped,
        "AttachStdin": not place.piped,
        "AttachStdout": True,
        "AttachStderr": True,
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": dict(place.labels),
        "HostConfig": _host(spec, place, seccomp),
    }


def _host(spec: Spec, place: Place, seccomp: str) -> dict[str, Any]:
    limits = spec.limits
    filtered = seccomp_file(place.folder) if place.podman else seccomp
    made: dict[str, Any] = {
        "NetworkMode": "host" if spec.network == "host" else f"container:{place.network}",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true", f"seccomp={filtered}"],
        "Privileged": False,
        "IpcMode": "private",
        "PidMode": "",
        "CgroupnsMode": "private",
        "Init": True,
        "AutoRemove": True,
        "RestartPolicy": {"Name": "no"},
        # What server and client say to each other is written to no log of the engine's.
        "LogConfig": {"Type": "none", "Config": {}},
        "Mounts": [*_mounts(spec, place.folder), *(_pipes(place.folder) if place.piped else ())],
        "Tmpfs": dict(_tmpfs(spec, podman=place.podman)),
        "ShmSize": next((s.size for s in spec.view if isinstance(s, Tmpfs) and _is_shm(s)), 1 << 20),
        "Ulimits": [*_ulimits(limits.open_files)],
        **_proc(spec.view),
    }
    if limits.memory is not None:
        # Together with swap: as much swap as memory, which is none.
        made |= {"Memory": limits.memory, "MemorySwap": limits.memory}
    if limits.pids is not None:
        made["PidsLimit"] = limits.pids + OWN_PROCESSES
        if spec.runtime:
            # gVisor counts its own: the cgroup sees some five tasks of the host's for each process inside.
            made["PidsLimit"] = _SENTRY_TASKS + _TASKS_EACH * limits.pids
            made["Ulimits"].append({"Name": "nproc", "Soft": limits.pids, "Hard": limits.pids})
    if limits.cpus is not None:
        made["NanoCpus"] = round(limits.cpus * PERIOD_NS)
    if place.podman:
        made["Ulimits"].append({"Name": "nproc", "Soft": place.processes, "Hard": place.processes})
    if spec.runtime:
        made["Runtime"] = spec.runtime
    return made


def _ulimits(open_files: int | None) -> Iterator[dict[str, Any]]:
    yield {"Name": "core", "Soft": CORE, "Hard": CORE}
    if open_files is not None:
        yield {"Name": "nofile", "Soft": open_files, "Hard": open_files}


def _proc(view: tuple[ViewStep, ...]) -> dict[str, Any]:
    step = next(step for step in view if isinstance(step, Proc))
    # An engine mounts /sys, which tells of the whole machine; native has none.
    return {"MaskedPaths": [*step.masked, _SYS], "ReadonlyPaths": list(step.readonly)}


def _is_shm(step: Tmpfs) -> bool:
    return step.target == "/dev/shm"  # noqa: S108 - a place inside the sandbox


def _tmpfs(spec: Spec, *, podman: bool) -> Iterator[tuple[str, str]]:
    identity = spec.identity
    # Podman knows no owner of a tmpfs: one that is not root's is everybody's, which inside is nobody else.
    owner = "" if podman else f",uid={identity.uid},gid={identity.gid}"
    open_to_all = podman and identity.uid != 0
    for step in spec.view:
        if isinstance(step, Tmpfs) and not _is_shm(step):
            mode = 0o1777 if open_to_all else step.mode
            # Nor a number of inodes: the memory that they take is counted, as all of it is.
            inodes = "" if podman else f",nr_inodes={step.inodes}"
            size = f"size={step.size}{inodes},mode={mode:o}"
            # An engine's own default forbids execution; npx-like servers run what they unpack.
            yield step.target, f"rw,exec,nosuid,nodev,{size}{owner}"


def _mounts(spec: Spec, folder: str) -> Iterator[dict[str, Any]]:
    for number, step in enumerate(spec.view):
        if isinstance(step, Symlink) and not engines_own(step):
            yield from _linked(step, spec.view, folder)
        elif isinstance(step, Bind | File | Socket):
            yield _mount(number, step, folder, step.target)


def _pipes(folder: str) -> Iterator[dict[str, Any]]:
    # Read-only says nothing of what flows through them, but that nobody changes their mode.
    for name in (STDIN, STDOUT):
        yield _bind(f"{folder}/{name}", f"{_PIPES}/{name}")


def _mount(
    number: int, step: Bind | File | Socket, folder: str, target: str, rest: str = ""
) -> dict[str, Any]:
    """The step at `target`, or what lies at `rest` in it."""
    if isinstance(step, Socket):
        return _bind("/dev/null", target)
    if isinstance(step, File):
        return _bind(f"{folder}/{number}", target)
    source = f"{folder}/{number}" if step.idmap else step.source
    return _bind(f"{source.rstrip('/')}{rest}" or "/", target, writable=step.writable)


def engines_own(step: Symlink) -> bool:
    """Links that every engine or every image has: of /dev, and /var/tmp."""
    return (step.target, step.to) in DEVICE_LINKS or step.target == "/var/tmp"  # noqa: S108 - a place inside


def _linked(link: Symlink, view: tuple[ViewStep, ...], folder: str) -> Iterator[dict[str, Any]]:
    """A body has no links: all that is seen where the link leads is mounted at its place too.

    What lies in the tree goes with it: it may guard a file there, or cover a socket.
    """
    end = leads_to(link, view)
    over = [step for step in view if not isinstance(step, Symlink) and below(end, target_of(step))]
    outer = max(over, key=lambda step: len(target_of(step)), default=None)
    for number, step in enumerate(view):
        if not isinstance(step, Bind | File | Socket):
            continue
        if step is outer:
            yield _mount(number, step, folder, link.target, end.removeprefix(step.target))
        elif below(step.target, end) and step.target != end:
            yield _mount(number, step, folder, f"{link.target}{step.target.removeprefix(end)}")


def leads_to(link: Symlink, view: tuple[ViewStep, ...]) -> str:
    """The place inside that a link's text means, through the other links of the view; its own in a circle."""
    links = [step for step in view if isinstance(step, Symlink)]
    place = link.target
    for _ in range(MOST_LINKS):
        met = next((step for step in links if below(place, step.target)), None)
        if met is None:
            return place
        text = normpath(join(dirname(met.target), met.to))
        place = f"{text.rstrip('/')}{place.removeprefix(met.target)}" or "/"
    return link.target


def _bind(source: str, target: str, *, writable: bool = False) -> dict[str, Any]:
    # Older engines make only the topmost mount read-only: what is mounted below it is then left out.
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": not writable,
        "BindOptions": {"Propagation": "rprivate", "NonRecursive": not writable},
    }


def staged(spec: Spec) -> Iterator[tuple[int, File | Bind]]:
    """The steps that need something in the folder: number, and what."""
    for number, step in enumerate(spec.view):
        if isinstance(step, File) or (isinstance(step, Bind) and step.idmap):
            yield number, step
