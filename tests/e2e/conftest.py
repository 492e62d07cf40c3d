"""Real servers, real clients and both kinds of caller."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import backends
from tests.conftest import REAL_HOME, Ready, unprivileged_user
from tests.e2e.caller import PROGRAM, Caller

FIRST_GENERATION = "mcp>=1.30,<1.31"
INSPECTOR = "@modelcontextprotocol/inspector"
USER_PATH = "/usr/local/bin:/usr/bin:/bin"
# Settings that root's files give and an ordinary user cannot read there.
SETTINGS = (("NPM_CONFIG_USERCONFIG", ".npmrc"), ("PIP_CONFIG_FILE", ".config/pip/pip.conf"))


@pytest.fixture(scope="session")
def ground(shared_cache: Path) -> Iterator[Path]:
    """A directory that every caller can enter; it lasts only where a cache was chosen."""
    if os.environ.get("MCP_SANDBOX_TEST_CACHE"):
        chosen = shared_cache / "e2e"
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen
        return
    made = Path(tempfile.mkdtemp(prefix="mcp-sandbox-e2e-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def user_ground(ground: Path) -> Path:
    """The part of the ground that belongs to the unprivileged user: package store, settings, homes."""
    user = unprivileged_user()
    made = ground / "user"
    for place in (made, made / "cache"):
        place.mkdir(exist_ok=True)
        os.chown(place, user.pw_uid, user.pw_gid)
    for _, name in SETTINGS:
        source = REAL_HOME / name
        if source.is_file():
            copy = made / Path(name).name
            copy.touch(0o600)
            copy.write_bytes(source.read_bytes())
            os.chown(copy, user.pw_uid, user.pw_gid)
    return made


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A world is made once for its module; a `Caller` is one test's own."""
    made = "world" in metafunc.fixturenames
    backends.parametrise(metafunc, "module" if made else "function", () if made else ("caller",))


@pytest.fixture
def caller(
    request: pytest.FixtureRequest, backend: str, ready: Ready, tmp_path: Path, shared_cache: Path
) -> Iterator[Caller]:
    """Each caller that this run can be; a tree that the user cannot enter is proved by the user's own run."""
    images = ready(backend)
    if request.param == "root" or os.geteuid() != 0:
        made = Caller(request.param, (), dict(os.environ), tmp_path, os.geteuid(), os.getegid(), backend)
        made.note(images)
        yield made
        return
    made = _user(request.getfixturevalue("user_ground"), backend)
    made.note(images)
    if not made.reaches(PROGRAM, made.ground):
        pytest.skip("the unprivileged user cannot enter this tree: proved by the run as that user")
    yield made
    shutil.rmtree(made.ground, ignore_errors=True)


def _user(ground: Path, backend: str) -> Caller:
    user = unprivileged_user()
    own = Path(tempfile.mkdtemp(prefix="test-", dir=ground))
    home = own / "home"
    home.mkdir()
    for place in (own, home):
        os.chown(place, user.pw_uid, user.pw_gid)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PYENV"))}
    settings = {name: str(ground / Path(file).name) for name, file in SETTINGS}
    environ = kept | {
        **{name: path for name, path in settings.items() if os.path.exists(path)},
        "HOME": str(home), "USER": user.pw_name, "LOGNAME": user.pw_name, "PATH": USER_PATH,
        "XDG_CACHE_HOME": str(ground / "cache"),
    }  # fmt: skip
    groups = ["--clear-groups"] if backend == backends.NATIVE else backends.groups()
    drop = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", *groups, "--")
    return Caller("user", drop, environ, own, user.pw_uid, user.pw_gid, backend)


# --- what is seen in every run, and what takes minutes ------------------------------------------------

BOTH_KINDS = ("everything", "time")
"""A server of npm and one of PyPI: these alone for more than one way to drive them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each real server is driven as the ordinary user; the other ways to drive all of them are `long`."""
    files = {Path(__file__).with_name(name) for name in ("test_servers.py", "test_asked.py")}
    for item in items:  # those of every folder that is run
        if item.path in files and _rare(item):
            item.add_marker(pytest.mark.long)


def _rare(item: pytest.Item) -> bool:
    asked = item.callspec.params  # type: ignore[attr-defined]
    caller, backend = asked.get("caller"), asked.get("backend")
    usual = (caller, backend) == ("user", backends.NATIVE)
    server = getattr(asked.get("server"), "profile", None)
    if asked.get("sdk") == "first-generation":
        return not usual or server not in (None, *BOTH_KINDS)
    if server is not None and item.name.startswith("test_the_inspector"):
        return server not in BOTH_KINDS  # what is behind it has been seen by another client
    if server is not None:
        return not usual and server not in BOTH_KINDS[backend == backends.NATIVE :]
    if "unpinned" in asked:
        return caller == "root" or (backend == backends.DOCKER and "npx" in str(asked["command"]))
    # What a client is asked comes after the part of a start that callers differ in.
    return caller == "root" and bool({"client", "version", "sdk", "profile"} & asked.keys())


# --- clients, made once --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def first_generation(ground: Path) -> str:
    """The python of an environment with the Python SDK's first generation."""
    venv = ground / "mcp-1"
    if not (venv / "made").exists():
        # The python below the virtual environment that the tests run in: one that every user can execute.
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
        install = ["-m", "pip", "install", "--quiet", FIRST_GENERATION]
        subprocess.run([str(venv / "bin/python"), *install], check=True, timeout=300)
        (venv / "made").touch()
    return str(venv / "bin/python")


@pytest.fixture(scope="session")
def inspector(ground: Path) -> str:
    """The MCP inspector's program."""
    place = ground / "inspector"
    program = place / "node_modules/.bin/mcp-inspector"
    if not (place / "made").exists():
        place.mkdir(exist_ok=True)
        quiet = ["--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"]
        install = ["npm", "install", *quiet, f"--cache={place}/npm", f"--prefix={place}", INSPECTOR]
        subprocess.run(install, check=True, timeout=300, stdout=subprocess.DEVNULL)
        shutil.rmtree(place / "npm", ignore_errors=True)
        (place / "made").touch()
    return str(program)


@pytest.fixture(params=["second-generation", "first-generation"])
def sdk(request: pytest.FixtureRequest) -> str:
    """The python that has one generation of the SDK: mcp 2, mcp 1."""
    if request.param == "second-generation":
        return sys.executable
    return str(request.getfixturevalue("first_generation"))
