"""Bombs: each is contained or ended, with the status that says so, while the host goes on.

What ends a server at a limit that the kernel holds is in test_bombs.py: here `[breach]` only warns.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.attacks.bombing import in_memory
from tests.attacks.inside import Attacker, World
from tests.backends import NATIVE, container
from tests.differences import differs

pytestmark = pytest.mark.backends(docker="root user", gvisor="user")

MIB = 1 << 20
PROFILE = """schema = 1
extends = "base"
[files]
home = "2M"
tmp = "3M"
[quota]
disk = "8M"
{quota}
[breach]
pids = "warn"
open_files = "warn"
disk = "warn"
"""


@pytest.fixture
def small(world: World) -> str:
    """A profile with little of everything."""
    memory = differs("memory of forty processes", world.backend, "300M")
    quota = f'pids = 40\nopen_files = 100\nmemory = "{memory}"'
    return str(world.file("small.toml", world.base, PROFILE.format(quota=quota)))


def by_cgroup(world: World, attacker: Attacker) -> bool:
    """Whether the kernel counts for this sandbox, or rlimits and polling do."""
    own = "mcp-sandbox-" if world.backend == NATIVE else container(attacker.process.pid).id
    return own in Path(f"/proc/{world.init(attacker)}/cgroup").read_text()


def end_of(attacker: Attacker, name: str, **asked: object) -> tuple[dict[str, object], int, str]:
    """Makes an attack that nobody survives; the client's answer, the status, what was said."""
    attacker.ask(name, **asked)
    answer = attacker.message()
    return answer, *attacker.finish()


MEMORY = [
    pytest.param("limits.memory", {"child": False}, id="the server itself"),
    pytest.param("limits.memory", {"child": True}, id="a child of the server"),
    pytest.param("limits.memory_by_children", {"child": False, "children": 4}, id="four children together"),
]


@pytest.mark.threat("T2", proves="memory: ended with status 124, the client told which quota, no survivor")
@pytest.mark.parametrize(("attack", "more"), MEMORY)
def test_memory_bomb(attack: str, more: dict[str, object], world: World) -> None:
    most = 220 * MIB
    with world.outside() as outside:
        assert outside.call(attack, **{**more, "child": True}, most=most)["got"], "the control holds it all"
    with world.inside("--memory", "100M") as inside:
        inside.call("processes.parent")
        answer, status, said = end_of(inside, attack, **more, most=most)
    assert status == 124, said
    # The server may answer for a child that was ended before the tree was; then the message alone says it.
    assert "memory" in str(answer.get("error", said))
    assert "error" in answer or more["child"] or "children" in more
    assert "quota-breach" in said
    assert subprocess.run(["/bin/true"], check=False).returncode == 0


@pytest.mark.threat("T2", proves="processes and threads: no more than the quota, and the host still forks")
@pytest.mark.parametrize("attack", ["fork", "threads"])
def test_fork_bomb(attack: str, world: World, small: str) -> None:
    with world.inside("--profile", small) as inside, world.outside() as outside:
        inside.ask(f"limits.{attack}", most=200, child=False)
        assert subprocess.run(["/bin/true"], check=False).returncode == 0
        answer = inside.message()
        assert "result" in answer, (answer, inside.finish())
        assert 20 <= answer["result"]["got"] <= 40
        assert outside.call(f"limits.{attack}", most=200, child=False) == {"got": 200}


@pytest.mark.threat("T2", proves="descriptors: no more than the quota, which cannot be raised")
def test_descriptor_bomb(world: World, small: str) -> None:
    with world.inside("--profile", small) as inside, world.outside() as outside:
        assert 80 <= inside.call("limits.descriptors", most=500)["got"] <= 100
        assert outside.call("limits.descriptors", most=500) == {"got": 500}


@pytest.mark.threat("T2", proves="space: every writable place in memory is full at its size")
@pytest.mark.parametrize(
    ("place", "size"),
    [
        pytest.param("/tmp", 3 * MIB, id="/tmp"),
        pytest.param("/home/mcp", 2 * MIB, id="home"),
        pytest.param("/dev/shm", 3 * MIB, id="/dev/shm"),
    ],
)
def test_disk_bomb(place: str, size: int, world: World, small: str) -> None:
    with world.inside("--profile", small) as inside, world.outside() as outside:
        got = inside.call("limits.fill", path=place, most=32 * MIB)["got"]
        assert size // 2 <= got <= size
        assert outside.call("limits.fill", path=str(world.scratch), most=32 * MIB) == {"got": 32 * MIB}


@pytest.mark.backends(docker="user", gvisor="user")
@pytest.mark.threat("T2", proves="inodes: no more files in memory than one for each KiB")
def test_inode_bomb(world: World, small: str) -> None:
    with world.inside("--profile", small) as inside, world.outside() as outside:
        most = differs("inodes", world.backend, "one a KiB")
        made = inside.call("limits.files", path="/tmp", most=4000)["got"]
        assert made == 4000 if most == "unbounded" else 2900 <= made <= 3072
        with in_memory(world) as place:
            assert outside.call("limits.files", path=place, most=4000) == {"got": 4000}


@pytest.mark.backends(docker="root user")  # gVisor's clock of a process is no measure; the cgroup is the same
@pytest.mark.threat(
    "T2", proves="processor: no more than its share by cgroup; refused with 125 where nothing holds it"
)
def test_processor_bomb(world: World) -> None:
    with world.inside("--cpus", "0.25") as inside:
        try:
            got = inside.call("limits.burn", seconds=1.2)["got"]
        except (AssertionError, BrokenPipeError):
            status, said = inside.finish()
            assert (status, "cannot-enforce" in said) == (125, True), said
            return
        assert by_cgroup(world, inside)
    assert got <= 0.6
    with world.outside() as outside:
        # A machine that is busy with others gives it its due sooner or later.
        assert any(outside.call("limits.burn", seconds=1.2)["got"] > got for _ in range(5))


@pytest.mark.backends(docker="user")  # the wrapper's clock, whatever it waits for
@pytest.mark.threat("T2", proves="wall time: the whole tree ended on time, status 124")
def test_wall_time(world: World) -> None:
    with world.inside("--wall", "1s") as inside:
        inside.call("processes.parent")
        started = time.monotonic()
        answer, status, said = end_of(inside, "processes.deaf", child=False)
        assert time.monotonic() - started < 3
    assert status == 124, said
    assert "wall" in str(answer["error"])
