"""Sizes, durations, rates and counts: every spelling, and every impossible value."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.policy import quota

GOOD = [
    pytest.param(quota.memory, "64M", 64 << 20, id="megabytes"),
    pytest.param(quota.memory, "512m", 512 << 20, id="lower case unit"),
    pytest.param(quota.memory, "1.5GiB", 3 << 29, id="fraction with a binary unit"),
    pytest.param(quota.memory, 16 << 20, 16 << 20, id="bytes, the least that runs anything"),
    pytest.param(quota.size, "0.5K", 512, id="half a kilobyte"),
    pytest.param(quota.duration, "12h", 43200.0, id="hours"),
    pytest.param(quota.duration, "500ms", 0.5, id="milliseconds"),
    pytest.param(quota.duration, 90, 90.0, id="bare seconds"),
    pytest.param(quota.duration, "366d", 366 * 86400.0, id="the longest"),
    pytest.param(quota.rate, "100/s", 100.0, id="per second"),
    pytest.param(quota.rate, "30/m", 0.5, id="per minute"),
    pytest.param(quota.cpus, 2, 2.0, id="whole processors"),
    pytest.param(quota.cpus, "0.5", 0.5, id="half a processor from the command line"),
    pytest.param(quota.pids, "128", 128, id="pids from the command line"),
]


@pytest.mark.parametrize(("read", "text", "expected"), GOOD)
def test_reads(read: Callable[[object], float], text: object, expected: float) -> None:
    assert read(text) == expected


NAN, INFINITE = float("nan"), float("inf")
BAD = [
    pytest.param(quota.memory, 0, "at least 16M", id="no memory"),
    pytest.param(quota.memory, -1, "at least 16M", id="negative memory"),
    pytest.param(quota.memory, "15M", "at least 16M", id="memory in which nothing starts"),
    pytest.param(quota.memory, "2000T", "at most 1024T", id="memory beyond the kernel's counters"),
    pytest.param(quota.memory, "9" * 400, "written as", id="overflow"),
    pytest.param(quota.memory, 10**400, "at most", id="an integer wider than any float"),
    pytest.param(quota.memory, "512MB", "write `512M`", id="a unit that is a power of ten to some"),
    pytest.param(quota.memory, True, "written as", id="true is not 1"),
    pytest.param(quota.memory, 64.0, "written as", id="a float of bytes"),
    pytest.param(quota.memory, NAN, "written as", id="NaN bytes"),
    pytest.param(quota.memory, "-64M", "written as", id="a sign"),
    pytest.param(quota.memory, "64M\n", "written as", id="a newline after the unit"),
    pytest.param(quota.memory, "٦٤M", "written as", id="digits that are not ASCII"),
    pytest.param(quota.memory, "", "written as", id="empty size"),
    pytest.param(quota.space, 0, "at least 64K", id="a tmpfs of 0 is unlimited to the kernel"),
    pytest.param(quota.frame, "1G", "at most 64M", id="a message that kills clients"),
    pytest.param(quota.duration, 0, "more than 0", id="no time"),
    pytest.param(quota.duration, -1.5, "more than 0", id="negative time"),
    pytest.param(quota.duration, NAN, "more than 0", id="NaN time"),
    pytest.param(quota.duration, INFINITE, "more than 0", id="endless time is said by leaving it out"),
    pytest.param(quota.duration, "367d", "at most 366d", id="too long"),
    pytest.param(quota.duration, "12", "written as", id="text without a unit"),
    pytest.param(quota.duration, True, "written as", id="true seconds"),
    pytest.param(quota.duration, 10**400, "at most 366d", id="seconds wider than any float"),
    pytest.param(quota.rate, 100, "per unit", id="a rate without a unit"),
    pytest.param(quota.rate, "0/s", "more than 0", id="a rate of nothing"),
    pytest.param(quota.cpus, 0, "from 0.01", id="no processor"),
    pytest.param(quota.cpus, NAN, "a number", id="NaN processors"),
    pytest.param(quota.cpus, "nan", "a number", id="NaN as text"),
    pytest.param(quota.cpus, 10**400, "from 0.01", id="more processors than a float can hold"),
    pytest.param(quota.pids, 0, "from 2", id="no processes"),
    pytest.param(quota.pids, 1.0, "whole number", id="a float of processes"),
    pytest.param(quota.open_files, 3, "from 16", id="too few descriptors to load a library"),
]


@pytest.mark.parametrize(("read", "value", "message"), BAD)
def test_refuses_what_is_impossible(read: Callable[[object], float], value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(value)


@given(st.integers(16 << 20, quota.LARGEST))
def test_a_shown_size_reads_back(amount: int) -> None:
    shown = quota.show_size(amount)
    assert quota.memory(int(shown) if shown.isdigit() else shown) == amount


@given(st.integers(1, int(quota.LONGEST)))
def test_a_shown_duration_reads_back(seconds: int) -> None:
    assert quota.duration(quota.show_duration(seconds)) == seconds


@given(st.one_of(st.text(max_size=20), st.floats(), st.integers(), st.none(), st.booleans()))
def test_anything_is_read_or_refused_with_a_sentence(value: object) -> None:
    for read in (quota.memory, quota.space, quota.frame, quota.duration, quota.rate, quota.cpus, quota.pids):
        try:
            amount = read(value)
        except ValueError:
            continue
        assert amount > 0
