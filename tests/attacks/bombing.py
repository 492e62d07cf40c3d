"""Bombs set off in the sandbox and beside it, and what was seen of each from outside.

The moment at which a limit was reached is the bomb's own word (`bomb: limit …` on stderr, the same clock)
or the profile's time; the end is the wrapper's, as a pidfd tells it.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.attacks.inside import Answer, Attacker, World
from tests.backends import NATIVE, container
from tests.e2e.remains import text

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PATIENCE_S = 10.0
CONTROL_S = 30.0
TICK_S = 0.02
GONE_S = 2.0
LANGUAGES = ("python", "node")
TMP = "/tmp"  # the sandbox's own


@dataclass(frozen=True)
class Bomb:
    """One bomb, the profile's lines that end it, and the control that shows it goes off without them."""

    name: str
    rule: str
    profile: str
    limit: float
    """As the profile says it, in the key's units."""
    attack: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)
    control: Mapping[str, Any] = field(default_factory=dict)
    """What the control is asked otherwise."""
    reached: str = "told"
    """`told` by the bomb, `held` by its memory, or by the clock from `start` or the `last` word
    on, or from where the client's messages were `stuck`."""
    pumped: bool = False
    """Messages are sent on and on meanwhile."""
    memory: bool = False
    period: float = 0.0
    """Seconds over which the limit is measured: as much later may it be noticed."""


def _pids(attack: str, most: int) -> Bomb:
    return Bomb(attack, "quota.pids", "[quota]\npids = 40", 40, attack, {"most": most})


def _memory(attack: str, most: int) -> Bomb:
    profile = '[quota]\nmemory = "200M"'
    return Bomb(
        attack, "quota.memory", profile, 200 * MIB, attack, {"most": most}, reached="held", memory=True
    )


BOMBS = {
    bomb.name: bomb
    for bomb in (
        _pids("fork", 200),
        _pids("thread", 60),
        _pids("zombie", 200),
        _memory("memory", 400 * MIB),
        _memory("memory_by_children", 400 * MIB),
        Bomb(
            "tmpfs", "quota.disk", '[files]\ntmp = "3M"\n[quota]\ndisk = "16M"', 3 * MIB,
            "tmpfs", {"path": TMP, "most": 32 * MIB}, {"most": 8 * MIB},
        ),
        Bomb(
            "inode", "quota.disk", '[files]\ntmp = "3M"\n[quota]\ndisk = "16M"', 3072,
            "inode", {"path": TMP, "most": 10_000}, {"most": 3500},
        ),
        Bomb("fd", "quota.open_files", "[quota]\nopen_files = 100", 100, "fd", {"most": 500}),
        Bomb(
            "written", "quota.written", '[quota]\nwritten = "4M"', 4 * MIB,
            "written", {"path": "", "after": 4 * MIB, "most": 256 * MIB}, {"most": 8 * MIB},
        ),
        Bomb(
            "spin", "quota.cpu_time", '[quota]\ncpu_time = "1s"', 1,
            "spin", {"after": 1, "most": 12}, {"most": 1.2}, period=1,
        ),
        Bomb(
            "busy", "quota.busy", '[quota]\ncpus = 0.25\nbusy = "1s"', 1,
            "busy", {"after": 1, "most": 12}, {"most": 1.2}, period=1,
        ),
        Bomb(
            "flood", "traffic.flood", '[traffic]\nflood = "200/s"', 200,
            "flood", {"after": 200, "most": 400_000}, {"most": 4000},
        ),
        Bomb(
            "garbage", "traffic.waste", '[traffic]\nwaste = "512K"', 512 * KIB,
            "garbage", {"after": 512 * KIB, "most": GIB}, {"most": 8 * MIB},
        ),
        Bomb(
            "endless_line", "traffic.waste", '[traffic]\nmessage = "1M"\nwaste = "4M"', 4 * MIB,
            "endless_line", {"after": 4 * MIB, "most": GIB}, {"most": 64 * MIB},
        ),
        Bomb(
            "slow_reader", "traffic.stall", '[traffic]\nstall = "1s"', 1,
            "deaf", {"most": 15}, {"most": 1.2}, reached="stuck", pumped=True,
        ),
        Bomb(
            "wall", "quota.wall", '[quota]\nwall = "2s"', 2,
            "deaf", {"most": 15}, {"most": 2.2}, reached="start",
        ),
        Bomb("idle", "quota.idle", '[quota]\nidle = "1s"', 1, reached="last"),
    )
}  # fmt: skip


@dataclass
class Seen:
    """What came of one bomb."""

    bomb: Bomb
    language: str
    caller: str
    backend: str
    status: int = -1
    answer: Answer = field(default_factory=dict)
    """Of the open call; empty where none came."""
    said: str = ""
    reached: float | None = None
    ended: float = 0.0
    peak: int = 0
    """The most memory that the sandbox really had."""
    mechanism: str = ""
    survivors: list[str] = field(default_factory=list)
    seen: int = 0
    """Processes that were seen alive."""

    @property
    def late(self) -> float:
        """Seconds from the limit to the end; 0 where the bomb was ended before it could tell."""
        return max(0.0, self.ended - self.reached) if self.reached is not None else 0.0

    @property
    def error(self) -> Answer:
        """The JSON-RPC error of the open call, or nothing."""
        found: Answer = self.answer.get("error") or {}
        return found

    @property
    def data(self) -> Answer:
        """What the error tells a program."""
        found: Answer = self.error.get("data") or {}
        return found


def profile(bomb: Bomb, language: str) -> tuple[str, str]:
    """The name of the bomb's profile, and its text."""
    return f"{bomb.name}-{language}.toml", f'schema = 1\nextends = "base"\n{bomb.profile}\n'


def program(world: World, language: str) -> tuple[str, ...]:
    """The command of the bombs in one language."""
    if language == "python":
        return world.server()
    return (os.path.realpath(shutil.which("node") or "node"), str(world.program / "bombs.mjs"))


def asked(bomb: Bomb, path: str) -> dict[str, Any]:
    """The bomb's arguments, with the directory that may be written in where it wants one."""
    return {**bomb.asked, "path": path} if bomb.asked.get("path") == "" else dict(bomb.asked)


@contextmanager
def in_memory(world: World) -> Iterator[str]:
    """A directory of the caller's on the host's own tmpfs: a disk may take minutes for thousands of files."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        os.chown(made, world.uid, world.gid)
        yield made


def goes_off(world: World, bomb: Bomb, language: str) -> bool:
    """Whether the bomb has its way outside, under the same caller; it stops by itself there."""
    argv = [*world.prefix(), *program(world, language)]
    outside = Attacker(argv, world.environ, stderr=subprocess.DEVNULL)
    with in_memory(world) as place, outside:
        outside.ask("bombs.ready")
        outside.message()
        if not bomb.attack:
            return not select.select([outside.process.stdout], [], [], bomb.limit + 0.3)[0]
        more: dict[str, Any] = {**bomb.asked, **bomb.control}
        if "path" in more:
            more["path"] = place
        got = _result(outside, outside.ask(f"bombs.{bomb.attack}", **more)).get("got", 0)
    return bool(got == 4 if bomb.attack == "memory_by_children" else got >= more["most"])


def _result(attacker: Attacker, number: int) -> Answer:
    """The answer to one call, whatever is said before it, noise too."""
    fd = attacker.process.stdout.fileno()  # type: ignore[union-attr]
    held = b""
    end = time.monotonic() + CONTROL_S
    while (left := end - time.monotonic()) > 0 and select.select([fd], [], [], left)[0]:
        chunk = os.read(fd, MIB)
        if not chunk:
            break
        *lines, held = (held + chunk).split(b"\n")
        held = held[-4 * KIB :]
        for line in lines:
            if (found := _answers(line[-4 * KIB :], number)) is not None:
                return found.get("result", {})  # type: ignore[no-any-return]
    return {}


def _answers(line: bytes, number: int) -> Answer | None:
    """The message on `line` if it answers call `number`."""
    if b'"id"' not in line:
        return None
    with suppress(ValueError):
        message: Answer = json.loads(line)
        return message if message.get("id") == number and "method" not in message else None
    return None


# --- inside ----------------------------------------------------------------------------------------


def set_off(world: World, bomb: Bomb, language: str) -> Seen:
    """The bomb in the sandbox, to its end."""
    name, content = profile(bomb, language)
    options = ["--profile", str(world.file(name, world.base, content)), "--allow-read", str(world.program)]
    if bomb.asked.get("path") == "":
        options += ["--allow-write", str(world.out)]
    argv = world.command(*options, server=program(world, language))
    started = time.monotonic()
    with Attacker(argv, world.environ) as attacker:
        attacker.ask("bombs.ready")
        if attacker.message():
            return Explosion(world, bomb, language, attacker, started).watch()
        status, said = attacker.finish()
        return Seen(bomb, language, world.caller, world.backend, status, said=said)


class Explosion:
    """One sandbox, looked at from outside until it has ended."""

    def __init__(self, world: World, bomb: Bomb, language: str, attacker: Attacker, started: float) -> None:
        self.seen = Seen(bomb, language, world.caller, world.backend)
        self.bomb, self.attacker = bomb, attacker
        self._out, self._err = b"", b""
        self._moved = [time.monotonic()]
        self._call = 0
        try:
            init = world.init(attacker)
        except (KeyError, ValueError):  # ended before it could be looked at
            init = attacker.process.pid
        self._tree = Tree(attacker.process.pid, init, own_cgroup(world, attacker, init))
        self.seen.mechanism = self._tree.mechanism
        self._audit = world.home / ".local" / "state" / "mcp-sandbox" / "audit"
        path = str(world.out)
        last = time.monotonic()
        if bomb.attack:
            self._call = attacker.ask(f"bombs.{bomb.attack}", **asked(bomb, path))
        self._clock = {"start": started, "last": last}

    def watch(self) -> Seen:
        """Reads, samples and, where the bomb wants it, writes, until the wrapper has ended."""
        process = self.attacker.process
        assert process.stdout is not None
        assert process.stderr is not None
        pidfd = os.pidfd_open(process.pid)
        poll = select.poll()
        for fd in (process.stdout.fileno(), process.stderr.fileno(), pidfd):
            poll.register(fd, select.POLLIN)
        deadline = time.monotonic() + PATIENCE_S
        ended = False
        while not ended and time.monotonic() < deadline:
            ready = dict(poll.poll(TICK_S * 1000))
            ended = pidfd in ready
            self.seen.ended = time.monotonic()
            self._read(poll, ready)
            self._tree.tick()
            if self.bomb.pumped:
                self._pump()
        os.close(pidfd)
        return self._finish(ended=ended)

    def _read(self, poll: select.poll, ready: dict[int, int]) -> None:
        process = self.attacker.process
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            if stream.fileno() not in ready:
                continue
            chunk = os.read(stream.fileno(), MIB)
            if not chunk:
                poll.unregister(stream.fileno())
            elif stream is process.stdout:
                self._hear(chunk)
            else:
                self._err = (self._err + chunk)[-MIB:]

    def _hear(self, chunk: bytes) -> None:
        *lines, self._out = (self._out + chunk).split(b"\n")
        for line in lines:
            found = _answers(line, self._call)
            if found is not None:
                self.seen.answer = found

    def _pump(self) -> None:
        """Another message of 32 KiB, as far as there is room for it."""
        stdin = self.attacker.process.stdin
        assert stdin is not None
        os.set_blocking(stdin.fileno(), False)
        line = b'{"jsonrpc":"2.0","id":"%d","method":"ping","params":{"_meta":{"x":"%s"}}}\n'
        with suppress(OSError):
            os.write(stdin.fileno(), line % (time.monotonic_ns(), b"x" * 32 * KIB))
            self._moved.append(time.monotonic())

    def _finish(self, *, ended: bool) -> Seen:
        seen = self.seen
        if not ended:
            self.attacker.process.kill()
        seen.survivors = self._tree.left(GONE_S)
        seen.status, said = self.attacker.finish()
        seen.said = self._err.decode(errors="replace") + said
        seen.peak, seen.seen = self._tree.peak, len(self._tree.met)
        if seen.mechanism == "polling":
            # What was taken between the last look and the end: the bomb's own word for it.
            seen.peak = max(seen.peak, self._tree.before + held(seen.said))
        seen.reached = self._reached()
        return seen

    def _reached(self) -> float | None:
        if self.bomb.reached == "start" and (
            ready := began_at(self._audit, self.seen.data.get("session", ""))
        ):
            return ready + self.bomb.limit
        if self.bomb.reached == "stuck":
            # The longest time in which nothing moved: at the end what waited is thrown away.
            pairs = zip(self._moved, [*self._moved[1:], self.seen.ended], strict=True)
            return max(pairs, key=lambda pair: pair[1] - pair[0])[0] + self.bomb.limit
        if self.bomb.reached in self._clock:
            return self._clock[self.bomb.reached] + self.bomb.limit
        if self.bomb.reached == "held":
            return self._held()
        moments = [moment for word, _, moment, _ in told(self.seen.said) if word == "limit"]
        return moments[0] if moments else None

    def _held(self) -> float | None:
        """When what the processes said they held, with what they had before, came to the limit."""
        taken = list(holdings(self.seen.said))
        over = [moment for moment, together in taken if together + self._tree.before >= self.bomb.limit]
        # The kernel allows no more than the limit: then it was the last one.
        return next(iter(over), taken[-1][0] if taken else None)


def began_at(audit: Path, session: str) -> float | None:
    """The monotonic moment at which a session's server was started, as the log has it."""
    for line in text(f"{audit}/{session}.jsonl").splitlines():
        event = json.loads(line)
        if event.get("kind") == "session.ready":
            passed = datetime.now(UTC) - datetime.fromisoformat(event["time"])
            return time.monotonic() - passed.total_seconds()
    return None


def told(said: str) -> Iterator[tuple[str, float, float, int]]:
    """What bombs said: word, number, moment, pid."""
    for line in said.splitlines():
        words = line.partition("bomb: ")[2].split()
        if len(words) == 4:
            with suppress(ValueError):
                yield words[0], float(words[1]), float(words[2]), int(words[3])


def holdings(said: str) -> Iterator[tuple[float, int]]:
    """Each moment at which one of the bomb's processes had taken memory, and what all of them had then."""
    by_pid: dict[int, int] = {}
    for word, number, moment, pid in told(said):
        if word == "held":
            by_pid[pid] = int(number)
            yield moment, sum(by_pid.values())


def held(said: str) -> int:
    """The most memory that the bomb's processes say they had together."""
    return max((together for _, together in holdings(said)), default=0)


def own_cgroup(world: World, attacker: Attacker, init: int) -> Path | None:
    """The file in which the kernel keeps the most memory that this sandbox had, where it counts for it."""
    own = "mcp-sandbox-" if world.backend == NATIVE else container(attacker.process.pid).id
    for line in text(f"/proc/{init}/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if own in path and "memory" in names.split(","):
            return Path(f"/sys/fs/cgroup/memory{path}/memory.max_usage_in_bytes")
        if own in path and not names and Path(f"/sys/fs/cgroup{path}/memory.peak").exists():
            return Path(f"/sys/fs/cgroup{path}/memory.peak")
    return None


class Tree:
    """The wrapper's and the sandbox's processes, and the most memory that the sandbox had."""

    def __init__(self, wrapper: int, init: int, counter: Path | None) -> None:
        self._roots = (wrapper, init)
        self._init = init
        self._counter = counter
        self.mechanism = "cgroup" if counter else "polling"
        self.met: dict[int, str] = {}
        self.peak = 0
        self.tick()
        self.before = self.peak

    def tick(self) -> None:
        """Looks once."""
        for pid in {pid for root in self._roots for pid in _below(root)}:
            if pid not in self.met and (began := _began(pid)):
                self.met[pid] = began
        self.peak = max(self.peak, self._memory())

    def _memory(self) -> int:
        if self._counter is None:
            return sum(map(_share, _below(self._init)))
        return int(text(str(self._counter)) or 0)

    def left(self, seconds: float) -> list[str]:
        """Who of all that were ever seen still lives after `seconds`."""
        end = time.monotonic() + seconds
        while (there := [pid for pid, began in self.met.items() if _began(pid) == began]) and (
            time.monotonic() < end
        ):
            time.sleep(TICK_S)
        return [f"{pid} {text(f'/proc/{pid}/comm').strip()}" for pid in there]


def _below(root: int) -> Iterator[int]:
    stack = [root]
    while stack:
        pid = stack.pop()
        yield pid
        with suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                stack += map(int, text(f"/proc/{pid}/task/{task}/children").split())


def _share(pid: int) -> int:
    """Bytes of a process, shared pages in part; resident ones where it is not ours to look into."""
    for line in text(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * KIB
    pages = text(f"/proc/{pid}/statm").split()
    return int(pages[1]) * 4 * KIB if pages else 0


def _began(pid: int) -> str:
    """When a living process was started (proc(5), stat); empty where it is none any more."""
    fields = text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if fields and fields[0] not in "ZX" else ""
