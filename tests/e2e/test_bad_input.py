"""What cannot be run as asked: a clear message, the right status, nothing left, and nothing ran."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from sandbox import engine
from sandbox.errors import BREACH, NOT_BUILT, NOT_EXECUTABLE, NOT_FOUND, USAGE
from tests.attacks.inside import RUN, World, furnished
from tests.backends import NATIVE
from tests.conftest import Ready
from tests.e2e.remains import Remains, adopted_orphans

PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
FILTERED = """
import os, sys
from sandbox import linux
from sandbox.backend.native import seccomp
bpf = seccomp.load("net", os.uname().machine)
linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
seccomp.install(bpf)
os.execv(sys.argv[1], sys.argv[1:])
"""


pytestmark = pytest.mark.backends(docker="user")


class Start:
    """One start of a server that leaves a mark where it may write, so that having run can be seen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.mark = world.out / "it-ran"
        self.mark.unlink(missing_ok=True)
        self.options = ["--allow-write", str(world.out)]
        self.server = ["/bin/sh", "-c", f"echo ran > {self.mark}; cat"]
        self.around: list[str] = []
        self.environ = world.environ

    def run(self, **more: object) -> subprocess.CompletedProcess[str]:
        words = ["run", "--name", self.world.name, *self.world.where(), *self.options, "--", *self.server]
        argv = [*self.world.prefix(), *self.around, sys.executable, "-c", RUN, *words]
        piped = {"input": PING, "capture_output": True, "text": True, "timeout": 30, "cwd": "/"}
        return subprocess.run(argv, env=self.environ, **(piped | more))  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def world(caller: str, backend: str, ready: Ready) -> Iterator[World]:
    """A caller and its home, made once, on a host that can build the sandbox."""
    with furnished(caller, backend, ready(backend)) as made:
        yield made


@pytest.fixture
def start(world: World) -> Iterator[Start]:
    """A start that would work, for the test to spoil; afterwards nothing of it may be left."""
    with adopted_orphans(), ExitStack() as stack:
        api = None if world.backend == NATIVE else stack.enter_context(closing(engine.connect(os.environ)))
        remains = Remains(world.name, world.home / ".local" / "state", world.scratch, engine=api)
        yield Start(world)
        assert remains.within(1.0) == {}


def refused(start: Start, status: int, *said: str, heard: bool = True, **more: object) -> None:
    """It was refused with this status and these words, and the server did not run.

    `heard`: there is a client that asked, and was answered in the words of the log.
    """
    done = start.run(**more)
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert "Traceback" not in done.stderr
    for words in said:
        assert words in done.stderr
    assert not start.mark.exists()
    if not heard:
        assert done.stdout == ""
        return
    answer = json.loads(done.stdout)
    assert (answer["id"], answer["error"]["code"]) == (1, -32603)
    assert answer["error"]["message"].removeprefix("mcp-sandbox: ") in done.stderr


def test_what_would_work(start: Start) -> None:
    """The control of this file: unspoilt, the start runs and leaves its mark."""
    done = start.run()
    assert (done.returncode, start.mark.exists()) == (0, True), done.stderr


@pytest.mark.parametrize("command", ["no-such-command", "/no/such/command", "./no-such-command"])
def test_an_unknown_command(command: str, start: Start) -> None:
    start.server = [command]
    refused(start, NOT_FOUND, command, "hint:")


def test_a_command_that_is_not_executable(start: Start) -> None:
    start.server = [str(start.world.file("plain.txt"))]
    refused(start, NOT_EXECUTABLE, "plain.txt", "chmod +x")


def test_a_script_whose_interpreter_is_missing(start: Start) -> None:
    script = start.world.file("script", content="#!/no/such/interpreter\n")
    script.chmod(0o755)
    start.server = [str(script)]
    refused(start, NOT_EXECUTABLE, "/no/such/interpreter")


def test_a_missing_mount(start: Start) -> None:
    start.options += ["--allow-read", f"{start.world.home}/absent"]
    refused(start, USAGE, "mount-missing", f"{start.world.home}/absent")


PROFILES = [
    pytest.param("schema = \n", "1", id="malformed"),
    pytest.param('schema = 1\nextends = "base"\n[fiels]\nread = []\n', "fiels", id="unknown key"),
    pytest.param('schema = 1\nextends = "base"\n[quota]\nmemory = "0"\n', "memory", id="impossible quota"),
    pytest.param('schema = 1\nextends = "nowhere"\n', "nowhere", id="unknown base"),
]


@pytest.mark.threat("K7", proves="a profile that is wrong in any place stops the start")
@pytest.mark.parametrize(("text", "said"), PROFILES)
def test_a_wrong_profile(text: str, said: str, start: Start) -> None:
    profile = start.world.file("wrong.toml", start.world.base, text)
    start.options += ["--profile", str(profile)]
    refused(start, USAGE, str(profile), said)


@pytest.mark.threat("K7", proves="a profile that cannot be read stops the start")
def test_an_unreadable_profile(start: Start) -> None:
    profile = start.world.file("secret.toml", start.world.base, "schema = 1\n")
    profile.chmod(0)
    if start.world.caller == "root":
        # root reads everything but a directory.
        profile.unlink()
        profile.mkdir()
    start.options += ["--profile", str(profile)]
    refused(start, USAGE, str(profile))
    profile.rmdir() if profile.is_dir() else profile.unlink()


@pytest.mark.threat("S7", proves="no log, no start: a state directory that cannot be written is exit 125")
def test_a_state_directory_that_cannot_be_written(start: Start) -> None:
    place = start.world.base / "read-only"
    place.mkdir(exist_ok=True)
    place.chmod(0o555)
    # /proc takes no directory from root either.
    start.environ = start.environ | {
        "XDG_STATE_HOME": "/proc" if start.world.caller == "root" else str(place)
    }
    refused(start, NOT_BUILT, "hint:")


def on_small_disk(size: str, then: str = "") -> list[str]:
    """A private mount namespace with a state directory of `size`; `then` runs in it first."""
    made = f'mount -t tmpfs -o size={size},mode=777 tmpfs "$XDG_STATE_HOME" && {then or "true"} && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", made, "sh"]


@pytest.fixture
def small_disk(start: Start) -> Start:
    if start.world.caller != "root":
        pytest.skip("only root mounts a small disk")
    place = start.world.base / "small"
    place.mkdir(exist_ok=True)
    start.environ = start.environ | {"XDG_STATE_HOME": str(place)}
    return start


@pytest.mark.root
@pytest.mark.threat("S7", proves="a full disk at the start: exit 125, and nothing ran")
@pytest.mark.parametrize(
    ("left", "said"),
    [
        pytest.param(0, "state-not-writable", id="no page for the lease"),
        pytest.param(4096, "audit-not-writable", id="a page for the lease, none for the log"),
    ],
)
def test_a_full_disk_at_the_start(left: int, said: str, small_disk: Start) -> None:
    state = '"$XDG_STATE_HOME"'
    fill = f"(cat /dev/zero > {state}/x 2>/dev/null || true)"
    room = f"head -c {left} /dev/zero > {state}/room && {fill} && rm {state}/room"
    small_disk.around = on_small_disk("64k", f"mkdir -p {state}/mcp-sandbox/audit && {room}")
    refused(small_disk, NOT_BUILT, said)


@pytest.mark.root
@pytest.mark.threat(
    "S7", proves="a disk that fills up ends the session: exit 124, no message passes unrecorded"
)
def test_a_disk_that_fills_up(small_disk: Start) -> None:
    small_disk.around = on_small_disk("192k")  # room for the start and for some messages
    small_disk.server = ["/bin/cat"]
    ping = '{"jsonrpc":"2.0","method":"notifications/x","params":{}}\n'
    done = small_disk.run(input=ping * 900)  # more would be a flood
    assert done.returncode == BREACH, done.stderr
    assert "audit" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("\n") < 600


@pytest.mark.parametrize("closed", [0, 1])
def test_closed_standard_streams(closed: int, start: Start) -> None:
    """Whatever is opened next would get the stream's number: a log, or a pipe of the server's."""
    start.around = ["sh", "-c", f'exec {closed}>&-; exec "$@"', "sh"]
    refused(start, NOT_BUILT, "is closed", heard=False)


def test_closed_stderr(start: Start) -> None:
    start.around = ["sh", "-c", 'exec 2>&-; exec "$@"', "sh"]
    done = start.run()
    assert (done.returncode, start.mark.exists()) == (0, True)
    start.server = ["no-such-command"]
    assert start.run().returncode == NOT_FOUND


WITHOUT_NAMESPACES = {
    "by sysctl": [
        "unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c",
        'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh",
    ],
    "by a filter": [sys.executable, "-c", FILTERED],
}  # fmt: skip


@pytest.mark.backends  # an engine needs none
@pytest.mark.threat("H2", proves="a host that gives no user namespaces: exit 125, and nothing ran")
@pytest.mark.parametrize("way", list(WITHOUT_NAMESPACES))
@pytest.mark.parametrize("remembered", [False, True], ids=["never seen", "remembered as able"])
def test_a_host_without_user_namespaces(way: str, remembered: bool, start: Start) -> None:
    if start.world.caller == "root" and way == "by sysctl":
        pytest.skip("root in a user namespace of its own is no root caller")
    if remembered:
        assert start.run().returncode == 0
        start.mark.unlink()
    else:
        empty = start.world.base / f"cache-{os.urandom(4).hex()}"
        empty.mkdir()
        start.world.own(empty)
        start.environ = start.environ | {"XDG_CACHE_HOME": str(empty)}
    start.around = WITHOUT_NAMESPACES[way]
    refused(start, NOT_BUILT, "hint:")


def test_an_engine_needs_no_user_namespaces(start: Start) -> None:
    """The same host, and the same start."""
    if start.world.backend == NATIVE:
        pytest.skip("refused, as the test before this says")
    start.around = WITHOUT_NAMESPACES["by sysctl"]
    done = start.run()
    assert (done.returncode, start.mark.exists()) == (0, True), done.stderr


def test_nothing_of_these_is_written_outside_the_state_directory(start: Start) -> None:
    before = set(Path(start.world.home).rglob("*"))
    start.server = ["no-such-command"]
    start.run()
    new = set(Path(start.world.home).rglob("*")) - before
    allowed = (start.world.home / ".local", start.world.home / ".cache")
    assert all(any(path.is_relative_to(one) for one in allowed) for path in new)
