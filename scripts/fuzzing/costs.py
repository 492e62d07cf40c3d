"""How much time and memory hostile messages cost, each in a process of its own that a limit ends."""

from __future__ import annotations

import json
import math
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from fuzzing.conversations import CONVERSATIONS, Said
from fuzzing.inspectors import made
from fuzzing.promises import hold
from fuzzing.shapes import dumped, makers
from fuzzing.stage import Stage
from sandbox.inspect.judged import Asked, Inspector, Judged
from sandbox.wire.jsonrpc import Frame, FrameReader

MOST_S = 60
"""Of the processor; what takes longer is a hang."""
FREE_S, SECONDS_A_MIB, STEEPEST = 0.15, 0.5, 1.6
"""A message may cost that much, and four times the bytes at most four times that much again and a bit."""
MEMORY_A_BYTE, MEMORY_FREE = 24, 48 << 20
_CAP = 10 << 20
_OPENING = CONVERSATIONS["tools"][:5]


@dataclass(frozen=True)
class Cost:
    """What one shape cost one inspector; `fault` is empty where every promise was kept."""

    inspector: str
    shape: str
    size: int
    seconds: float
    peak: int
    fault: str = ""


class Timed:
    """An inspector whose time is added up."""

    def __init__(self, inner: Inspector) -> None:
        self.inner, self.name, self.seconds = inner, inner.name, 0.0

    def to_server(self, frame: Frame, asked: None = None) -> Judged | None:
        """Of a message of the client's."""
        return self._timed(frame, lambda: self.inner.to_server(frame))

    def to_client(self, frame: Frame, asked: Asked | None) -> Judged | None:
        """Of a message of the server's."""
        return self._timed(frame, lambda: self.inner.to_client(frame, asked))

    def _timed(self, frame: Frame, judge: Callable[[], Judged | None]) -> Judged | None:
        began = time.thread_time()
        judged = judge()
        self.seconds += time.thread_time() - began
        if judged is not None:
            hold(self.name, frame, judged)
        return judged


def costs(
    name: str, sizes: Sequence[int], *, seconds: float = math.inf, seed: int = 0, only: str = ""
) -> Iterator[Cost]:
    """What shapes cost the inspector at each size: all, or as many as the time allows."""
    shapes = [(shape, maker) for shape, maker in makers().items() if only in shape]
    random.Random(seed).shuffle(shapes)  # noqa: S311 - each run begins with others
    until = time.monotonic() + seconds
    opened = Opened(name)
    for shape, maker in shapes:
        for size in sizes:
            yield apart(opened, shape, size, maker(size))
        if time.monotonic() > until:
            return


class Opened:
    """A session of one inspector as far as its list of tools; every shape continues a copy of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._timed = [Timed(one) for one in made() if one.name == name]
        self._stage = Stage(self._timed)
        self._hear([*_frames(_OPENING)])

    def cost(self, shape: str, size: int, said: Sequence[Said]) -> Cost:
        """What these messages cost once they are read: reading has a bound of its own, `MAX_VALUES`."""
        frames = [*_frames(said)]
        before, held = self._seconds(), _peak()
        self._hear(frames)
        return Cost(self.name, shape, size, self._seconds() - before, _peak() - held)

    def _hear(self, frames: Sequence[tuple[Any, Frame]]) -> None:
        for who, frame in frames:
            self._stage.say(who, frame)

    def _seconds(self) -> float:
        return sum(one.seconds for one in self._timed)


def apart(opened: Opened, shape: str, size: int, said: Sequence[Said]) -> Cost:
    """Measured in a child, which neither a hang nor a bomb outlives."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _measure(writing, opened, shape, size, said)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if told:
        return Cost(**json.loads(told))
    how = "took too long" if os.WTERMSIG(status) == signal.SIGXCPU else f"died with status {status}"
    return Cost(opened.name, shape, size, float(MOST_S), 0, how)


def _measure(writing: int, opened: Opened, shape: str, size: int, said: Sequence[Said]) -> None:
    """Never returns."""
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_S, MOST_S + 5))
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    try:
        cost = opened.cost(shape, size, said)
    except BaseException as error:  # whatever it is, it is told
        cost = Cost(opened.name, shape, size, 0.0, 0, f"{type(error).__name__}: {error}"[:300])
    os.write(writing, json.dumps(asdict(cost)).encode())
    os._exit(0)


def _frames(said: Sequence[Said]) -> Iterator[tuple[Any, Frame]]:
    for who, message in said:
        for item in FrameReader(_CAP).feed(dumped(message)):
            # What the frame reader refuses no inspector sees.
            if isinstance(item, Frame):
                yield who, item


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def faults(found: Sequence[Cost]) -> Iterator[str]:
    """What is said of costs that are too high, in one line each."""
    by_shape: dict[tuple[str, str], list[Cost]] = {}
    for cost in found:
        by_shape.setdefault((cost.inspector, cost.shape), []).append(cost)
    for (name, shape), ones in by_shape.items():
        in_order = sorted(ones, key=lambda one: one.size)
        if reasons := [*_steep(in_order), *(reason for one in in_order for reason in _faults(one))]:
            yield f"{name}: {shape}: {'; '.join(reasons)}"


def _faults(cost: Cost) -> Iterator[str]:
    if cost.fault:
        yield f"{cost.size} bytes: {cost.fault}"
    if cost.seconds > FREE_S + SECONDS_A_MIB * cost.size / (1 << 20):
        yield f"{cost.size} bytes took {cost.seconds:.2f} s"
    if cost.peak > MEMORY_FREE + MEMORY_A_BYTE * cost.size:
        yield f"{cost.size} bytes took {cost.peak >> 20} MiB of memory"


def _steep(ones: Sequence[Cost]) -> Iterator[str]:
    for small, large in pairwise(ones):
        times, longer = large.size / small.size, large.seconds / max(small.seconds, 1e-6)
        if large.seconds > 0.1 and large.seconds > STEEPEST * times * max(small.seconds, 0.002):
            yield f"{times:g} times the bytes took {longer:.1f} times as long"
