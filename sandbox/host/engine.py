"""The container engine's facts, asked for once a day: what `run` reads without the SDK's 200 ms.

A memory is trusted for speed only: the keeper speaks to the engine itself and fails closed. An error is
never remembered, nor an engine without seccomp; nor is anything that the socket, the docker client's
settings or the environment no longer agree with.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sandbox import contexts
from sandbox.errors import SandboxNotBuilt
from sandbox.host.engines import sockets
from sandbox.host.remembered import forget, keep, own_file
from sandbox.places import cache_dir
from sandbox.plan.facts import Engine, Probe
from sandbox.records import dataclass, names

_EXPIRES_S = 24 * 3600
_VARIABLES = (
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "HOME",
    "XDG_RUNTIME_DIR",
)
_CODE = ("engine.py", "answers.py", "../engine.py", "../contexts.py", "../plan/facts.py")
_TEXTS = ("endpoint", "kind", "version", "api", "place", "machine", "gvisor", "root")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "kind": ("docker", "podman"),
    "place": ("local", "vm", "remote"),
    "cgroup": (0, 1, 2),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """An engine as it answered just now, with what only a diagnosis wants to know."""

    engine: Engine
    gvisor: Probe
    free: int | None
    """Bytes under the engine's data directory; None where they are not this machine's to read."""
    storage: str
    system: str


def engine(environ: Mapping[str, str], refresh: bool = False) -> Engine:
    """The engine that the caller's environment names; raises where none answers, or none that will do."""
    path = f"{cache_dir(environ)}/engine-{os.geteuid()}.json"
    known = None if refresh else recall(path, environ)
    return known or measure(environ).engine


def measure(environ: Mapping[str, str]) -> Measured:
    """Asks the engine, and remembers what it says for the next start."""
    from sandbox import engine as client  # the SDK: off the warm path
    from sandbox.host import answers

    path = f"{cache_dir(environ)}/engine-{os.geteuid()}.json"
    forget(path)
    endpoint = client.endpoint(environ)
    _refuse_nothing(endpoint)
    api = client.connect(environ)
    with client.failures(endpoint):
        version, info = api.version(), api.info()
        found = answers.facts(endpoint, version, info, os.uname(), _controllers(api, version))
    if found.seccomp:
        remember(path, environ, found)
    return Measured(
        found,
        answers.gvisor(found.kind, info)[1],
        _free(found),
        str(info.get("Driver", "")),
        str(info.get("OperatingSystem", "")),
    )


def _refuse_nothing(endpoint: str) -> None:
    """The usual finding in words of our own: the SDK's are three exceptions deep."""
    if endpoint.startswith("unix://") and not os.path.exists(endpoint.removeprefix("unix://")):
        hint = "start an engine, for example: sudo systemctl start docker"
        raise SandboxNotBuilt("no-engine", f"no engine's socket at {endpoint}", hint=hint)


def _controllers(api: Any, version: Mapping[str, Any]) -> list[str] | None:
    """The cgroup controllers that Podman says it may use, by its own API; None for every other engine."""
    if not any(str(part.get("Name", "")).startswith("Podman") for part in version.get("Components") or ()):
        return None
    said = api.get(f"{api.base_url}/v4.0.0/libpod/info", timeout=api.timeout).json()
    return list(said["host"]["cgroupControllers"] or ())


def _free(found: Engine) -> int | None:
    if found.place != "local":
        return None
    try:
        disk = os.statvfs(found.root)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize


def remember(path: str, environ: Mapping[str, str], found: Engine) -> None:
    """Writes the facts for the next start; an unwritable cache is no failure."""
    import time
    from dataclasses import asdict

    keep(path, {"where": _where(environ, found.endpoint), "measured": time.time(), "engine": asdict(found)})


def recall(path: str, environ: Mapping[str, str]) -> Engine | None:
    """The facts remembered at `path`; None unless fresh and all that they hang on is as it was."""
    import json
    import time

    try:
        value = json.loads(own_file(path))
        found = decode(value["engine"])
        fresh = 0 <= time.time() - float(value["measured"]) < _EXPIRES_S
        return found if fresh and value["where"] == _where(environ, found.endpoint) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _where(environ: Mapping[str, str], endpoint: str) -> dict[str, str]:
    """This code, who asks and in which environment, and every file that decides which engine it is."""
    here = os.path.dirname(__file__)
    code = [f"{here}/{name}" for name in _CODE]
    # A socket that has appeared may be preferred to the one that was found; a new engine makes a new socket.
    places = [endpoint.removeprefix("unix://")] if endpoint.startswith("unix://") else []
    files = [*code, *contexts.files(environ), *places, *sockets(environ)]
    return {
        **{name: environ.get(name, "") for name in _VARIABLES},
        **{path: _stamp(path) for path in files},
        "uid": str(os.geteuid()),
        "boot": _boot(),
    }


def _stamp(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_dev:x}.{found.st_ino:x}.{found.st_ctime_ns:x}"


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def decode(value: Any) -> Engine:
    """Facts from their JSON form; ValueError unless every field is there with its type, and no other."""
    if not isinstance(value, dict) or value.keys() != set(names(Engine)):
        raise ValueError("other fields than expected")
    if not all(isinstance(value[name], str) for name in _TEXTS):
        raise ValueError("texts")
    if not all(type(value[name]) is bool for name in ("rootless", "seccomp")):
        raise ValueError("switches")
    if any(value[name] not in allowed for name, allowed in _CHOICES.items()):
        raise ValueError("choices")
    lists = {name: _words(value[name]) for name in ("limits", "runtimes")}
    return Engine(**{**value, **lists})


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ValueError("words")
    return tuple(value)
