"""What the kernel counts for a user as a whole: one sandbox leaves most of it to the user's programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.backend.native.rlimits import SHARES
from tests.attacks.inside import World

USERS = Path("/proc/sys/fs/inotify/max_user_instances")


@pytest.mark.threat("T2", proves="watchers of files: no more than a part of what the user may have")
def test_watchers_are_not_used_up(world: World) -> None:
    most = int(USERS.read_text())
    part = dict(SHARES)["instances"]
    with world.inside() as inside, world.outside() as outside:
        got = inside.call("limits.watchers", most=most)["got"]
        assert 0 < got <= most // part
        assert outside.call("limits.watchers", most=most)["got"] > got, "the control: outside there are more"
