"""Starts that all miss the same locked tree: it is installed once, and what fails fails once."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox.errors import SandboxNotBuilt
from sandbox.records import replace
from sandbox.supply.freeze import freeze
from sandbox.supply.job import BuildJob, BuildOutcome, Order
from sandbox.supply.lock import Lock, Package, Tree
from sandbox.supply.rebuild import rebuild
from sandbox.supply.resolved import resolution
from sandbox.supply.store import Store
from tests.supply.toolchain import Builder, asked, frozen, store_of, world

SRI = "sha512-" + "A" * 86 + "=="
LOCK = Lock(
    "pkg", "npm", ("pkg@latest",), ("npx", "pkg"), "", "",
    packages=(Package("pkg", "1.2.3", (SRI,), place="node_modules/pkg"),),
)  # fmt: skip
STARTS = 6


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A world whose store is empty."""
    return world(tmp_path)


@pytest.fixture
def digest(tmp_path: Path) -> str:
    """The tree that the world's builder makes, in another world."""
    (tmp_path / "other").mkdir()
    return frozen("npx pkg", world(tmp_path / "other"), Builder(tmp_path / "first")).digest


class Together:
    """Starts that ask at the same time, and what came of each."""

    def __init__(self, builder: Builder, environ: Mapping[str, str], tree: Tree, lock: Lock = LOCK) -> None:
        self.builder, self.environ, self.tree, self.lock = builder, environ, tree, lock
        self.store = Store(str(store_of(environ)))
        self.came: list[str] = []
        self.ready = threading.Barrier(STARTS)

    def run(self) -> list[str]:
        """`built`, or the code of the error, of each."""
        threads = [threading.Thread(target=self._start) for _ in range(STARTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return self.came

    def _start(self) -> None:
        order = Order(asked("npx pkg"), self.environ, "/", (), self.builder, lambda line: None)
        self.ready.wait(30)
        try:
            rebuild(order, self.lock, self.tree, self.store)
        except SandboxNotBuilt as error:
            self.came.append(error.code)
        else:
            self.came.append("built")


def test_a_locked_tree_is_installed_once(tmp_path: Path, environ: dict[str, str], digest: str) -> None:
    builder = Builder(tmp_path / "count")
    assert Together(builder, environ, Tree("", digest, 0, 0, ())).run() == ["built"] * STARTS
    assert builder.calls == 1


def test_what_fails_is_not_tried_by_each_who_waits(tmp_path: Path, environ: dict[str, str]) -> None:
    builder = Builder(tmp_path / "count", seconds=0.3, status=1)
    came = Together(builder, environ, Tree("", "0" * 64, 0, 0, ())).run()
    assert came == ["package-not-built"] * STARTS
    assert builder.calls < STARTS


def test_another_tree_is_kept_by_nobody(tmp_path: Path, environ: dict[str, str], digest: str) -> None:
    tree = Tree("", "0" * 64, 0, 0, ())
    assert set(Together(Builder(tmp_path / "count"), environ, tree).run()) == {"lock-not-rebuilt"}
    assert not [*(store_of(environ) / "trees").iterdir()]
    assert not [path for path in (store_of(environ) / "staging").iterdir() if path.is_dir()]


def test_nothing_is_asked_of_an_installer_where_the_lock_is_none(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    builder = Builder(tmp_path / "count")
    bare = replace(LOCK, packages=(replace(LOCK.packages[0], integrity=()),))
    came = Together(builder, environ, Tree("", "0" * 64, 0, 0, ()), bare).run()
    assert set(came) == {"package-not-from-registry"}
    assert builder.calls == 0


@pytest.mark.parametrize("listed", [None, {}, {"": {"version": "1.0.0"}}])
def test_a_build_that_cannot_say_what_it_is_does_for_a_start_and_not_for_a_lock(
    tmp_path: Path, environ: dict[str, str], listed: object
) -> None:
    plain = Builder(tmp_path / "count")

    def build(job: BuildJob) -> BuildOutcome:
        if listed is not None:
            (Path(job.staging) / "package-lock.json").write_text(json.dumps({"packages": listed}))
        return plain(job)

    made = frozen("npx pkg", environ, build)
    assert resolution(made.tree) is None
    with pytest.raises(SandboxNotBuilt) as refused:
        freeze(
            asked("npx pkg"), environ=environ, cwd="/", run_build=build, progress=lambda line: None, age=0.0
        )
    assert refused.value.code == "package-not-from-registry"


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    place = store_of(environ)
    place.parent.mkdir(parents=True)
    place.write_text("no directory")

    def never(job: BuildJob) -> BuildOutcome:
        raise AssertionError(job.title)

    order = Order(asked("npx pkg"), environ, "/", (), never, lambda line: None)
    with pytest.raises(SandboxNotBuilt) as refused:
        rebuild(order, LOCK, Tree("", "0" * 64, 0, 0, ()), Store(str(place)))
    assert refused.value.code == "store-failed"
