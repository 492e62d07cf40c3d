"""A neighbour of a bomb: how long its calls take, quiet and while a bomb goes off in another sandbox."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

from tests.attacks.bombing import PATIENCE_S, Bomb, profile, program
from tests.attacks.inside import Attacker, World

CALLS = 200
PAUSE_S = 0.001
"""A client thinks between two calls: what is measured is how soon a sleeper is woken, too."""


@dataclass
class Heard:
    """Seconds of every call, and how the bombs ended meanwhile."""

    calls: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    forked: float = 0.0
    """Seconds that the host took for the slowest of its own processes."""

    @property
    def p99(self) -> float:
        """Seconds below which 99 of a hundred calls were answered."""
        return statistics.quantiles(self.calls, n=100, method="inclusive")[98]


def quiet(neighbour: Attacker) -> Heard:
    """The neighbour alone."""
    heard = Heard()
    while len(heard.calls) < CALLS:
        _call(neighbour, heard)
    return heard


def beside_a_loop(neighbour: Attacker) -> Heard:
    """The neighbour while one ordinary program of the host's own is busy: what is no bomb's doing."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as loop:
        try:
            return quiet(neighbour)
        finally:
            loop.kill()


def beside_a_start(world: World, neighbour: Attacker) -> Heard:
    """The neighbour while honest sandboxes start and end: a bomb that ends at once is mostly that."""
    heard = Heard()
    argv = world.command("--allow-read", str(world.program), server=program(world, "python"))
    while len(heard.calls) < CALLS:
        with Attacker(argv, world.environ, stderr=subprocess.DEVNULL) as honest:
            honest.ask("bombs.ready", child=False)
            for _ in range(CALLS // 10):
                _call(neighbour, heard)
    return heard


def beside(world: World, bomb: Bomb, language: str, neighbour: Attacker) -> Heard:
    """The neighbour while the bomb goes off, from its call to its end; again until there are enough calls."""
    heard = Heard()
    name, content = profile(bomb, language)
    options = ["--profile", str(world.file(name, world.base, content)), "--allow-read", str(world.program)]
    argv = world.command(*options, server=program(world, language))
    while len(heard.calls) < CALLS:
        with Attacker(argv, world.environ, stderr=subprocess.DEVNULL) as attacker:
            attacker.call("bombs.ready", child=False)
            # A flood has to find a reader, and one that is not this process: that would only slow itself.
            with subprocess.Popen(["cat"], stdin=attacker.process.stdout, stdout=subprocess.DEVNULL):
                attacker.ask(f"bombs.{bomb.attack}", **bomb.asked)
                _until_it_ends(attacker, neighbour, heard)
    return heard


def _until_it_ends(attacker: Attacker, neighbour: Attacker, heard: Heard) -> None:
    deadline = time.monotonic() + PATIENCE_S
    fork_at = time.monotonic()
    while attacker.process.poll() is None and time.monotonic() < deadline:
        _call(neighbour, heard)
        if time.monotonic() >= fork_at:
            fork_at += 0.2
            began = time.perf_counter()
            subprocess.run(["/bin/true"], check=True, timeout=PATIENCE_S)
            heard.forked = max(heard.forked, time.perf_counter() - began)
    heard.statuses.append(attacker.process.wait(PATIENCE_S))


def _call(neighbour: Attacker, heard: Heard) -> None:
    began = time.perf_counter()
    neighbour.call("bombs.ready", child=False)
    heard.calls.append(time.perf_counter() - began)
    time.sleep(PAUSE_S)
