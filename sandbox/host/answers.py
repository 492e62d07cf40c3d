"""What a container engine says of itself, read as facts; nothing here speaks to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from sandbox.errors import CannotEnforce, SandboxNotBuilt
from sandbox.plan.facts import Engine, Probe

Answer = Mapping[str, Any]

OLDEST_API = (1, 41)
"""Docker 20.10: private cgroup namespaces and `wait` before the start."""
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# They share the user's directories with a machine of their own, under the same paths.
_DESKTOPS = re.compile(
    r"docker desktop|docker-desktop|colima|orbstack|rancher[ -]desktop|lima-|podman-machine", re.I
)
_LIMITS = {
    "memory": ("MemoryLimit",),
    "swap": ("MemoryLimit", "SwapLimit"),
    "pids": ("PidsLimit",),
    "cpu": ("CpuCfsPeriod", "CpuCfsQuota"),
}
_CONTROLLERS = {"memory": "memory", "swap": "memory", "pids": "pids", "cpu": "cpu"}
# `host` is the network namespace that the container got, where the trap stands: gVisor's own stack knows
# nothing of it. Without the second, gVisor takes a seccomp profile and leaves it unused.
_GVISOR_NEEDS = ("--network=host", "--oci-seccomp")


def facts(
    endpoint: str, version: Answer, info: Answer, host: os.uname_result, controllers: Iterable[str] | None
) -> Engine:
    """The engine's facts; raises where it is none that can run our containers."""
    api, kind = str(version.get("ApiVersion", "")), _kind(version)
    _refuse_the_unusable(endpoint, kind, api, str(version.get("Version", "")), info)
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    rootless = bool(info.get("Rootless")) or any(_named(option) == "rootless" for option in options)
    cgroup = _cgroup(info)
    return Engine(
        endpoint=endpoint,
        kind=kind,
        version=str(version.get("Version", "")),
        api=api,
        place=place(endpoint, info, host),
        rootless=rootless,
        cgroup=cgroup,
        seccomp=any(_named(option) == "seccomp" for option in options),
        limits=_limits(info, controllers, rootless and cgroup != 2),
        runtimes=_runtimes(kind, info),
        machine=_machine(str(info.get("Architecture", ""))),
        gvisor=gvisor(kind, info)[0],
        root=str(info.get("DockerRootDir", "")),
    )


def _kind(version: Answer) -> Literal["docker", "podman"]:
    parts = [str(part.get("Name", "")) for part in version.get("Components") or ()]
    return "podman" if any(name.startswith("Podman") for name in parts) else "docker"


def _refuse_the_unusable(endpoint: str, kind: str, api: str, version: str, info: Answer) -> None:
    numbers = tuple(int(part) for part in api.split(".") if part.isdigit())
    if not numbers or not info.get("OSType"):
        raise SandboxNotBuilt(
            "engine-failed", f"what answers at {endpoint} is no engine", hint="docker version"
        )
    if numbers < OLDEST_API:
        oldest = ".".join(map(str, OLDEST_API))
        what = f"{kind} {version} at {endpoint} speaks API {api}; {oldest} is needed"
        raise CannotEnforce(
            "engine-too-old", what, hint="install Docker 20.10 or later, or Podman 4 or later"
        )
    if info["OSType"] != "linux":
        what = f"the engine at {endpoint} runs {info['OSType']} containers, not Linux ones"
        raise CannotEnforce("engine-not-linux", what, hint="switch the engine to Linux containers")


def _named(option: str) -> str:
    """`seccomp` of `name=seccomp,profile=default`."""
    return option.split(",")[0].removeprefix("name=")


def _cgroup(info: Answer) -> Literal[0, 1, 2]:
    if info.get("CgroupDriver") == "none":
        return 0
    return 2 if str(info.get("CgroupVersion", "1")) == "2" else 1


def _limits(info: Answer, controllers: Iterable[str] | None, powerless: bool) -> tuple[str, ...]:
    # Without root nobody delegates a cgroup of version 1: Podman takes the limits, says it has them, and
    # applies none. What it says of its controllers is true.
    if powerless or info.get("CgroupDriver") == "none":
        return ()
    said = [name for name, switches in _LIMITS.items() if all(info.get(switch) for switch in switches)]
    if controllers is None:
        return tuple(said)
    held = set(controllers)
    return tuple(name for name in said if _CONTROLLERS[name] in held)


def _runtimes(kind: str, info: Answer) -> tuple[str, ...]:
    # Podman lists what it has heard of, and runs its default whatever a container asks for.
    if kind == "podman":
        return (str(info.get("DefaultRuntime", "")),)
    return tuple(sorted(str(name) for name in info.get("Runtimes") or ()))


def _machine(name: str) -> str:
    return _MACHINES.get(name, name)


def place(endpoint: str, info: Answer, host: os.uname_result) -> Literal["local", "vm", "remote"]:
    """Whether the engine has this machine's kernel and files; what cannot be told is remote."""
    if not _near(endpoint):
        return "remote"
    name = str(info.get("Name", ""))
    if _DESKTOPS.search(f"{info.get('OperatingSystem', '')}\n{name}"):
        return "vm"
    # Any socket can be the end of a tunnel, and a container can be given its host's.
    same = (info.get("KernelVersion"), name) == (host.release, host.nodename)
    return "local" if same else "remote"


def _near(endpoint: str) -> bool:
    scheme, _, rest = endpoint.partition("://")
    if scheme in ("tcp", "http", "https"):
        return rest.rstrip("/").rpartition(":")[0].strip("[]") in ("127.0.0.1", "::1", "localhost")
    return scheme in ("unix", "npipe")


def gvisor(kind: str, info: Answer) -> tuple[str, Probe]:
    """The name of the runtime that is gVisor set up as we need it, or `` and why there is none."""
    if kind == "podman":
        return "", Probe(False, "Podman's API runs its default runtime, whichever is asked for")
    found: dict[str, list[str]] = {
        str(name): list(one.get("runtimeArgs") or ())
        for name, one in (info.get("Runtimes") or {}).items()
        if os.path.basename(str(one.get("path", ""))) == "runsc"
    }
    for name in sorted(found):
        if all(need in found[name] for need in _GVISOR_NEEDS):
            return name, Probe(True, f"runtime `{name}`: {' '.join(found[name])}")
    if not found:
        return "", Probe(False, "no runtime of this engine is `runsc`", _GVISOR_HINT)
    name = min(found)
    lacks = " ".join(need for need in _GVISOR_NEEDS if need not in found[name])
    return "", Probe(False, f"runtime `{name}` lacks {lacks}", _GVISOR_HINT)


_GVISOR_HINT = (
    'in /etc/docker/daemon.json: "runtimes": {"runsc": {"path": "/usr/bin/runsc", '
    f'"runtimeArgs": ["{_GVISOR_NEEDS[0]}", "{_GVISOR_NEEDS[1]}"]}}}}; then restart the engine'
)
