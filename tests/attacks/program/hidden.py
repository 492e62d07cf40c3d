"""What a meter could miss: memory in nobody's resident set, time of processes that are gone at once."""

from __future__ import annotations

import mmap
import os
import time

STEP = 8 << 20
PAGE = 4096
SLICE_S = 0.02


def memory(most: int) -> int:
    """Shared memory that a child fills and leaves behind, step by step; bytes held."""
    held = []
    while len(held) * STEP < most:
        area = mmap.mmap(-1, STEP)  # shared, which is what makes it stay
        held.append(area)
        _in_child(lambda area=area: _touch(area))
    time.sleep(0.3)
    return sum(area[PAGE] for area in held) * STEP


def _touch(area: mmap.mmap) -> None:
    for at in range(0, STEP, PAGE):
        area[at] = 1


def _in_child(work: object) -> None:
    pid = os.fork()
    if pid == 0:
        work()  # type: ignore[operator]
        os._exit(0)
    os.waitpid(pid, 0)


def processor(seconds: float) -> float:
    """So much time in orphans, each of them gone after a fiftieth of a second; what they took in all."""
    ready, told = os.pipe()
    took = 0.0
    while took < seconds:
        _in_child(lambda: os.fork() or _burn(told))
        took += float(os.read(ready, 64))
    return took


def _burn(told: int) -> None:
    while time.process_time() < SLICE_S:
        pass
    os.write(told, str(time.process_time()).encode())
    os._exit(0)
