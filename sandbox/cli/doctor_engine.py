"""What `doctor` says of the container engine: what it is, what it holds, what the backend makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.cli.findings import Row
from sandbox.errors import SandboxError
from sandbox.host.engine import Measured
from sandbox.plan.facts import Engine, Probe

_LIMITS = ("memory", "swap", "pids", "cpu")
_PLACES = {
    "local": "on this machine",
    "vm": "in a virtual machine that shares this user's files",
    "remote": "on another machine",
}
_CALLED = {"docker": "Docker", "podman": "Podman"}
_LITTLE_DISK = 2_000_000_000  # the four images take as much


@dataclass(frozen=True, slots=True)
class Seen:
    """The engine as it answered, or the error; and which images of ours it has."""

    measured: Measured | None = None
    error: SandboxError | None = None
    images: Mapping[str, bool] | None = None


def look(environ: Mapping[str, str]) -> Seen:
    """Asks the engine now, and renews what `run` remembers of it."""
    from sandbox.host.engine import measure

    try:
        return Seen(measure(environ), images=_images(environ))
    except SandboxError as error:
        return Seen(error=error)


def _images(environ: Mapping[str, str]) -> dict[str, bool]:
    from sandbox import engine
    from sandbox.imaging.recipe import PARENTS, recipe

    api = engine.connect(environ)
    with engine.failures(engine.endpoint(environ)):
        listed = api.images(filters={"label": "io.mcp-sandbox.recipe"})
    recipes = {(one.get("Labels") or {}).get("io.mcp-sandbox.recipe") for one in listed}
    return {name: recipe(name) in recipes for name in PARENTS}


def rows(seen: Seen, installed: Probe) -> list[Row]:
    """Each fact of the engine; `installed` tells whether this host has gVisor itself."""
    if seen.measured is None:
        return [_unanswered(seen.error), Row("gvisor", "absent", _without_engine(installed))]
    engine = seen.measured.engine
    return [
        _engine(engine),
        _seccomp(engine),
        _limits(engine),
        Row("engine runtimes", "works", ", ".join(engine.runtimes)),
        _gvisor(seen.measured.gvisor, installed),
        _disk(seen.measured),
        _kept(seen.images or {}),
    ]


def _unanswered(error: SandboxError | None) -> Row:
    if error is None or error.code == "no-engine":
        return Row("docker engine", "absent", error.what if error else "not looked for")
    return Row("docker engine", "fails", error.what, error.hint)


def _without_engine(installed: Probe) -> str:
    return f"{installed.detail}; only an engine starts it" if installed.works else installed.detail


def _engine(engine: Engine) -> Row:
    what = f"{_CALLED[engine.kind]} {engine.version}, API {engine.api}, at {engine.endpoint}"
    rootless = ", rootless" if engine.rootless else ""
    return Row("docker engine", "works", f"{what}, {_PLACES[engine.place]}{rootless}")


def _seccomp(engine: Engine) -> Row:
    if engine.seccomp:
        return Row("engine seccomp", "works", "takes a profile of ours")
    return Row(
        "engine seccomp",
        "fails",
        "not in this engine",
        "use an engine and a kernel that are built with seccomp",
    )


def _limits(engine: Engine) -> Row:
    missing = [name for name in _LIMITS if name not in engine.limits]
    by = f"by cgroup v{engine.cgroup}" if engine.cgroup else "no cgroups"
    if not missing:
        return Row("engine limits", "works", f"{', '.join(engine.limits)} {by}")
    held = f"holds {', '.join(engine.limits)} {by}" if engine.limits else f"holds none ({by})"
    hint = "a rootless engine needs cgroup v2 and delegated controllers" if engine.rootless else ""
    return Row("engine limits", "limited", f"{held}; not {', '.join(missing)}", hint)


def _gvisor(usable: Probe, installed: Probe) -> Row:
    if usable.works:
        return Row("gvisor", "works", usable.detail)
    # Who has not installed it wants no advice about it.
    return Row("gvisor", "absent", usable.detail, usable.hint if installed.works else "")


def _disk(measured: Measured) -> Row:
    where = f"{measured.engine.root} ({measured.storage})"
    if measured.free is None:
        return Row("engine disk", "absent", f"free space under {where} cannot be read from here")
    free = f"{measured.free / 1e9:.1f} GB free under {where}"
    if measured.free < _LITTLE_DISK:
        return Row("engine disk", "limited", free, "docker system df")
    return Row("engine disk", "works", free)


def _kept(images: Mapping[str, bool]) -> Row:
    missing = [name for name, there in images.items() if not there]
    if not missing:
        return Row("images", "works", ", ".join(images))
    there = ", ".join(name for name in images if name not in missing) or "none"
    hint = f"mcp-sandbox image build {' '.join(missing)}"
    return Row("images", "limited", f"there: {there}; missing: {', '.join(missing)}", hint)


def verdict(seen: Seen) -> Row:
    """What the Docker backend can do with this engine."""
    if seen.measured is None:
        row = _unanswered(seen.error)
        said = "no engine answers" if row.state == "absent" else f"cannot be used here: {row.detail}"
        return Row("docker", row.state, said, row.hint)
    engine = seen.measured.engine
    if not engine.seccomp:
        return Row("docker", "fails", "cannot be used here: the engine takes no seccomp profile")
    reasons = [*_reasons(engine, seen.images or {})]
    if reasons:
        return Row("docker", "limited", f"isolates fully; {'; '.join(reasons)}")
    by = f"by the engine's cgroup v{engine.cgroup}"
    return Row("docker", "works", f"enforces everything; memory, processes and CPU {by}")


def _reasons(engine: Engine, images: Mapping[str, bool]) -> Iterator[str]:
    lacks = [name for name in _LIMITS if name not in engine.limits]
    if lacks:
        yield f"a profile that limits {', '.join(lacks)} is refused"
    if engine.place == "remote":
        yield "a profile that mounts files of this machine is refused"
    missing = [name for name, there in images.items() if not there]
    if missing:
        yield f"no image yet: {', '.join(missing)}"


def described(seen: Seen) -> dict[str, Any]:
    """The same for a program that reads: every fact by its name."""
    if seen.measured is None:
        error = seen.error
        return {"error": {"code": error.code, "what": error.what, "hint": error.hint} if error else None}
    one = seen.measured
    more = {"free": one.free, "storage": one.storage, "system": one.system}
    return {**asdict(one.engine), **more, "images": dict(seen.images or {})}
