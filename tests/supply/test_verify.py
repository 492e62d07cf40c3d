"""A tree that is not what was kept does not start: a thousand ways to touch one, each named."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.errors import SandboxNotBuilt
from sandbox.supply import keeping
from sandbox.supply.disk import remove
from sandbox.supply.manifest import parse
from sandbox.supply.stamps import SETTLED_NS
from sandbox.supply.store import Store
from sandbox.supply.tree import seal
from sandbox.supply.verify import verify

AT_ONCE = 25
MUTATIONS = 150
MANY = 1000


def written(tree: Path, mark: str) -> None:
    """What a package leaves, in small: nested directories, programs, links to files and to directories."""
    for number in range(4):
        folder = tree / f"node_modules/p{number}/lib"
        folder.mkdir(parents=True)
        for name in ("index.js", "more.js", "a b.json"):
            (folder / name).write_text(f"{mark} {number} {name}\n" * (number + 2))
        program = folder.parent / "cli.js"
        program.write_text(f"#!/usr/bin/env node\n// {mark} {number}\n")
        program.chmod(0o755)
    (tree / "node_modules/.bin").mkdir()
    for number in range(4):
        (tree / f"node_modules/.bin/p{number}").symlink_to(f"../p{number}/cli.js")
    (tree / "node_modules/latest").symlink_to("p3/lib")
    (tree / "node_modules/spaced link").symlink_to("p3/lib/a b.json")
    (tree / "empty").mkdir()


def kept(store: Store, mark: str, key: str = "key", write: Callable[[Path, str], None] = written) -> str:
    """The digest of a tree that was built and kept."""
    store.prepare()
    with store.stage(key) as staging:
        write(Path(staging) / "tree", mark)
        digest, manifest = seal(os.path.join(staging, "tree"))
        store.keep(staging, digest, manifest)
    return digest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


# --- mutations: what each does to a tree, and the paths of which one must be named ---------------------


def _files(tree: Path) -> list[Path]:
    return [path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink()]


def _directories(tree: Path) -> list[Path]:
    return [path for path in sorted(tree.rglob("*")) if path.is_dir() and not path.is_symlink()]


def _links(tree: Path) -> list[Path]:
    return [path for path in sorted(tree.rglob("*")) if path.is_symlink()]


@contextmanager
def _touched(path: Path) -> Iterator[None]:
    """The file may be written meanwhile; afterwards its mode and its times are what they were."""
    status = path.stat()
    path.chmod(0o644)
    yield
    path.chmod(status.st_mode & 0o7777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def flipped(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice(_files(tree))
    with _touched(path):
        content = bytearray(path.read_bytes())
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(content)
    return [path]


def truncated(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice(_files(tree))
    with _touched(path):
        os.truncate(path, dice.randrange(path.stat().st_size))
    return [path]


def appended(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice(_files(tree))
    with _touched(path), path.open("ab") as opened:
        opened.write(b"\0")
    return [path]


def replaced(tree: Path, dice: random.Random) -> list[Path]:
    """Another file of the same size, mode and times under the same name."""
    path = dice.choice(_files(tree))
    status, content = path.stat(), path.read_bytes()
    path.unlink()
    path.write_bytes(content[::-1])
    path.chmod(status.st_mode & 0o7777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return [path]


def swapped_link(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice(_links(tree))
    target = os.readlink(path)
    path.unlink()
    path.symlink_to(dice.choice(["/etc/passwd", f"./{target}", target[:-1], "../p0/lib/index.js"]))
    return [path]


def link_to_the_same(tree: Path, dice: random.Random) -> list[Path]:
    """A file becomes a link to a faithful copy of it outside, which can be changed later."""
    path = dice.choice(_files(tree))
    copy = tree.parent.parent / f"copy-{dice.random()}"
    shutil.copy2(path, copy)
    path.unlink()
    path.symlink_to(copy)
    return [path]


def link_to_a_directory(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice(_directories(tree))
    copy = tree.parent.parent / f"copy-{dice.random()}"
    path.rename(copy)
    path.symlink_to(copy)
    return [path]


def file_for_link(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice(_links(tree))
    path.unlink()
    path.write_text("no link")
    return [path]


def added_file(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice([tree, *_directories(tree)]) / dice.choice(["new.js", "\x1b[2K", "a\nb", "\udcff"])
    path.touch()
    return [path]


def added_directory(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice([tree, *_directories(tree)]) / "new"
    path.mkdir()
    return [path]


def added_link(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice([tree, *_directories(tree)]) / "new"
    path.symlink_to("/")
    return [path]


def added_pipe(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice([tree, *_directories(tree)]) / "new"
    os.mkfifo(path)
    return [path]


def pipe_for_file(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice(_files(tree))
    path.unlink()
    os.mkfifo(path)
    return [path]


def directory_for_file(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice(_files(tree))
    path.unlink()
    path.mkdir()
    return [path]


def removed(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice([*_files(tree), *_links(tree)])
    path.unlink()
    return [path]


def removed_directory(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice(_directories(tree))
    shutil.rmtree(path)
    return [path]


def mode(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice([*_files(tree), *_directories(tree)])
    old = path.stat().st_mode & 0o7777
    path.chmod(dice.choice([each for each in (0o444, 0o555, 0o644, 0o4555, 0o777, 0o1777) if each != old]))
    return [path]


def hard_link(tree: Path, dice: random.Random) -> list[Path]:
    one, other = dice.sample(_files(tree), 2)
    if one.read_bytes() == other.read_bytes():
        return flipped(tree, dice)
    one.unlink()
    one.hardlink_to(other)
    return [one]


def renamed(tree: Path, dice: random.Random) -> list[Path]:
    path = dice.choice([*_files(tree), *_links(tree), *_directories(tree)])
    path.rename(other := path.with_name("renamed"))
    return [path, other]


def exchanged(tree: Path, dice: random.Random) -> list[Path]:
    """Two files change places: no inode is new, and no name."""
    one, other = dice.sample(_files(tree), 2)
    if one.read_bytes() == other.read_bytes():
        return flipped(tree, dice)
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    return [one, other]


WAYS: tuple[Callable[[Path, random.Random], list[Path]], ...] = (
    flipped, truncated, appended, replaced, swapped_link, link_to_the_same, link_to_a_directory,
    file_for_link, added_file, added_directory, added_link, added_pipe, pipe_for_file, directory_for_file,
    removed, removed_directory, mode, hard_link, renamed, exchanged,
)  # fmt: skip


def _spelt(path: Path) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))


def _refused(store: Store, digest: str, paths: list[Path], *, deep: bool) -> None:
    with pytest.raises(SandboxNotBuilt) as refused:
        verify(store, digest, deep=deep)
    assert refused.value.code == "tree-changed"
    assert any(f"`{_spelt(path)}`" in refused.value.what for path in paths), (paths, refused.value.what)
    assert refused.value.what.isprintable()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees are kept without waiting for the disk or for their stamps to settle, a few at a time."""
    monkeypatch.setattr(keeping, "sync_filesystem", lambda _: None)
    monkeypatch.setattr(keeping, "_stamp", lambda *_: None)


def _mutated(store: Store, number: int) -> None:
    """So many mutations, each of a tree of its own that verified before; the stamps alone find each."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - shown where a mutation went unnoticed
    dice = random.Random(seed)  # noqa: S311 - dice
    for start in range(0, number, AT_ONCE):
        marks = [str(each) for each in range(start, min(start + AT_ONCE, number))]
        digests = {mark: kept(store, mark, key=f"key{mark}") for mark in marks}
        time.sleep(SETTLED_NS / 1e9)
        for digest in digests.values():
            verify(store, digest)
        for mark, digest in digests.items():
            way = WAYS[int(mark) % len(WAYS)]
            paths = way(Path(store.tree(digest)), dice)
            _refused(store, digest, paths, deep=False)
            _refused(store, digest, paths, deep=True)
        remove(os.path.join(store.root, "trees"))  # a directory may have lost its read bit


@pytest.mark.threat("K4", proves="any change to a kept tree is refused, and named")
@pytest.mark.usefixtures("hasty")
def test_each_of_many_random_mutations_is_refused_and_named(store: Store) -> None:
    _mutated(store, MUTATIONS)


@pytest.mark.long
@pytest.mark.usefixtures("hasty")
def test_each_of_a_thousand_random_mutations_is_refused_and_named(store: Store) -> None:
    _mutated(store, MANY)


@pytest.mark.parametrize("deep", [True, False], ids=["deep", "by stamps"])
def test_a_tree_that_lies_elsewhere_is_refused_though_its_bytes_are_the_same(
    store: Store, tmp_path: Path, deep: bool
) -> None:
    digest = kept(store, "one")
    verify(store, digest, deep=deep)
    os.rename(store.place(digest), tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", store.place(digest))
    with pytest.raises(SandboxNotBuilt, match="a link has its place"):
        verify(store, digest, deep=deep)


def test_a_poisoned_program_runs_where_nobody_verifies_and_is_refused_where_somebody_does(
    store: Store,
) -> None:
    digest = kept(store, "one", write=_program)
    program = Path(store.tree(digest)) / "main.py"
    with _touched(program):
        program.write_text(program.read_text().replace("good", "evil"))
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    assert ran.stdout == "evil\n"  # the attack works
    _refused(store, digest, [program], deep=False)


def _program(tree: Path, _mark: str) -> None:
    (tree / "main.py").write_text("print('good')\n")


# --- what the stamps may be trusted with ----------------------------------------------------------------


def test_a_change_within_one_tick_of_the_clock_is_found(store: Store) -> None:
    """What was changed right before the stamps were taken is not believed to be settled."""
    digest = kept(store, "one")
    path = _files(Path(store.tree(digest)))[0]
    verify(store, digest)
    path.chmod(0o755)
    path.chmod(0o555)
    verify(store, digest)  # nothing is wrong; its stamp is too young to be kept
    with _touched(path):
        path.write_bytes(path.read_bytes()[::-1])
    _refused(store, digest, [path], deep=False)


def _place(store: Store, digest: str, name: str) -> Path:
    return Path(store.place(digest)) / name


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 4096, b"stamps 1 ", b"stamps 1 %b 10\n", b"stamps 1 %b 99999999999999999999\n"]
)
def test_stamps_that_a_crash_left_are_none(store: Store, content: bytes) -> None:
    digest = kept(store, "one")
    stamps = _place(store, digest, "stamps")
    stamps.write_bytes(content.replace(b"%b", digest.encode()))
    verify(store, digest)
    path = _files(Path(store.tree(digest)))[0]
    with _touched(path):
        path.write_bytes(b"?")
    stamps.write_bytes(content.replace(b"%b", digest.encode()))
    _refused(store, digest, [path], deep=False)


def test_another_trees_stamps_do_not_count(store: Store) -> None:
    one, other = kept(store, "one"), kept(store, "other")
    path = _files(Path(store.tree(one)))[0]
    with _touched(path):
        path.write_bytes(b"?")
    shutil.copy(_place(store, other, "stamps"), _place(store, one, "stamps"))
    _refused(store, one, [path], deep=False)


@pytest.mark.parametrize("deep", [False, True])
def test_a_changed_list_is_refused_and_named(store: Store, deep: bool) -> None:
    digest = kept(store, "one")
    listed = _place(store, digest, "manifest")
    listed.chmod(0o644)
    listed.write_bytes(listed.read_bytes().replace(b"index.js", b"indeX.js"))
    _refused(store, digest, [listed], deep=deep)


def test_a_tree_that_is_not_there_is_gone(store: Store) -> None:
    with pytest.raises(SandboxNotBuilt, match="no tree") as refused:
        verify(store, "0" * 64)
    assert refused.value.code == "tree-gone"


def test_a_link_in_the_trees_own_place_is_refused(store: Store, tmp_path: Path) -> None:
    digest = kept(store, "one")
    tree = Path(store.tree(digest))
    tree.rename(tmp_path / "elsewhere")
    tree.symlink_to(tmp_path / "elsewhere")
    _refused(store, digest, [tree], deep=False)


def test_a_file_without_end_is_refused_at_once(store: Store) -> None:
    digest = kept(store, "one")
    path = _files(Path(store.tree(digest)))[0]
    with _touched(path):
        os.truncate(path, 1 << 40)
    _refused(store, digest, [path], deep=True)


def test_a_copy_of_the_store_verifies_by_reading_it_once(store: Store, tmp_path: Path) -> None:
    digest = kept(store, "one")
    subprocess.run(["cp", "-a", store.root, tmp_path / "copy"], check=True)
    copy = Store(str(tmp_path / "copy"))
    time.sleep(SETTLED_NS / 1e9)  # else the copy's files are too young for a stamp
    verify(copy, digest)
    read = _reads(copy, digest)
    assert not read


def _reads(store: Store, digest: str) -> list[str]:
    """The files of the tree that a verification opens."""
    script = (
        "import sys\n"
        "from sandbox.supply.store import Store\nfrom sandbox.supply.verify import verify\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, args: seen.append(str(args[0])) if event == 'open' else None)\n"
        "verify(Store(sys.argv[1]), sys.argv[2])\n"
        "print('\\n'.join(one for one in seen if '.js' in one))\n"
    )
    argv = [sys.executable, "-c", script, store.root, digest]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


def test_an_untouched_tree_is_not_read_again(store: Store) -> None:
    digest = kept(store, "one")
    assert not _reads(store, digest)
    _place(store, digest, "stamps").unlink()
    assert _reads(store, digest)


# --- files that trees share -----------------------------------------------------------------------------


def _same_but_one(tree: Path, mark: str) -> None:
    written(tree, "shared")
    (tree / "mark").write_text(mark)


def test_trees_share_their_equal_files_and_nothing_else(store: Store) -> None:
    one, other = (kept(store, mark, write=_same_but_one) for mark in ("one", "other"))
    for path in _files(Path(store.tree(one))):
        twin = Path(store.tree(other)) / path.relative_to(store.tree(one))
        assert os.path.samefile(path, twin) == (path.name != "mark")
    verify(store, one)
    verify(store, other)


def test_one_flipped_byte_of_a_shared_file_is_refused_for_both_and_is_not_handed_on(store: Store) -> None:
    one, other = (kept(store, mark, write=_same_but_one) for mark in ("one", "other"))
    path = Path(store.tree(one)) / "node_modules/p0/lib/index.js"
    with _touched(path):
        path.write_bytes(path.read_bytes()[::-1])
    for digest in (one, other):
        _refused(store, digest, [Path(store.tree(digest)) / path.relative_to(store.tree(one))], deep=False)
    third = kept(store, "third", write=_same_but_one)
    verify(store, third, deep=True)


def test_a_build_mends_a_tree_of_the_same_content(store: Store) -> None:
    digest = kept(store, "one")
    path = _files(Path(store.tree(digest)))[0]
    with _touched(path):
        path.write_bytes(b"?")
    _refused(store, digest, [path], deep=False)
    assert kept(store, "one") == digest
    verify(store, digest, deep=True)


def test_without_hard_links_a_tree_has_files_of_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    digest = kept(store, "one")
    assert all(path.stat().st_nlink == 1 for path in _files(Path(store.tree(digest))))
    verify(store, digest)


def test_a_file_with_all_the_names_that_it_can_have_gets_another_blob(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(store, "one", write=_same_but_one)
    link, full = os.link, [31]

    def once(source: bytes, place: bytes, **more: bool) -> None:
        if place.endswith(b"part") and full:
            raise OSError(full.pop(), "Too many links")
        link(source, place, **more)

    monkeypatch.setattr(os, "link", once)
    digest = kept(store, "other", write=_same_but_one)
    assert not full
    verify(store, digest, deep=True)


def test_two_trees_that_differ_in_a_space_have_two_lists(store: Store) -> None:
    def first(tree: Path, _: str) -> None:
        (tree / "b c").symlink_to("a")

    def second(tree: Path, _: str) -> None:
        (tree / "c").symlink_to("a b")

    one, other = kept(store, "", write=first), kept(store, "", write=second)
    assert one != other
    assert parse(_place(store, other, "manifest").read_bytes()) == [(b"l", b"a b", b"c")]
