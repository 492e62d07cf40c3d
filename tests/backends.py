"""Which backends a test is run against, for which callers, and what is needed at a container engine."""

from __future__ import annotations

import fcntl
import gc
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from sandbox import engine, images
from sandbox.host import engine as facts
from sandbox.imaging import recipe

NATIVE, DOCKER, GVISOR = "native", "docker", "gvisor"
BACKENDS = (NATIVE, DOCKER, GVISOR)
CALLERS = ("root", "user") if os.geteuid() == 0 else ("user",)
IMAGES = ("base", "python", "node")
BUILD_S = 900
# The engine does not change between the two halves of a run, and its tests take minutes.
SECOND_HALF = os.environ.get("MCP_SANDBOX_PART") == "user"
# What the ordinary user's own half runs anyway, natively, is not run for that user by root before it.
FIRST_HALF = os.environ.get("MCP_SANDBOX_PART") == "root"


def parametrise(metafunc: pytest.Metafunc, scope: str, indirect: Sequence[str] = ()) -> None:
    """One case for each backend and caller that `@pytest.mark.backends` names; without one, native alone."""
    native = ("root",) if FIRST_HALF and not metafunc.definition.get_closest_marker("slow") else CALLERS
    if "backend" not in metafunc.fixturenames:
        if "caller" in metafunc.fixturenames:
            metafunc.parametrize("caller", native, indirect=list(indirect), scope=scope)  # type: ignore[arg-type]
        return
    mark = metafunc.definition.get_closest_marker("backends")
    cases = _cases(mark.kwargs if mark else {}, native)
    names = ("caller", "backend")
    ids = ["-".join(one) for one in cases]
    metafunc.parametrize(names, cases, indirect=list(indirect), ids=ids, scope=scope)  # type: ignore[arg-type]


def _cases(more: dict[str, str], native: Sequence[str]) -> list[tuple[str, str]]:
    found = [(one, NATIVE) for one in native]
    if SECOND_HALF:
        return found
    # An ordinary user's run is for that user, whoever stands for all callers elsewhere.
    asked = ((one, name, who) for name, who in more.items() for one in CALLERS)
    return [*found, *((one, name) for one, name, who in asked if one in who or len(CALLERS) == 1)]


# --- the engine ------------------------------------------------------------------------------------


def without_engine() -> str:
    """Why nothing can be run at a container engine here, or nothing."""
    why = ""
    with warnings.catch_warnings():
        # The SDK leaves the socket open that led nowhere: whichever test runs then would be blamed for it.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            engine.connect(os.environ).ping()
        except Exception as error:
            why = f"no container engine answers: {error}"
        gc.collect()
    return why


def without_gvisor() -> str:
    """Why the engine runs nothing under gVisor, or nothing."""
    missing = without_engine()
    if missing:
        return missing
    found = facts.engine(os.environ, refresh=True)
    return "" if found.gvisor else "the engine has no runtime for gVisor that we can use"


class Container(NamedTuple):
    """A server's container, and its first process as the host numbers it."""

    id: str
    pid: int


def container(wrapper: int) -> Container:
    """The one whose lease is this wrapper's."""
    api = engine.connect(os.environ)
    servers = api.containers(filters={"label": "io.mcp-sandbox.role=server"})
    leases = {one["Labels"]["io.mcp-sandbox.lease"].partition("~")[0]: one["Id"] for one in servers}
    found = leases[str(wrapper)]
    return Container(found, api.inspect_container(found)["State"]["Pid"])


def groups() -> list[str]:
    """What gives an ordinary user the engine and nothing else: the group of its socket."""
    socket = urlsplit(engine.endpoint(os.environ)).path
    return [f"--groups={os.stat(socket).st_gid}"]


@cache
def built_images(own: Path, cache: Path) -> str:
    """The note of images as their recipes are now: this user's `own` state has it, or they are built."""
    await_builds(own, lambda: _current(own))
    shared = os.environ.get("MCP_SANDBOX_TEST_IMAGES")  # of whoever has built them at this engine before
    places = (own, *([Path(shared)] if shared else []), cache / "images-state")
    state = next((place for place in places if _current(place)), None)
    if state is None:
        state = cache / "images-state"
        _build(state)
    return Path(images.state_file({"XDG_STATE_HOME": str(state)})).read_text()


def await_builds(state: Path, enough: Callable[[], bool] = lambda: False) -> None:
    """Returns when no build of this user's is going on, or `enough` was built: CI begins one."""
    lock = Path(images.state_file({"XDG_STATE_HOME": str(state)})).with_name("images.lock")
    end = time.monotonic() + BUILD_S
    while lock.exists() and not enough() and time.monotonic() < end:
        with suppress(BlockingIOError), lock.open() as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        time.sleep(1.0)


def _current(state: Path) -> bool:
    there = {one["Id"] for one in engine.connect(os.environ).images()}
    found = images.built({"XDG_STATE_HOME": str(state)})
    ours = [found.get(name, {}) for name in IMAGES]
    recipes = [recipe.recipe(name) for name in IMAGES]
    return [one.get("recipe") for one in ours] == recipes and {one["id"] for one in ours} <= there


def _build(state: Path) -> None:
    command = [sys.executable, "-c", "import sandbox.cli.main as m; raise SystemExit(m.main())"]
    environ = os.environ | {"XDG_STATE_HOME": str(state)}
    done = subprocess.run(
        [*command, "image", "build", *IMAGES], env=environ, capture_output=True, text=True, timeout=BUILD_S
    )
    if done.returncode != 0:
        pytest.fail(f"the images cannot be built: {done.stderr}", pytrace=False)
