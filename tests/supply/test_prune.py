"""What the store keeps: what a lock, a request or a running process uses; the rest can be removed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.supply.prune import Kept, discard, prune, sizes, trees, unused
from sandbox.supply.store import Store
from sandbox.supply.tree import seal
from sandbox.supply.verify import verify
from tests.supply.test_verify import kept
from tests.supply.toolchain import PACKAGE, Builder, frozen, store_of, world

DAY = 86400.0


def _one(digest: str = "a" * 64, **more: object) -> Kept:
    made: dict[str, object] = {
        "digest": digest, "packages": (), "keys": (), "locks": (), "used": 0.0, "running": False,
        "files": 1, "size": 1, "shared": 0,
    }  # fmt: skip
    return Kept(**{**made, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "older", "goes"),
    [
        pytest.param(_one(), None, True, id="of nobody"),
        pytest.param(_one(keys=("k",)), None, False, id="a request's"),
        pytest.param(_one(locks=("git",)), None, False, id="a lock's"),
        pytest.param(_one(running=True), None, False, id="it runs"),
        pytest.param(_one(keys=("k",)), 30 * DAY, True, id="a request's, long ago"),
        pytest.param(_one(keys=("k",), used=99 * DAY), 30 * DAY, False, id="a request's, lately"),
        pytest.param(_one(locks=("git",)), 30 * DAY, False, id="a lock's, long ago"),
        pytest.param(_one(keys=("k",), running=True), 30 * DAY, False, id="it runs, since long ago"),
    ],
)
def test_what_may_go(one: Kept, older: float | None, goes: bool) -> None:
    assert (unused([one], now=100 * DAY, older=older) == [one]) is goes


def _children(script: str, *argv: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", script, *argv], stdin=pipe, stdout=pipe, text=True)


HOLDS = (
    "import sys; from sandbox.supply.store import Store\n"
    "print(Store(sys.argv[1]).hold(sys.argv[2]), flush=True); sys.stdin.read()\n"
)
KEEPS = (
    "import sys; from pathlib import Path; from sandbox.supply.store import Store\n"
    "from tests.supply.test_verify import kept\n"
    "print(kept(Store(sys.argv[1]), 'one'), flush=True); sys.stdin.read()\n"
)


def _kept_by_another(store: Store) -> str:
    """A tree that a process kept which has ended."""
    with _children(KEEPS, store.root) as process:
        said, _ = process.communicate(timeout=30)
    return said.strip()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def test_a_tree_of_nobody_goes_with_its_files(store: Store) -> None:
    digest = _kept_by_another(store)
    (one,) = trees(store, {})
    assert (one.digest, one.running, one.files) == (digest, False, 16)
    assert prune(store, unused([one], now=0.0)) == [one]
    assert not trees(store, {})
    assert not list(Path(store.root, "blobs").glob("*/*"))
    assert not os.listdir(os.path.join(store.root, "staging"))


def test_a_tree_that_somebody_runs_stays_until_they_end(store: Store) -> None:
    digest = _kept_by_another(store)
    before = trees(store, {})
    with _children(HOLDS, store.root, digest) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert trees(store, {})[0].running
        assert prune(store, before) == []  # chosen before it was taken
        verify(store, digest)
        process.kill()
        process.wait()
    assert prune(store, trees(store, {})) != []


def test_a_tree_that_was_built_here_stays_while_we_run(store: Store) -> None:
    digest = kept(store, "one")
    assert trees(store, {})[0].running
    assert prune(store, trees(store, {})) == []
    verify(store, digest)


def test_what_was_removed_is_not_held(store: Store) -> None:
    digest = _kept_by_another(store)
    prune(store, trees(store, {}))
    assert not store.hold(digest)


def test_files_that_another_tree_has_stay(store: Store) -> None:
    digest, other = _kept_by_another(store), kept(store, "other")
    assert len(trees(store, {})) == 2
    gone = prune(store, [one for one in trees(store, {}) if one.digest == digest])
    assert [one.digest for one in gone] == [digest]
    verify(store, other, deep=True)


def test_a_request_says_whose_a_tree_is_and_goes_with_it(tmp_path: Path) -> None:
    environ = world(tmp_path)
    made = frozen("npx pkg", environ, Builder(tmp_path / "count"))
    store = Store(str(store_of(environ)))
    (one,) = trees(store, {made.digest: ["git", "a"]})
    assert (one.packages, one.locks, len(one.keys)) == (("pkg@1.2.3",), ("a", "git"), 1)
    assert PACKAGE["version"] == "1.2.3"
    assert discard(store, made.digest)
    assert not os.listdir(os.path.join(store.root, "keys"))
    assert not frozen("npx pkg", environ, Builder(tmp_path / "again")).reused


def test_a_tree_that_another_request_has_by_now_stays(tmp_path: Path) -> None:
    environ = world(tmp_path)
    frozen("npx pkg", environ, Builder(tmp_path / "count"))
    store = Store(str(store_of(environ)))
    (one,) = trees(store, {})
    frozen("npx pkg@1.2.3", environ, Builder(tmp_path / "count"))
    assert prune(store, [one]) == []


def test_shared_bytes_are_those_of_other_trees_alone(store: Store) -> None:
    def twice(tree: Path, mark: str) -> None:
        for name in ("a", "b"):
            (tree / name).write_text("same")
        (tree / "mark").write_text(mark)

    one = kept(store, "one", write=twice)
    assert sizes(store, one) == (3, 11, 0)
    kept(store, "other", write=twice)
    assert sizes(store, one) == (3, 11, 8)


def test_what_was_being_removed_when_we_died_is_swept(store: Store) -> None:
    kept(store, "one")
    left = Path(store.root, "staging", "prune.dead", "tree")
    left.mkdir(parents=True)
    store.sweep()
    assert not left.parent.exists()


def test_a_store_of_an_older_version_is_listed_and_verified(store: Store) -> None:
    """Its trees have neither stamps nor a date of use, and their files no blobs."""
    store.prepare()
    with store.stage("key") as staging:
        (Path(staging) / "tree/main.js").write_text("old")
        digest, manifest = seal(os.path.join(staging, "tree"))
        place = Path(store.place(digest))
        place.mkdir(mode=0o755)
        os.rename(os.path.join(staging, "tree"), place / "tree")
        (place / "manifest").write_bytes(manifest)
    (one,) = trees(store, {})
    assert (one.digest, one.running, one.used > 0) == (digest, False, True)
    assert not (place / "used").exists()
    verify(store, digest)
    assert store.hold(digest)
    assert trees(store, {})[0].running
