"""Bombs that do not stop at a limit: refused, each says when, and goes on asking until it is ended.

Every one has an end of its own, `most` or `PATIENCE_S`, so that the control harms no host. What is said on
stderr is `bomb: WORD NUMBER MOMENT`, the moment by CLOCK_MONOTONIC, which a sandbox shares with its host.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

PATIENCE_S = 6.0
RETRY_S = 0.01
STEP = 4 << 20
CHUNK = 1 << 16
CUT = 64 * CHUNK


def say(word: str, number: float) -> None:
    """One fact for whoever measures."""
    os.write(2, f"bomb: {word} {number} {time.monotonic():.4f} {os.getpid()}\n".encode())


def _stubborn(take: Callable[[], object], most: int) -> int:
    """Takes one after the other, `most` at most; after the first refusal it asks on for `PATIENCE_S`."""
    taken, refused = 0, 0.0
    while taken < most:
        try:
            take()
            taken += 1
        except (OSError, RuntimeError, MemoryError):
            if not refused:
                refused = time.monotonic()
                say("limit", taken)
            if time.monotonic() - refused > PATIENCE_S:
                break
            time.sleep(RETRY_S)
    return taken


def ready() -> int:
    return os.getpid()


# --- processes and threads -------------------------------------------------------------------------


def fork(most: int) -> int:
    """Sleeping children."""
    pids: list[int] = []
    try:
        return _stubborn(lambda: pids.append(_child(lambda: time.sleep(60))), most)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def zombie(most: int) -> int:
    """Children that have ended and that nobody waits for."""
    pids: list[int] = []
    try:
        return _stubborn(lambda: pids.append(_child(int)), most)
    finally:
        for pid in pids:
            os.waitpid(pid, 0)


def thread(most: int) -> int:
    """Threads that wait."""
    done, started = threading.Event(), list[threading.Thread]()
    try:
        return _stubborn(lambda: started.append(_thread(done)), most)
    finally:
        done.set()
        for one in started:
            one.join()


def _thread(done: threading.Event) -> threading.Thread:
    one = threading.Thread(target=done.wait, args=(60,), daemon=True)
    one.start()
    return one


def _child(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            work()
        os._exit(0)
    return pid


# --- memory, files, descriptors --------------------------------------------------------------------


def memory(most: int, pause: float = 0.0, hold: float = 0.0) -> int:
    """Memory, touched, as fast as it comes; bytes held, for so many seconds more."""
    held: list[bytearray] = []

    def take() -> None:
        held.append(bytearray(b"x") * STEP)
        say("held", len(held) * STEP)
        time.sleep(pause)

    taken = _stubborn(take, most // STEP) * STEP
    time.sleep(hold)
    return taken


def memory_by_children(most: int, children: int = 4) -> int:
    """The same in children, none of them large; how many ended well, told at once only if all did."""
    pids = [_child(lambda: memory(most // children, hold=1.0)) for _ in range(children)]
    well = sum(os.waitpid(pid, 0)[1] == 0 for pid in pids)
    time.sleep(0 if well == children else PATIENCE_S)
    return well


def tmpfs(path: str, most: int) -> int:
    """One file that grows; bytes written."""
    with open(f"{path}/bomb", "wb", buffering=0) as file:
        written = _stubborn(lambda: _written(file.write(b"x" * CHUNK)), most // CHUNK)
    os.unlink(f"{path}/bomb")
    return written * CHUNK


def _written(size: int | None) -> None:
    if size != CHUNK:
        raise OSError("short")


def inode(path: str, most: int) -> int:
    """Empty files."""
    made: list[str] = []

    def take() -> None:
        name = f"{path}/bomb{len(made)}"
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        made.append(name)

    taken = _stubborn(take, most)
    for name in made:
        os.unlink(name)
    return taken


def fd(most: int) -> int:
    """Descriptors of one process."""
    fds: list[int] = []
    try:
        return _stubborn(lambda: fds.append(os.open("/dev/null", os.O_RDONLY)), most)
    finally:
        for one in fds:
            os.close(one)


def written(path: str, after: int, most: int) -> int:
    """A file that grows and is cut off, over and over; bytes written."""
    done = 0
    with open(f"{path}/bomb", "wb", buffering=0) as file:
        while done < most:
            if done % CUT == 0:
                file.seek(0)
                file.truncate()
            done += file.write(b"x" * CHUNK) or 0
            _reached(done, after, CHUNK)
            time.sleep(0.001)
    os.unlink(f"{path}/bomb")
    return done


def _reached(done: int, after: int, step: int) -> None:
    """Says so once, when `after` is passed."""
    if done - step < after <= done:
        say("limit", done)


# --- the processor ---------------------------------------------------------------------------------


def spin(after: float, most: float) -> float:
    """Processor seconds of this process since it was started; says when it has had `after` of them."""
    said = False
    while (used := time.process_time()) < most:
        if used >= after and not said:
            said = True
            say("limit", used)
    return used


def busy(after: float, most: float) -> float:
    """A busy process by the clock: says when it has been one for `after` seconds."""
    said, began = False, time.monotonic()
    while (passed := time.monotonic() - began) < most:
        if passed >= after and not said:
            said = True
            say("limit", passed)
    return passed


# --- messages --------------------------------------------------------------------------------------

_NOTE = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"%s"}}\n'


def flood(after: int, most: int, size: int = 100) -> int:
    """Notifications as fast as they go; how many."""
    frame = _NOTE % (b"x" * size)
    for sent in range(1, most + 1):
        _out(frame)
        if sent == after:
            say("limit", sent)
    return most


def garbage(after: int, most: int) -> int:
    """Lines on stdout that are no message; bytes."""
    return _pour((b"no message at all " * 200 + b"\n") * 16, after, most)


def endless_line(after: int, most: int) -> int:
    """One line that does not end; bytes."""
    return _pour(b"x" * CHUNK, after, most)


def _pour(chunk: bytes, after: int, most: int) -> int:
    poured = 0
    while poured < most:
        _out(chunk)
        poured += len(chunk)
        _reached(poured, after, len(chunk))
    _out(b"\n")
    return poured


def _out(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def deaf(most: float) -> float:
    """Reads nothing any more."""
    time.sleep(most)
    return most


if __name__ == "__main__":
    sys.exit("a module of server.py")
