"""A relay's two lanes over pipes, without the relay."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

from sandbox.relay.carriers import Carriers, Lane
from tests.relay.world import PATIENCE, Pipe

Carry = Callable[[bytes], bool]


class Way:
    """One lane over a pipe: what was carried on it, by which thread, and how it ended."""

    def __init__(self) -> None:
        self.pipe = Pipe()
        self.carried: list[tuple[bytes, str]] = []
        self.came = threading.Semaphore(0)
        self.over = threading.Event()
        self.error: BaseException | None = None
        self.first: Carry = lambda chunk: False
        self.lane = Lane(self.pipe.read_end, self._carry, self._end)

    def _carry(self, chunk: bytes) -> bool:
        under_way = self.first(chunk)
        self.carried.append((chunk, threading.current_thread().name))
        self.came.release()
        return under_way

    def _end(self, error: BaseException | None) -> None:
        self.error = error
        self.over.set()

    def say(self, data: bytes) -> None:
        os.write(self.pipe.write_end, data)

    def send(self, data: bytes, size: int) -> None:
        """So much at a time, each read before the next: more than the pipe holds, others have to read."""
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            while piece:
                piece = piece[os.write(self.pipe.write_end, piece) :]
            while select.select([self.pipe.read_end], [], [], 0)[0]:
                time.sleep(0.001)

    def wait(self) -> bytes:
        assert self.came.acquire(timeout=PATIENCE)
        return self.carried[-1][0]


class Pair:
    def __init__(self, idle: Callable[[], None] = lambda: None) -> None:
        self.up, self.down = Way(), Way()
        self.carriers = Carriers(self.up.lane, self.down.lane, idle)
        self.before = set(threading.enumerate())
        self.carriers.start()

    def end(self) -> None:
        for way in (self.up, self.down):
            way.pipe.close(way.pipe.write_end)
        for way in (self.up, self.down):
            assert way.over.wait(PATIENCE)
        for thread in set(threading.enumerate()) - self.before:
            if thread.name.startswith("relay-"):
                thread.join(PATIENCE)
                assert not thread.is_alive()
        for way in (self.up, self.down):
            way.pipe.close_all()
