"""What a server starts from, as its exposure counts it: a lock that holds, else what a registry decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.choice import choose
from sandbox.policy.load import load
from sandbox.policy.score import UNKNOWN, Row
from sandbox.records import replace
from sandbox.supplied import asked, scored, scored_profile
from sandbox.supply.lock import ImageLock
from sandbox.supply.request import parse
from tests.locked_world import COMMAND, World

HEX = "cd" * 32


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.built()
    return made


@pytest.mark.parametrize(
    ("command", "how", "what"),
    [
        ("npx -y x", "newest", "the newest: x@latest"),
        ("npx -y x@next", "newest", "the newest: x@next"),
        ("npx -y x@*", "newest", "the newest: x@*"),
        ("npx -y x@>=1", "newest", "the newest: x@>=1"),
        ("npx -y @a/x@^1.2", "range", "a range: @a/x@^1.2"),
        ("npx -y x@1.2.3", "version", "x@1.2.3, with the newest of what it depends on"),
        ("uvx x", "newest", "the newest: x"),
        ("uvx x[a]>=2", "newest", "the newest: x[a]>=2"),
        ("uvx x[a]>=2,<3", "range", "a range: x[a]<3,>=2"),
        ("uvx x==1.0", "version", "x==1.0, with the newest of what it depends on"),
        ("uvx --with y<2 x", "newest", "the newest: x"),
        ("uvx --with y<2 x==1", "range", "a range: y<2"),
        ("env A=b npx -y x@1.2.3", "version", "x@1.2.3, with the newest of what it depends on"),
    ],
)
def test_how_much_a_registry_decides(command: str, how: str, what: str) -> None:
    found = asked(parse(command.split()))
    assert (found.how, found.what) == (how, what)


def test_what_asks_no_registry_is_not_rated() -> None:
    assert asked(parse(["node", "x.js"])) == UNKNOWN


def _row(world: World, *command: str) -> Row:
    wish = world.wish(*command)
    return scored(choose(wish), wish).rows[-1]


def test_a_lock_that_counts_lowers_it_and_no_other(world: World) -> None:
    """The controls: no lock, one that was changed, another machine's, one that is gone, another server's."""
    assert _row(world).open == 1
    at = world.put()
    assert _row(world).open == 0
    assert _row(world, "env", "A=b", *COMMAND).open == 0
    assert _row(world, "nice", *COMMAND).open == 0  # asks no registry by itself
    assert _row(world, "npx", "-y", "other").open == 1
    good = at.read_bytes()
    at.write_bytes(good.replace(b"ana", b"eve"))
    assert _row(world).open == 1
    at.unlink()
    assert _row(world).open == 1
    world.put(trees=(replace(world.lock().trees[0], fits="linux-riscv64 node-1"),))
    assert _row(world).open == 1


def test_a_projects_lock_that_nobody_accepted_lowers_nothing(world: World) -> None:
    at = world.put(world.projects)
    assert _row(world).open == 0
    (world.root / "config/mcp-sandbox/locks.json").unlink()
    assert at.exists()
    assert _row(world).open == 1


def test_an_image_that_a_lock_holds_cannot_be_exchanged(world: World) -> None:
    """The control: without the lock its tag can be moved."""
    wish = world.wish("docker", "run", "-i", "a/b:1")
    rows = {row.id: row.open for row in scored(choose(wish), wish).rows}
    assert rows["image"] == 1
    image = ImageLock("a/b:1", f"sha256:{HEX}", "", (f"sha256:{HEX}",))
    world.put(name="b", kind="oci", keys=("oci a/b",), trees=(), packages=(), image=image)
    rows = {row.id: row.open for row in scored(choose(wish), wish).rows}
    assert (rows["image"], rows["supply"]) == (0, 0)


def test_a_profile_is_rated_by_its_own_command(world: World) -> None:
    folder = Path(world.environ["XDG_CONFIG_HOME"]) / "mcp-sandbox/profiles"
    folder.mkdir(parents=True)
    text = 'schema = 1\n[server]\ncommand = ["npx", "-y", "pkg@^1"]\n'
    (folder / "own.toml").write_text(text)

    def row() -> Row:
        wish = replace(world.wish(profile="own"), command=())
        policy = load("own", environ=world.environ, cwd=wish.cwd, flags=wish.flags)
        return scored_profile(policy, wish).rows[-1]

    assert (row().open, row().detail) == (0.6, "a range: pkg@^1")
    (folder / "own.toml").write_text(text + '[supply]\nlock = "require"\n')
    assert row().open == 0
    (folder / "own.toml").write_text(text.replace('"npx"', '"npx", "--call"'))  # it would not start
    assert row().open == 0
