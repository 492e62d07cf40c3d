"""What this process keeps of the memory that it has freed, for the next long message."""

from __future__ import annotations

from sandbox import linux

KEPT = 6 << 20
"""Bytes at the end of the heap: what a message of a mebibyte and its answer take, each of them read, searched
and passed on. What is free elsewhere is kept too, until `give_back`."""


def keep() -> None:
    """From now on; before the first thread begins, for which the C library would make a heap of its own."""
    linux.keep_memory(KEPT)


def give_back() -> None:
    """All that is free now."""
    linux.give_back()
