"""What the kernel would do or say for any process of the machine's, and not for the server."""

from __future__ import annotations

import pytest

from tests.attacks.inside import Sides
from tests.differences import EMPTY, differs

pytestmark = pytest.mark.backends(docker="root user", gvisor="user")


@pytest.mark.backends(docker="root user")  # a crash under gVisor is none of the host's
@pytest.mark.threat("H2", proves="no crash starts the host's core dump handler")
def test_a_crash_starts_no_handler_of_the_hosts(sides: Sides) -> None:
    """core(5): a `|handler` runs as root, outside, on a limit of 0 too; only 1 keeps it from starting."""
    lines = sides.got("files.read", path="/proc/self/limits").splitlines()
    core = next(line.split() for line in lines if line.startswith("Max core file size"))
    assert core[4:6] == ["1", "1"]
    assert sides.refused("limits.dump_core", "EPERM") == "(0, 0)", "the control lowered its own"


@pytest.mark.threat("D1", proves="the kernel's command line is empty inside")
def test_the_kernels_command_line_is_not_told(sides: Sides) -> None:
    inside = sides.got("files.read", path="/proc/cmdline")
    assert (inside == "") is (differs("/proc/cmdline", sides.world.backend, EMPTY) == EMPTY)
    assert sides.control("files.read", path="/proc/cmdline") not in ("", inside)
