"""A view built in namespaces of its own: what is ours is made, and nothing is ever made on the host.

That a directory was made by us is remembered and not looked at again: each way to cover one has a case.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sandbox.plan.spec import Bind, Directory, File, Proc, Symlink, Tmpfs, ViewStep
from tests.conftest import Require

ROOT = Path(__file__).parents[3]
BUILD = """
import json, os, sys
from sandbox import kernel_files, linux
from sandbox.backend.native import view
from sandbox.plan.spec import Bind, Directory, File, Proc, Symlink, Tmpfs

steps = eval(sys.stdin.read())
uid, gid = os.getuid(), os.getgid()
linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWPID)
for name, value in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
    kernel_files.write(f"/proc/self/{name}", value)
if child := os.fork():  # a /proc of its own needs a process in the new pid namespace
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
linux.mount(None, "/", None, linux.MS_REC | linux.MS_SLAVE)
os.umask(0o077)
view.build(steps, view.gather(steps, {}))
found = {}
for folder, _, files in os.walk("/"):
    if folder.startswith("/proc"):
        continue
    for path in (folder, *(f"{folder}/{name}" for name in files)):
        status = os.lstat(path)
        found[path.replace("//", "/")] = [oct(status.st_mode & 0o7777), status.st_size]
print(json.dumps(found), flush=True)
os._exit(0)
"""


def build(*steps: ViewStep) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BUILD], input=repr(steps), cwd=ROOT, capture_output=True, text=True, timeout=30
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What of the host's is mounted; the sandbox could write there."""
    tree = tmp_path / "tree"
    (tree / "there").mkdir(parents=True)
    return tree


def test_what_is_ours_is_made_whole_whatever_the_umask(require: Require, tree: Path) -> None:
    require("native")
    done = build(
        Directory("/a/b/c", 0o700),
        File("/a/b/x", b"x" * (3 << 20), 0o640),
        File("/d/e/y", b""),
        Symlink("/f/g", "../d"),
        Tmpfs("/a/t", 1 << 20, mode=0o711),
        File("/a/t/u/z", b"z"),
        Bind(str(tree), "/m"),
    )
    assert done.stderr == ""
    made = {
        "/": "0o755",
        "/a": "0o755",
        "/a/b": "0o755",
        "/a/b/c": "0o700",
        "/a/t": "0o711",
        "/a/t/u": "0o755",
    }
    files = {"/a/b/x": ["0o640", 3 << 20], "/d/e/y": ["0o444", 0], "/a/t/u/z": ["0o444", 1]}
    found = json.loads(done.stdout)
    assert {path: found[path][0] for path in made} == made
    assert {path: found[path] for path in files} == files
    assert "/m/there" in found


HOST = "{tree}"
COVERED = [
    pytest.param((Bind(HOST, "/m"),), "/m/new", id="by a tree of the host"),
    pytest.param((Bind(HOST, "/m"),), "/m/new/x", id="further down"),
    pytest.param((Bind(HOST, "/m"),), "/m/there/x", id="in a directory of the tree"),
    pytest.param((Directory("/m"), Bind(HOST, "/m")), "/m/x", id="where we had made that directory"),
    pytest.param((Directory("/m/there"), Bind(HOST, "/m")), "/m/there/x", id="and one below"),
    pytest.param((File("/m/there/y", b""), Bind(HOST, "/m")), "/m/there/x", id="and files in it"),
    pytest.param((Tmpfs("/m", 1 << 20), Bind(HOST, "/m")), "/m/x", id="over memory"),
]


@pytest.mark.parametrize(("steps", "target"), COVERED)
@pytest.mark.parametrize("kind", [File, Directory])
def test_nothing_is_made_in_what_covers_ours(
    steps: Sequence[ViewStep], target: str, kind: type, require: Require, tree: Path
) -> None:
    require("native")
    wanted = File(target, b"here") if kind is File else Directory(target)
    steps = [Bind(str(tree), one.target, writable=True) if isinstance(one, Bind) else one for one in steps]
    before = sorted(tree.rglob("*"))
    done = build(*steps, wanted)
    assert f"{target} does not exist in the mounted tree" in done.stderr
    assert done.returncode != 0
    assert sorted(tree.rglob("*")) == before
    # The same without the tree is made, so it is the tree for which it was refused.
    assert build(*(one for one in steps if not isinstance(one, Bind)), wanted).returncode == 0


def test_nothing_is_made_in_proc(require: Require) -> None:
    require("native")
    done = build(Directory("/proc"), Proc((), ()), File("/proc/new", b""))
    assert "/proc/new does not exist in the mounted tree" in done.stderr
    assert build(Directory("/proc"), File("/proc/new", b"")).returncode == 0


def test_a_link_that_stands_there_is_not_followed(require: Require, tree: Path) -> None:
    require("native")
    done = build(Bind(str(tree), "/m", writable=True), Symlink("/x", "/m/there/x"), File("/x", b"here"))
    assert "File exists" in done.stderr
    assert os.listdir(tree / "there") == []
    assert build(Bind(str(tree), "/m", writable=True), File("/x", b"here")).returncode == 0
