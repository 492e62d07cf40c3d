"""Sizes, durations, rates and counts as people write them; a ValueError says why one is impossible."""

from __future__ import annotations

import math
import re
from typing import TypeGuard

from sandbox.patterns import regex

K, M, G, T = 1 << 10, 1 << 20, 1 << 30, 1 << 40
LARGEST = 1 << 50
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST = 366 * SECONDS["d"]

_SIZE = regex(r"(\d{1,18}(?:\.\d{1,6})?)\s?([KMGT]?)(iB|B)?", re.IGNORECASE | re.ASCII)
_DURATION = regex(r"(\d{1,18}(?:\.\d{1,6})?)\s?(ms|s|m|h|d)", re.ASCII)
_RATE = regex(r"(\d{1,18}(?:\.\d{1,6})?)\s?/\s?(s|m|h)", re.ASCII)
_UNITS = {"": 1, "K": K, "M": M, "G": G, "T": T}


def size(value: object, *, least: int = 1, what: str = "a size") -> int:
    """Bytes from `67108864`, `"64M"` or `"1.5GiB"` (units are powers of 1024), at least `least`."""
    amount = value if _is_int(value) else _parse_size(value, what)
    if amount < least:
        raise ValueError(f"{what} must be at least {show_size(least)}")
    if amount > LARGEST:
        raise ValueError(f"{what} must be at most {show_size(LARGEST)}")
    return amount


def memory(value: object) -> int:
    """Bytes of memory; below 16M not even a small interpreter starts."""
    return size(value, least=16 * M, what="memory")


def space(value: object) -> int:
    """Bytes of a tmpfs; 0 is refused because to the kernel a size of 0 means unlimited."""
    return size(value, least=64 * K, what="space")


def frame(value: object) -> int:
    """Bytes of one MCP message; larger than 10M hangs or kills today's clients."""
    amount = size(value, least=K, what="a message")
    if amount > 64 * M:
        raise ValueError("a message must be at most 64M")
    return amount


def duration(value: object) -> float:
    """Seconds from `90`, `1.5`, `"90s"`, `"5m"`, `"12h"` or `"2d"`; more than 0, at most 366 days."""
    seconds = value if _is_number(value) else _parse_duration(value)
    if not seconds > 0 or seconds == math.inf:  # NaN is not more than 0 either
        raise ValueError("a duration must be more than 0 and an end must come: leave it out for no limit")
    if seconds > LONGEST:
        raise ValueError("a duration must be at most 366d")
    return float(seconds)


def age(value: object) -> float:
    """Seconds as `duration` reads them, or 0: however young."""
    return 0.0 if _is_number(value) and value == 0 else duration(value)


def rate(value: object) -> float:
    """Events per second from `"100/s"`, `"30/m"` or `"500/h"`."""
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError('a rate is a number per unit, such as "100/s" or "30/m"')
    each = float(found[1]) / SECONDS[found[2]]
    if not 0 < each <= 1e6:
        raise ValueError("a rate must be more than 0 and at most 1000000/s")
    return each


def cpus(value: object) -> float:
    """A number of processors; below 0.01 the kernel's bandwidth control cannot express it."""
    number = _number(value, "cpus")
    if not 0.01 <= number <= 1024:
        raise ValueError("cpus must be from 0.01 to 1024")
    return float(number)


def pids(value: object) -> int:
    """Processes and threads together; the reaper and the server are already 2."""
    return count(value, "pids", 2, 1 << 22)


def open_files(value: object) -> int:
    """Descriptors of one process; fewer than 16 stop a dynamic loader."""
    return count(value, "open_files", 16, 1 << 20)


def count(value: object, what: str, least: int, most: int) -> int:
    """A whole number from `least` to `most`; digits in a string are taken from the command line."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    if not _is_int(value):
        raise ValueError(f"{what} must be a whole number from {least} to {most}")
    if not least <= value <= most:
        raise ValueError(f"{what} must be from {least} to {most}")
    return value


def show_size(amount: int) -> str:
    """`amount` bytes in the largest unit that divides it, as a profile would write it."""
    for unit, scale in (("T", T), ("G", G), ("M", M), ("K", K)):
        if amount and amount % scale == 0:
            return f"{amount // scale}{unit}"
    return str(amount)


def show_duration(seconds: float) -> str:
    """`seconds` in the largest unit that divides it, as a profile would write it."""
    for unit in ("d", "h", "m"):
        if seconds % SECONDS[unit] == 0:
            return f"{seconds / SECONDS[unit]:.0f}{unit}"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def _parse_size(value: object, what: str) -> int:
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f'{what} is written as a number of bytes or as "512K", "64M" or "1G"')
    if found[2] and (found[3] or "").upper() == "B":
        raise ValueError(f"units are powers of 1024: write `{found[1]}{found[2].upper()}`")
    return int(float(found[1]) * _UNITS[found[2].upper()]) if "." in found[1] else _whole(found)


def _whole(found: re.Match[str]) -> int:
    return int(found[1]) * _UNITS[found[2].upper()]


def _parse_duration(value: object) -> float:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError('a duration is written as seconds or as "90s", "5m", "12h" or "2d"')
    return float(found[1]) * SECONDS[found[2]]


def _number(value: object, what: str) -> int | float:
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}(\.\d{1,6})?", value, re.ASCII):
        value = float(value)
    if not _is_number(value) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{what} must be a number")
    return value  # not yet a float: an integer may be wider than any


def _is_int(value: object) -> TypeGuard[int]:
    # `true` is an int to Python, not to a person.
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
