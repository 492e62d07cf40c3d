"""The session's folder: what is written there, whose the mapped files are, and what is never deleted."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Any

import pytest

from sandbox import linux
from sandbox.backend.docker import stage
from sandbox.backend.docker.orders import Orders
from sandbox.errors import SandboxNotBuilt
from tests.conftest import ROOT

SERVER = 1_990_000_000
OWNER = 12345


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a session's files go; whatever a test leaves mounted there is taken off again."""
    place = tmp_path / "containers" / "s1"
    yield place
    mounted = f" {place}/"
    while os.geteuid() == 0 and mounted in (table := Path("/proc/self/mountinfo").read_text()):
        linux.umount(f"{place}/{table.partition(mounted)[2].split()[0]}", linux.MNT_DETACH)


ENGINES: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An engine's socket in this process, whose mounts are these: all that staging asks of an engine."""
    place = tmp_path_factory.mktemp("engine") / "s"
    with socket(AF_UNIX) as one:
        one.bind(str(place))
        one.listen(64)
        ENGINES[:] = [f"unix://{place}"]
        yield


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A caller's tree with one file."""
    made = tmp_path / "project"
    made.mkdir()
    (made / "file").write_text("the caller's\n")
    return made


def orders(folder: Path, **changes: Any) -> Orders:
    usual: dict[str, Any] = {
        "name": "s1",
        "body": {},
        "ports": [],
        "folder": str(folder),
        "files": [],
        "trees": [],
        "sources": [],
        "uid": SERVER,
        "gid": SERVER,
        "holder": "",
        "spares": "",
        "labels": [],
        "engine": ENGINES[0],
        "limits": [],
        "remove": [],
    }
    return Orders(**(usual | changes))


def owned(project: Path) -> None:
    """All of it by one that is neither root nor the server."""
    for path in (project, *project.rglob("*")):
        os.chown(path, OWNER, OWNER)


def as_server(place: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """A command in `place` by the uid that the server has on the host, without any capability."""
    drop = ["setpriv", f"--reuid={SERVER}", f"--regid={SERVER}", "--clear-groups", "--bounding-set=-all"]
    return subprocess.run([*drop, "--", *argv], cwd=place, capture_output=True, text=True, timeout=10)


# --- written files -------------------------------------------------------------------------------


def test_files_are_written_with_every_byte_and_their_mode(folder: Path) -> None:
    content = bytes(range(256))
    files = [(0, 0o444, content.decode("latin-1")), ("seccomp.json", 0o400, "{}")]
    stage.stage(orders(folder, files=files, uid=os.getuid(), gid=os.getgid()))
    assert (folder / "0").read_bytes() == content
    assert stat.S_IMODE((folder / "0").stat().st_mode) == 0o444
    assert stat.S_IMODE((folder / "seccomp.json").stat().st_mode) == 0o400
    assert sorted(os.listdir(folder)) == ["0", "seccomp.json"]


def test_a_file_is_the_servers_to_read_whoever_it_is(folder: Path) -> None:
    stage.stage(orders(folder, files=[(0, 0o400, "decoy\n")]))
    found = (folder / "0").stat()
    if os.geteuid() == 0:
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (SERVER, SERVER, 0o400)
        assert as_server(folder, "cat", "0").returncode != 0  # Control: nobody but root enters the folder
    else:
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (os.getuid(), 0o444)


def test_nobody_else_can_look_into_the_folder(folder: Path) -> None:
    mask = os.umask(0)
    try:
        stage.stage(orders(folder))
    finally:
        os.umask(mask)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_is_there_already_is_somebody_elses(folder: Path) -> None:
    folder.mkdir(parents=True)
    with pytest.raises(FileExistsError):
        stage.stage(orders(folder, files=[(0, 0o444, "x")]))
    assert os.listdir(folder) == []


def test_a_link_in_its_place_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.parent.mkdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(FileExistsError):
        stage.stage(orders(folder, files=[(0, 0o444, "x")]))
    assert not (tmp_path / "0").exists()


def test_two_files_of_one_number_are_an_error(folder: Path) -> None:
    with pytest.raises(FileExistsError):
        stage.stage(orders(folder, files=[(0, 0o444, "x"), (0, 0o444, "y")]))
    assert (folder / "0").read_text() == "x"


def test_clearing_takes_all_of_it_away(folder: Path) -> None:
    stage.stage(orders(folder, files=[(0, 0o444, "x"), ("seccomp.json", 0o400, "{}")]))
    assert stage.clear(str(folder))
    assert not folder.exists()
    assert folder.parent.exists()


def test_clearing_what_is_not_there_is_done(folder: Path) -> None:
    assert stage.clear(str(folder))


def test_a_link_in_the_folder_goes_and_what_it_leads_to_stays(folder: Path, project: Path) -> None:
    stage.stage(orders(folder))
    (folder / "0").symlink_to(project)
    assert stage.clear(str(folder))
    assert (project / "file").exists()


def test_a_tree_that_is_not_ours_stays_and_is_told(folder: Path) -> None:
    stage.stage(orders(folder, files=[(0, 0o444, "x")]))
    (folder / "1").mkdir()
    (folder / "1" / "file").write_text("whose?\n")
    assert not stage.clear(str(folder))
    assert (folder / "1" / "file").exists()
    assert not (folder / "0").exists()


# --- mapped trees --------------------------------------------------------------------------------


@pytest.mark.root
def test_what_the_server_writes_is_the_owners_on_the_host(folder: Path, project: Path) -> None:
    owned(project)
    project.chmod(0o700)
    tree = folder / "2"
    stage.stage(orders(folder, trees=[(2, str(project), True, True, OWNER, OWNER)]))
    assert (tree.stat().st_uid, tree.stat().st_gid) == (SERVER, SERVER)
    # Control: by its own path the server may not even look.
    assert as_server(project, "ls").returncode != 0
    assert as_server(tree, "cat", "file").stdout == "the caller's\n"
    assert as_server(tree, "touch", "new").returncode == 0
    made = (project / "new").stat()
    assert (made.st_uid, made.st_gid) == (OWNER, OWNER)


@pytest.mark.root
@pytest.mark.parametrize("writable", [True, False], ids=["writable", "read-only"])
def test_a_tree_is_writable_only_where_its_step_is(folder: Path, project: Path, writable: bool) -> None:
    owned(project)
    stage.stage(orders(folder, trees=[(0, str(project), writable, True, OWNER, OWNER)]))
    done = as_server(folder / "0", "touch", "new")
    assert ("Read-only file system" in done.stderr) is not writable
    assert (project / "new").exists() is writable


@pytest.mark.root
def test_a_file_is_mapped_as_a_file(folder: Path, project: Path) -> None:
    owned(project)
    stage.stage(orders(folder, trees=[(0, str(project / "file"), False, False, OWNER, OWNER)]))
    assert (folder / "0").read_text() == "the caller's\n"
    assert (folder / "0").stat().st_uid == SERVER


@pytest.mark.root
def test_no_setuid_program_and_no_device_of_a_tree_counts(folder: Path, project: Path) -> None:
    stage.stage(orders(folder, trees=[(0, str(project), True, True, 0, 0)]))
    flags = os.statvfs(folder / "0").f_flag
    assert flags & os.ST_NOSUID
    assert flags & 4  # ST_NODEV


@pytest.mark.root
def test_one_tree_at_two_places_is_mapped_twice(folder: Path, project: Path) -> None:
    owned(project)
    trees = [(number, str(project), True, True, OWNER, OWNER) for number in (0, 4)]
    stage.stage(orders(folder, trees=trees))
    for number in (0, 4):
        assert (folder / str(number) / "file").stat().st_uid == SERVER
    assert stage.clear(str(folder))


@pytest.mark.root
def test_trees_of_two_owners_have_each_their_mapping(folder: Path, project: Path) -> None:
    owned(project)
    (project / "file").chmod(0o600)
    os.chown(project / "file", 4321, 4321)
    trees = [
        (0, str(project), True, True, OWNER, OWNER),
        (1, str(project / "file"), True, False, 4321, 4321),
    ]
    stage.stage(orders(folder, trees=trees))
    assert (folder / "0").stat().st_uid == SERVER
    assert (folder / "1").stat().st_uid == SERVER
    # A third user's file in a tree is nobody's: the mapping is of the tree's owner alone.
    assert (folder / "0" / "file").stat().st_uid == int(Path("/proc/sys/kernel/overflowuid").read_text())


@pytest.mark.root
def test_no_descriptor_of_a_tree_stays_open(folder: Path, project: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    trees = [(number, str(project), True, True, 0, 0) for number in range(3)]
    stage.stage(orders(folder, trees=trees))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.root
def test_clearing_takes_mounts_off_and_leaves_what_they_showed(folder: Path, project: Path) -> None:
    trees = [(0, str(project), True, True, 0, 0), (1, str(project / "file"), True, False, 0, 0)]
    stage.stage(orders(folder, files=[(2, 0o444, "x")], trees=trees))
    assert stage.clear(str(folder))
    assert not folder.exists()
    assert (project / "file").read_text() == "the caller's\n"
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.root
def test_what_is_still_mounted_is_never_deleted_in(folder: Path, project: Path) -> None:
    trees = [(0, str(project), True, True, 0, 0), (1, str(project / "file"), True, False, 0, 0)]
    stage.stage(orders(folder, trees=trees))
    # Twice: one stays after the first is taken off.
    for name, source in (("0", project), ("1", project / "file")):
        linux.mount(str(source), str(folder / name), None, 4096)
    assert not stage.clear(str(folder))
    assert (project / "file").read_text() == "the caller's\n"
    assert (folder / "0" / "file").exists()
    # The reaper comes again.
    assert stage.clear(str(folder))
    assert (project / "file").read_text() == "the caller's\n"


@pytest.mark.root
def test_a_source_that_is_gone_is_an_error_that_clearing_follows(folder: Path, tmp_path: Path) -> None:
    trees = [(0, str(tmp_path / "gone"), True, True, 0, 0)]
    with pytest.raises(FileNotFoundError):
        stage.stage(orders(folder, files=[(1, 0o444, "x")], trees=trees))
    assert stage.clear(str(folder))


@pytest.mark.skipif(os.geteuid() == 0, reason="a root caller maps them")
def test_a_user_maps_nothing(folder: Path, project: Path) -> None:
    with pytest.raises(OSError, match=r"/proc/\d+/uid_map|clone"):
        stage.stage(orders(folder, trees=[(0, str(project), True, True, os.getuid(), os.getgid())]))
    assert stage.clear(str(folder))
    assert (project / "file").exists()


@pytest.mark.root
@pytest.mark.parametrize("engine", ["tcp://127.0.0.1:2375", "unix:///nowhere/docker.sock"])
def test_an_engine_whose_mounts_cannot_be_told_gets_no_tree(folder: Path, project: Path, engine: str) -> None:
    told = orders(folder, trees=[(0, str(project), True, True, 0, 0)], engine=engine)
    with pytest.raises(SandboxNotBuilt, match="whether the engine at"):
        stage.stage(told)


@pytest.mark.root
def test_a_tree_is_attached_where_the_engine_sees_it(folder: Path, project: Path) -> None:
    """From a mount namespace of the caller's own, as a service with private mounts has it."""
    told = {name: getattr(orders(folder), name) for name in Orders.__slots__}
    told["trees"] = [(0, str(project), True, True, 0, 0)]
    code = (
        "import json, sys; from sandbox.backend.docker import stage;"
        "from sandbox.backend.docker.orders import Orders;"
        "stage.stage(Orders(**json.loads(sys.argv[1])))"
    )
    argv = ["unshare", "--mount", sys.executable, "-c", code, json.dumps(told)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert (folder / "0" / "file").read_text() == "the caller's\n"
