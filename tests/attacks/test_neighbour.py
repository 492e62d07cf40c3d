"""Neighbours: while a bomb goes off in one sandbox, another's calls stay as fast and the host still forks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.bombing import BOMBS
from tests.attacks.inside import Attacker, World
from tests.attacks.neighbour import beside, beside_a_loop, beside_a_start, quiet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
TIMES = 2.0
FLOOR_S = 0.001
"""What the scheduler itself may take to wake a sleeper: below it a 99th percentile says nothing."""
ROUNDS = 4
FORK_S = 0.5


@pytest.fixture(scope="module")
def neighbour(world: World) -> Iterator[Attacker]:
    """A sandbox that does no harm."""
    with world.inside() as made:
        made.call("bombs.ready", child=False)
        yield made


@pytest.mark.threat(
    "T2",
    proves="a bomb next door slows calls no more than twice what honest programs do; the host still forks",
)
@pytest.mark.parametrize("name", ["fork", "memory", "spin", "flood"])
def test_a_bomb_next_door(name: str, world: World, neighbour: Attacker) -> None:
    """Quiet, bomb and, where that was slower, what is no bomb: what else runs falls on all alike."""
    ratios: list[float] = []
    while len(ratios) < ROUNDS and not (ratios and min(ratios) <= TIMES):
        alone, loud = quiet(neighbour), beside(world, BOMBS[name], "python", neighbour)
        assert set(loud.statuses) == {124}, "the control: the bomb went off and was ended"
        assert 0 < loud.forked < FORK_S, "the host forks"
        usual = max(alone.p99, FLOOR_S)
        if loud.p99 > TIMES * usual:
            usual = max(usual, beside_a_loop(neighbour).p99, beside_a_start(world, neighbour).p99)
        ratios.append(loud.p99 / usual)
    assert min(ratios) <= TIMES, ratios
