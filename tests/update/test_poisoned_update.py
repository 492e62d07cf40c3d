"""A poisoned release: what is locked starts all the same, what is new is shown, and a no changes nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.caller import PROGRAM
from tests.supply import registry
from tests.terminal import at_terminal
from tests.update import registries
from tests.update.poisoned import (
    BIN,
    BLIND,
    HONEST,
    HOST,
    INSTALL,
    NAME,
    POISONED,
    PROFILE,
    javascript,
    python,
)

HELLO: dict[str, Any] = {"protocolVersion": "2025-11-25", "capabilities": {},
                         "clientInfo": {"name": "t", "version": "1"}}  # fmt: skip


class World:
    """One user with a lock of the mail server, and the command that a client starts."""

    def __init__(self, root: Path, runner: tuple[str, ...], base: str, **settings: str) -> None:
        self.root = root
        self.command = (*runner, NAME)
        others = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
        self.environ = {**others, "XDG_CONFIG_HOME": f"{root}/config", "XDG_STATE_HOME": f"{root}/state",
                        "XDG_CACHE_HOME": f"{root}/cache", "no_proxy": "127.0.0.1",
                        "PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}", **settings}  # fmt: skip
        profiles = root / "config/mcp-sandbox/profiles"
        profiles.mkdir(parents=True)
        (profiles / "mail.toml").write_text(PROFILE.format(base=base))

    def run(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """One command of ours to its end."""
        return subprocess.run(
            [PROGRAM, *words],
            env=self.environ,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=120,
            **more,
        )

    def typed(self, answer: str, *words: str) -> tuple[int, str]:
        """The same at a terminal, where a person answers."""
        return at_terminal([PROGRAM, *words], self.environ, answer, cwd=str(self.root), until="type `yes`: ")

    def lock(self) -> None:
        """Whatever is newest now."""
        made = self.run("lock", "--quiet", "--profile", "mail", "--name", NAME, "--", *self.command)
        assert made.returncode == 0, made.stdout + made.stderr

    def session(self, *options: str, locks: bool = True) -> tuple[str, str, str]:
        """Version, description and what is sent, as a client sees them; what a start refuses is raised."""
        environ = self.environ if locks else {**self.environ, "XDG_CONFIG_HOME": f"{self.root}/elsewhere"}
        profile = ["--profile", "mail"] if locks else []
        process = subprocess.Popen(
            [PROGRAM, "run", *options, *profile, "--", *self.command],
            env=environ, cwd=self.root, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        with process:
            assert process.stderr is not None
            opened = _answer(process, 1, "initialize", HELLO)
            assert opened, process.stderr.read()
            (tool,) = _answer(process, 2, "tools/list", {})["tools"]
            sent = _answer(process, 3, "tools/call", {"name": "send", "arguments": {"to": "a", "text": "b"}})
            process.communicate(timeout=30)
        return opened["serverInfo"]["version"], tool["description"], sent["content"][0]["text"]

    def files(self) -> dict[str, bytes]:
        """Everything of the user's settings."""
        found = Path(self.root / "config").rglob("*")
        return {str(path): path.read_bytes() for path in found if path.is_file() and path.suffix != ".held"}


def _answer(process: subprocess.Popen[str], id: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The result; nothing where the session has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.write(
            json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}) + "\n"
        )
        process.stdin.flush()
    for line in process.stdout:
        message = json.loads(line)
        if message.get("id") == id:
            result: dict[str, Any] = message["result"]
            return result
    return {}


def poison(served: registry.Npm) -> None:
    served.publish(NAME, "2.0.0", javascript("2.0.0", poisoned=True), bin=BIN, scripts=INSTALL)


def all_four(shown: str) -> None:
    """The blind copy, the host, the install script and the changed words."""
    assert f"bcc: '{BLIND}'" in shown or f"bcc='{BLIND}'" in shown
    assert HOST in shown
    assert POISONED in shown


@pytest.mark.threat("K4", proves="a poisoned release beside a lock is shown in full, and does not start")
def test_a_poisoned_release_is_shown_and_not_started(served: registry.Npm, tmp_path: Path) -> None:
    world = World(tmp_path, ("npx", "-y"), "node", npm_config_registry=served.url)
    world.lock()
    poison(served)
    before = world.files()
    status, shown = world.typed("no", "update", NAME, "--profile", "mail")
    assert status == 1
    all_four(shown)
    assert f"{NAME} has install scripts now, which did not run" in shown
    assert f"{NAME}: {NAME} 1.0.0 → {NAME} 2.0.0" in shown
    assert world.files() == before
    assert world.session()[:2] == ("1.0.0", HONEST)


@pytest.mark.threat(
    "K4", proves="a locked program with one line more is never run, whatever is built meanwhile"
)
def test_a_changed_program_never_runs(served: registry.Npm, tmp_path: Path) -> None:
    """The control: what it would have done, it does where it is simply run."""
    world = World(tmp_path, ("npx", "-y"), "node", npm_config_registry=served.url)
    world.lock()
    (program,) = (tmp_path / "cache").rglob(f"node_modules/{NAME}/main.js")
    place = tmp_path / "granted"
    place.mkdir()
    options = ("--allow-write", str(place))
    assert world.session(*options)[:2] == ("1.0.0", HONEST)
    program.chmod(0o644)
    program.write_text(program.read_text() + f"require('fs').writeFileSync('{place}/been', 'x');\n")
    done = world.run("run", *options, "--profile", "mail", "--", *world.command, input=_hello())
    assert done.returncode == 125
    assert str(program) in done.stderr
    assert "tree-changed" in json.loads(done.stdout)["error"]["message"]
    assert [*place.iterdir()] == []
    subprocess.run(["node", str(program)], input="", check=True, text=True, timeout=60)
    assert [*place.iterdir()] == [place / "been"]


def _hello() -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}) + "\n"


# --- registries that others keep -----------------------------------------------------------------------


@dataclass
class Published:
    """A world whose registry has the honest version, and what publishes the other one."""

    world: World
    poison: Callable[[], None]


@pytest.fixture
def verdaccio(require: Callable[[str], None], shared_cache: Path, tmp_path: Path) -> Iterator[Published]:
    require("npm")
    program = registries.verdaccio_in(shared_cache / "verdaccio")

    def publish(url: str, version: str, **more: object) -> None:
        files = javascript(version, poisoned="scripts" in more)
        registries.publish(url, tmp_path / version, NAME, version, files, bin=BIN, **more)

    with registries.verdaccio(program, tmp_path) as url:
        publish(url, "1.0.0")
        world = World(tmp_path, ("npx", "-y"), "node", npm_config_registry=url)
        yield Published(world, lambda: publish(url, "2.0.0", scripts=INSTALL))


@pytest.fixture
def pypiserver(require: Callable[[str], None], shared_cache: Path, tmp_path: Path) -> Iterator[Published]:
    require("native")
    program = registries.pypiserver_in(shared_cache / "pypiserver")
    wheels = tmp_path / "wheels"
    wheels.mkdir()

    def publish(version: str) -> None:
        files = python(version, poisoned=version == "2.0.0")
        registry.wheel(wheels, "mailer_of_ours", version, files, {NAME: "mailer_of_ours:main"})

    publish("1.0.0")
    with registries.pypiserver(program, wheels) as url:
        yield Published(World(tmp_path, ("uvx",), "python", UV_DEFAULT_INDEX=url), lambda: publish("2.0.0"))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["verdaccio", "pypiserver"])
def test_the_whole_story_at_a_registry_that_others_keep(kind: str, request: pytest.FixtureRequest) -> None:
    """The control: a user without the lock is given the poisoned release by the same command."""
    published: Published = request.getfixturevalue(kind)
    world = published.world
    world.lock()
    published.poison()
    stranger = world.session("--refresh", locks=False)
    assert stranger[:2] == ("2.0.0", POISONED)
    assert BLIND in stranger[2]
    before = world.files()
    locked = world.session()
    assert locked[:2] == ("1.0.0", HONEST)
    assert BLIND not in locked[2]

    checked = world.run("update", "--check", "--json")
    assert checked.returncode == 1
    (told,) = json.loads(checked.stdout)["locks"]
    seen = {(one["rule"], one["change"], one["name"]) for one in told["differences"]}
    assert {("package", "changed", NAME), ("host", "added", HOST), ("tool", "changed", "send")} <= seen
    assert (("scripts", "added", NAME) in seen) is (kind == "verdaccio")
    shown = "\n".join(line for file in told["sources"] for _, line in file["lines"])
    all_four(shown)

    status, _ = world.typed("no", "update", NAME)
    assert (status, world.files()) == (1, before)
    assert world.session()[:2] == ("1.0.0", HONEST)

    status, shown = world.typed("yes", "update", NAME)
    assert (status, f"updated: {NAME}" in shown) == (0, True)
    assert world.session()[:2] == ("2.0.0", POISONED)
    assert world.run("update", "--check").returncode == 0

    status, _ = world.typed("yes", "rollback", NAME)
    assert (status, world.session()[:2]) == (0, ("1.0.0", HONEST))
    assert world.run("rollback", NAME, "--yes").returncode == 0
    assert world.session()[:2] == ("2.0.0", POISONED)


# --- a machine that goes down ---------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_an_update_that_is_killed_at_any_moment_leaves_a_server_that_starts(
    served: registry.Npm, tmp_path: Path
) -> None:
    """SIGKILL at 25 random moments of the whole: resolved, built, looked at, switched."""
    world = World(tmp_path, ("npx", "-y"), "node", npm_config_registry=served.url)
    world.lock()
    poison(served)
    began = time.monotonic()
    _, shown = world.typed("no", "update", NAME)
    took = time.monotonic() - began
    digest = shown.partition("digest: ")[2].split()[0]
    versions = set[str]()
    for moment in sorted(random.Random(9).uniform(0.0, took) for _ in range(25)):  # noqa: S311
        _kill_after(moment, [PROGRAM, "update", "--quiet", NAME, "--yes", "--digest", digest], world)
        assert world.run("store", "verify").returncode == 0
        version = world.session()[0]
        versions.add(version)
        if version == "2.0.0":
            assert world.run("rollback", NAME, "--yes").returncode == 0
    assert "1.0.0" in versions
    done = world.run("update", NAME, "--yes", "--digest", digest)
    assert (done.returncode, world.session()[0]) == (0, "2.0.0")


def _kill_after(seconds: float, words: list[str], world: World) -> None:
    process = subprocess.Popen(
        words, env=world.environ, cwd=world.root, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
