"""Lines that nobody waits for: written where somebody reads, lost and counted where nobody does."""

from __future__ import annotations

import os
import threading

from sandbox.cli.aside import LINE_MAX, LINES_MAX, Aside


def read_all(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


def test_lines_are_written_in_order_and_harmless() -> None:
    reads, writes = os.pipe()
    with Aside(writes) as aside:
        for number in range(100):
            aside(f"{number} \x1b[31m\n\ud800")
    os.close(writes)
    lines = read_all(reads).splitlines()
    assert [line.split()[0] for line in lines] == [b"%d" % number for number in range(100)]
    assert b"\x1b" not in lines[0]


def test_nobody_waits_for_whoever_does_not_read() -> None:
    reads, writes = os.pipe()
    many = LINES_MAX + 500
    with Aside(writes) as aside:
        for _ in range(many):
            aside("x" * 1000)
        gathered: list[bytes] = []
        reader = threading.Thread(target=lambda: gathered.append(read_all(reads)))
        reader.start()
    aside._thread.join(10)
    os.close(writes)
    reader.join(10)
    lines = gathered[0].splitlines()
    told = [line for line in lines if b"lost" in line]
    lost = sum(int(line.split()[1]) for line in told)
    assert lost > 0
    assert lost + len(lines) - len(told) == many


def test_the_end_is_not_held_up() -> None:
    reads, writes = os.pipe()
    with Aside(writes) as aside:
        for _ in range(100):
            aside("x" * 10 * LINE_MAX)
    assert aside._thread.is_alive(), "it stands in a write, and nobody waits for it"
    os.close(reads)
    aside._thread.join(10)
    os.close(writes)


def test_without_stderr_lines_are_lost() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with Aside(writes) as aside:
        aside("x")
    os.close(writes)
    assert not aside._thread.is_alive()
