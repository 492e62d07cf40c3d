"""What a meter could miss is counted: with a cgroup by the kernel, without one by looking further."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.inside import World

MIB = 1 << 20
PROFILE = """schema = 1
extends = "base"
[quota]
cpu_time = "400ms"
"""


def ended_by(world: World, quota: str, attack: str, *words: str, **asked: Any) -> None:
    """The sandbox was ended for this quota, and the open call says so."""
    with world.inside(*words) as inside:
        inside.ask(attack, **asked)
        answer = inside.message()
        status, said = inside.finish()
    assert status == 124, said
    assert answer["error"]["data"]["rule"] == quota


@pytest.mark.backends(docker="user")
@pytest.mark.threat("T2", proves="memory: shared pages that a child filled and left behind count")
def test_memory_in_nobodys_resident_set(world: World) -> None:
    with world.outside() as outside:
        assert outside.call("hidden.memory", most=160 * MIB)["got"] == 160 * MIB, "the control holds it all"
    ended_by(world, "quota.memory", "hidden.memory", "--memory", "100M", most=400 * MIB)


@pytest.mark.threat("T2", proves="processor time: orphans that are gone at once count")
def test_processor_time_of_orphans(world: World) -> None:
    with world.outside() as outside:
        assert outside.call("hidden.processor", seconds=0.6)["got"] >= 0.6, "the control takes it all"
    profile = str(world.file("second.toml", world.base, PROFILE))
    ended_by(world, "quota.cpu_time", "hidden.processor", "--profile", profile, seconds=12)
