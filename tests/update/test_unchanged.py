"""An update where nothing is newer starts nothing and keeps nothing; no change hides behind a version."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.supply import registry
from tests.update.poisoned import BIN, NAME, javascript
from tests.update.test_poisoned_update import World

pytestmark = pytest.mark.slow  # as root alone: `test_poisoned_update` is for both callers


@pytest.fixture
def world(served: registry.Npm, tmp_path: Path) -> World:
    made = World(tmp_path, ("npx", "-y"), "node", npm_config_registry=served.url)
    made.lock()
    return made


def left(world: World) -> tuple[set[str], set[str]]:
    """The sessions that were started, and the trees that are kept."""
    logs = (world.root / "state/mcp-sandbox/audit").glob("*.jsonl")
    sessions = {path.name for path in logs if "-build-" not in path.name}
    trees = (world.root / "cache/mcp-sandbox/store/trees").iterdir()
    return sessions, {path.name for path in trees}


def test_what_is_the_same_starts_nothing_and_leaves_nothing(served: registry.Npm, world: World) -> None:
    """The control: of a newer version both are started, and its tree is kept for the yes."""
    before, files = left(world), world.files()
    done = world.run("update", "--check", NAME, "--profile", "mail")
    assert (done.returncode, "as locked, nothing newer" in done.stdout) == (0, True), done.stderr
    assert left(world) == before
    assert world.files() == files
    served.publish(NAME, "2.0.0", javascript("2.0.0", poisoned=False), bin=BIN)
    assert world.run("update", "--check", NAME, "--profile", "mail").returncode == 1
    sessions, trees = left(world)
    assert len(sessions - before[0]) >= 2
    assert len(trees - before[1]) == 1


def test_other_content_under_the_locked_version_is_a_change(served: registry.Npm, world: World) -> None:
    served.publish(NAME, "1.0.0", javascript("1.0.0", poisoned=True), bin=BIN)
    done = world.run("update", "--check", NAME, "--profile", "mail")
    assert done.returncode == 1
    assert "has content that it had not when it was locked" in done.stdout


def test_other_content_under_the_locked_hash_is_refused(served: registry.Npm, world: World) -> None:
    """No list of versions and hashes says so: it is why an update fetches what it says is unchanged."""
    served.more_dist[NAME, "1.0.0"] = {"integrity": served.integrity(NAME, "1.0.0")}
    served.publish(NAME, "1.0.0", javascript("1.0.0", poisoned=True), bin=BIN)
    before = left(world)
    done = world.run("update", "--check", NAME, "--profile", "mail")
    assert done.returncode not in (0, None)
    assert "package-changed" in done.stderr
    assert left(world) == before
