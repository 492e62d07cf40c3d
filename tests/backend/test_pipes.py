"""The pipes between a wrapper and its keeper: all of them or none."""

from __future__ import annotations

import os
import resource

import pytest

from sandbox.backend.pipes import channels


def open_now() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("more", range(13))
def test_where_a_descriptor_is_missing_the_others_are_closed(more: int) -> None:
    before = open_now()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = (number for number in range(limits[0]) if str(number) not in before)
    last = [next(free) for _ in range(more + 1)][-1]  # the numbers below are the ones that can be given
    resource.setrlimit(resource.RLIMIT_NOFILE, (last, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            channels(measured=True, gateway=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert open_now() == before


@pytest.mark.parametrize(
    ("measured", "gateway", "ends"), [(False, False, 10), (True, False, 12), (True, True, 14)]
)
def test_what_was_asked_for_is_there_and_each_end_has_one_owner(
    measured: bool, gateway: bool, ends: int
) -> None:
    made = channels(measured=measured, gateway=gateway)
    ours, theirs = made.of_wrapper(), made.of_keeper()
    made.close()
    assert len({*ours, *theirs}) == len(ours) + len(theirs) == ends
    assert (made.sensors[0] >= 0, made.gateway[0] >= 0) == (measured, gateway)
