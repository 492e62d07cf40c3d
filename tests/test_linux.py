"""What the C library keeps of freed memory: as much as a long message takes, and no page of it for ever."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

from sandbox.host.memory import KEPT

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
    import json, resource, sys, threading
    from sandbox import linux

    if int(sys.argv[1]):
        linux.keep_memory(int(sys.argv[1]))

    def message():
        # Read, decoded, searched and passed on: four pieces of a mebibyte.
        pieces = [bytes([65 + at]) * (1 << 20) for at in range(4)]
        return sum(map(len, pieces))

    def faults():
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])

    found = {}

    def carry():
        for _ in range(5):
            message()
        before = faults()
        for _ in range(10):
            message()
        found["each"] = (faults() - before) / 10

    thread = threading.Thread(target=carry)
    thread.start()
    thread.join()
    held = resident()
    linux.give_back()
    found["given"] = held - resident()
    print(json.dumps(found))
"""
PAGES = (1 << 20) // 4096


def ran(kept: int) -> dict[str, float]:
    """Pages that were new for each message, and that were given back at the end."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(kept)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_the_next_message_takes_no_new_page_and_in_the_end_all_are_given_back() -> None:
    found = ran(KEPT)
    assert found["each"] < PAGES / 10
    assert found["given"] > 3 * PAGES


def test_control_without_that_every_message_takes_new_ones() -> None:
    found = ran(0)
    assert found["each"] > 2 * PAGES
    assert found["given"] < PAGES
