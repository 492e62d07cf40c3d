"""Bombs that ask on at a limit: the sandbox is ended whole within two seconds, and the client is told why."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import NamedTuple

import pytest

from sandbox import engine
from tests import backends
from tests.attacks.bombing import BOMBS, Bomb, Seen, goes_off, set_off
from tests.attacks.inside import World, furnished
from tests.conftest import Ready
from tests.e2e.remains import Remains, adopted_orphans

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
AT_ONCE = 3
"""Most of them wait for a clock or for the kernel."""
SECONDS = 2.0
OVER = {"cgroup": 1.05, "polling": 1.4}
"""Memory really used at the end, over the limit."""
NODE = ("fork", "thread", "memory", "fd", "flood", "idle")
ELSEWHERE = ("fork", "memory", "tmpfs", "flood", "wall")
"""At an engine; all of them in both languages: scripts/bombs."""


@pytest.fixture(scope="module")
def world(caller: str, backend: str, ready: Ready) -> Iterator[World]:
    """A caller whose sandboxes are all of this file."""
    with furnished(caller, backend, ready(backend)) as made:
        yield made


class Pair(NamedTuple):
    """The bomb inside, and whether it went off outside."""

    inside: Future[Seen]
    control: Future[bool]


class Field(NamedTuple):
    """All bombs of one world, several at a time, and what is left when all are over."""

    pairs: dict[tuple[str, str], Pair]
    left: dict[str, list[str]]


@pytest.fixture(scope="module")
def field(world: World, request: pytest.FixtureRequest) -> Iterator[Field]:
    """Every bomb that a chosen test of this world looks at is set off once."""
    here = {"caller": world.caller, "backend": world.backend}.items()
    asked = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = [one.params for one in asked if one and "bomb" in one.params and here <= one.params.items()]
    with adopted_orphans(), ExitStack() as stack:
        native = world.backend == backends.NATIVE
        api = None if native else stack.enter_context(closing(engine.connect(os.environ)))
        remains = Remains(world.name, world.home / ".local" / "state", world.scratch, engine=api)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            pairs = {
                (one["bomb"].name, one["language"]): Pair(
                    pool.submit(set_off, world, one["bomb"], one["language"]),
                    pool.submit(goes_off, world, one["bomb"], one["language"]),
                )
                for one in chosen
            }
        yield Field(pairs, remains.within(SECONDS))


def cases(names: tuple[str, ...], language: str) -> list[object]:
    return [pytest.param(BOMBS[name], language, id=f"{name}-{language}") for name in names]


def contained(bomb: Bomb, language: str, field: Field, world: World) -> None:
    """Everything that a bomb has to come to."""
    pair = field.pairs[bomb.name, language]
    seen = pair.inside.result()
    if seen.status == 124 and not in_time(seen):
        # Several at a time wait for one another's processor; alone, nothing excuses it.
        seen = set_off(world, bomb, language)
    assert pair.control.result(), "the control goes off"
    if bomb.name == "busy" and seen.status == 125:
        assert "cannot-enforce" in seen.said, "nothing holds a share of the processor here"
        return
    assert seen.status == 124, (seen.status, seen.answer, seen.said)
    assert in_time(seen), (seen.late, seen.peak / bomb.limit, seen.mechanism)
    assert seen.seen >= 4, "the control: wrapper, keeper or container, process 1 and server were seen"
    assert seen.survivors == []
    assert bomb.rule.removeprefix("quota.") in seen.said
    if bomb.attack:
        told(bomb, seen)


def in_time(seen: Seen) -> bool:
    """Ended soon enough after its limit, and before it had much more memory than that."""
    bomb = seen.bomb
    over = bomb.memory and seen.peak > OVER[seen.mechanism] * bomb.limit
    return seen.late <= SECONDS + bomb.period and not over


def told(bomb: Bomb, seen: Seen) -> None:
    """The open call's error says which rule, how much of what, where that is written, in which session."""
    data = seen.data
    assert data["rule"] == bomb.rule, seen.error
    assert data["limit"] == pytest.approx(bomb.limit)
    assert data["measured"] >= 0.9 * bomb.limit
    assert data["profile"].startswith(f"{bomb.name}-{seen.language}.toml:")
    assert data["session"]
    assert data.get("flag") or data.get("key"), "what would have allowed it"
    assert str(data["profile"]) in seen.error["message"]


@pytest.mark.threat("T2", proves="every bomb: the whole tree ended within 2 s of its limit, status 124")
@pytest.mark.parametrize(("bomb", "language"), [*cases(tuple(BOMBS), "python"), *cases(NODE, "node")])
def test_bomb(bomb: Bomb, language: str, field: Field, world: World) -> None:
    contained(bomb, language, field, world)


@pytest.mark.backends(docker="user")
@pytest.mark.threat("T2", proves="the same at an engine")
@pytest.mark.parametrize(
    ("bomb", "language"), [*cases(ELSEWHERE, "python"), *cases(("thread", "memory"), "node")]
)
def test_bomb_at_an_engine(bomb: Bomb, language: str, field: Field, world: World) -> None:
    contained(bomb, language, field, world)


@pytest.mark.backends(docker="user")
def test_nothing_is_left_of_any(field: Field) -> None:
    assert field.pairs, "the control: bombs were set off"
    assert field.left == {}
    assert subprocess.run(["/bin/true"], check=False).returncode == 0
