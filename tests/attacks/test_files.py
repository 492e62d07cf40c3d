"""Files: what was not granted does not exist, what was granted to be read cannot be changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.inside import Sides, World, tree
from tests.differences import DIFFERENCES, EMPTY, OWN, differs

pytestmark = pytest.mark.backends(docker="root user", gvisor="user")

Place = Callable[[World], str]

UNGRANTED = [
    pytest.param(lambda w: f"{w.home}/.ssh/id_ed25519", "ENOENT", id="a key in ~/.ssh"),
    pytest.param(lambda w: f"{w.home}/notes.txt", "ENOENT", id="a file in the home"),
    pytest.param(lambda w: f"{w.evil}/notes.txt", "ENOENT", id="a neighbour with the same prefix"),
    pytest.param(lambda w: f"{w.project}/../notes.txt", "ENOENT", id="dots out of a mount"),
    pytest.param(lambda w: f"{w.project}/out/../../notes.txt", "ENOENT", id="dots out of a nested mount"),
    pytest.param(lambda w: f"{w.project}/absolute", "ENOENT", id="a link in the mount, absolute"),
    pytest.param(lambda w: f"{w.project}/relative", "ENOENT", id="a link in the mount, relative"),
    pytest.param(lambda w: f"/proc/self/root{w.home}/notes.txt", "ENOENT", id="proc self root"),
    pytest.param(lambda w: f"/proc/self/cwd/..{w.home}/notes.txt", "ENOENT", id="proc self cwd"),
    pytest.param(lambda w: f"/proc/thread-self/root{w.home}/notes.txt", "ENOENT", id="proc thread root"),
]


@pytest.mark.threat("D1", proves="ENOENT for every way to a path that was not mounted")
@pytest.mark.threat("S2", proves="code in a tool reads no canary of the home")
@pytest.mark.parametrize(("place", "expected"), UNGRANTED)
def test_what_was_not_granted_does_not_exist(place: Place, expected: str, sides: Sides) -> None:
    assert sides.refused("files.read", expected, path=place(sides.world)) == sides.world.word


@pytest.mark.threat("D1", proves="/etc/shadow does not exist")
def test_shadow(sides: Sides) -> None:
    expected = differs("/etc/shadow", sides.world.backend, "ENOENT")
    if sides.world.caller != "root":
        assert sides.inside.call("files.read", path="/etc/shadow")["failed"] == expected
        pytest.skip("an ordinary user cannot read /etc/shadow: no control for this caller")
    assert "root:" in sides.refused("files.read", expected, path="/etc/shadow")


@pytest.mark.threat("D1", proves="no file of the whole view holds a canary of the host")
def test_no_file_holds_a_canary(sides: Sides) -> None:
    world = sides.world
    assert sides.got("files.hunt", needle=world.word, roots=["/"]) == []
    found = sides.control("files.hunt", needle=world.word, roots=[str(world.home)])
    assert f"{world.home}/.ssh/id_ed25519" in found


@pytest.mark.threat("D1", proves="a file that appears later in an unmounted directory does not appear inside")
def test_files_that_come_later(sides: Sides) -> None:
    world = sides.world
    world.file("late.txt", world.home, world.word)
    world.file("late.txt", world.project, "granted")
    assert sides.refused("files.read", "ENOENT", path=f"{world.home}/late.txt") == world.word
    assert sides.got("files.read", path=f"{world.project}/late.txt") == "granted"


@pytest.mark.threat("D1", proves="the host's home, /root, /run, /var and /sys hold nothing")
@pytest.mark.parametrize("path", ["/root", "/sys", "/boot", "/var/lib", "/run/systemd", "/srv"])
def test_directories_that_do_not_exist(path: str, sides: Sides) -> None:
    if not Path(path).is_dir() or (path == "/root" and sides.world.caller != "root"):
        pytest.skip(f"{path} is not there for this caller: no control")
    # The image has none of these: there all answer alike.
    same = path not in DIFFERENCES
    expected = "ENOENT" if same else differs(path, sides.world.backend, "ENOENT")
    if expected not in (OWN, EMPTY):
        sides.refused("files.names", expected, path=path)
        return
    names = sides.got("files.names", path=path)
    assert expected != EMPTY or names == []
    assert sides.control("files.identity", path=path) != sides.got("files.identity", path=path)


@pytest.mark.threat("S2", proves="a link of the server's own making leads nowhere outside")
def test_own_links_out(sides: Sides) -> None:
    world = sides.world
    asked = {"to": f"{world.home}/notes.txt", "path": f"{world.out}/mine"}
    outside = {"path": f"{world.out}/mine-too"}
    assert sides.refused("files.symbolic_link", "ENOENT", outside=outside, **asked) == world.word
    (world.out / "mine").unlink()


TAMPERING = [
    pytest.param("append", {}, id="append"),
    pytest.param("truncate", {}, id="truncate"),
    pytest.param("chmod", {}, id="change the mode"),
    pytest.param("touch", {}, id="change the times"),
    pytest.param("attribute", {}, id="set an attribute"),
    pytest.param("map_and_write", {}, id="reopen a descriptor for writing"),
    pytest.param("rename", {"to": "{victim}.moved"}, id="rename"),
    pytest.param("unlink", {}, id="remove"),
    pytest.param("create", {"path": "{victim}.new"}, id="create"),
    pytest.param("make_directory", {"path": "{victim}.directory"}, id="make a directory"),
]


@pytest.mark.threat("D2", proves="EROFS, and every hash, mode and time on the host unchanged")
@pytest.mark.parametrize(("attack", "more"), TAMPERING)
def test_a_read_only_mount_cannot_be_changed(attack: str, more: dict[str, str], sides: Sides) -> None:
    world = sides.world
    victim = world.file(f"victim-{attack}")
    asked = {"path": str(victim)} | {key: text.format(victim=victim) for key, text in more.items()}
    before = tree(world.project)
    result = sides.inside.call(f"files.{attack}", **asked)
    # The filter knows no setxattr: it answers before the mount does.
    assert result == {"failed": "EPERM" if attack == "attribute" else "EROFS"}
    assert tree(world.project) == before
    sides.control(f"files.{attack}", **asked)
    assert tree(world.project) != before


@pytest.mark.threat("D2", proves="no place of the root, /usr, /etc, /dev, /proc/sys or /home takes a file")
@pytest.mark.parametrize(
    "directory", ["/", "/usr", "/usr/bin", "/etc", "/dev", "/run", "/home", "/etc/ssl/certs"]
)
def test_nothing_is_created_in_the_system(directory: str, sides: Sides) -> None:
    """The control is a file that is created in the home of either side."""
    path = f"{directory}/mcp-attack"
    assert sides.inside.call("files.create", path=path)["failed"] in ("EROFS", "EACCES")
    assert not os.path.lexists(path)
    sides.got("files.create", path=f"/home/mcp/created{directory.replace('/', '-')}")


@pytest.mark.threat("D2", proves="a hard link from a read-only mount into a writable one is refused")
def test_hard_link_into_a_writable_mount(sides: Sides) -> None:
    """Both mounts are of one file system, so only the mounts stand between them."""
    world = sides.world
    victim = world.file("linked.txt")
    sides.refused("files.hard_link", "EXDEV EPERM", path=str(victim), to=f"{world.out}/linked.txt")
    assert victim.read_text() == "original\ntampered\n"
    (world.out / "linked.txt").unlink()


@pytest.mark.threat("D2", proves="a file of a read-only mount is not moved into a writable one")
def test_rename_between_mounts(sides: Sides) -> None:
    victim = sides.world.file("moved.txt")
    sides.refused("files.rename", "EXDEV EROFS", path=str(victim), to=f"{sides.world.out}/moved.txt")


MOUNTS = [
    pytest.param("remount_writable", {"path": "{project}"}, {"path": "{scratch}"}, id="remount writable"),
    pytest.param("remount_writable", {"path": "/proc/sys"}, {"path": "{scratch}"}, id="remount proc sys"),
    pytest.param("bind_over", {"source": "/proc", "path": "{out}"}, {}, id="bind over"),
    pytest.param("mount_new", {"kind": "tmpfs", "path": "{out}"}, {}, id="a tmpfs"),
    pytest.param("unmount", {"path": "{project}"}, {"path": "{scratch}"}, id="unmount"),
    pytest.param("unmount", {"path": "/proc/kcore"}, {"path": "{scratch}"}, id="uncover a masked path"),
    pytest.param("change_root", {"path": "{out}"}, {}, id="chroot"),
    pytest.param("pivot", {"path": "{out}"}, {}, id="pivot_root"),
]


@pytest.mark.threat(
    "H2", proves="no mount is made, changed or removed, even from a user namespace of one's own"
)
@pytest.mark.parametrize(("attack", "asked", "outside"), MOUNTS)
def test_mounts_stay(attack: str, asked: dict[str, str], outside: dict[str, str], sides: Sides) -> None:
    world = sides.world
    places = {"project": world.project, "out": world.out, "scratch": world.scratch}
    filled = {key: text.format(**places) for key, text in asked.items()}
    instead = {key: text.format(**places) for key, text in outside.items()}
    before = sides.got("files.read", path="/proc/self/mountinfo")
    sides.refused(f"files.{attack}", "EPERM", outside=instead, **filled)
    assert sides.got("files.read", path="/proc/self/mountinfo") == before


@pytest.mark.threat("H2", proves="no device node can be made, even in a writable mount")
def test_device_nodes(sides: Sides) -> None:
    path = str(sides.world.out / "zero")
    assert sides.inside.call("files.device", path=path)["failed"] in ("EPERM", "EACCES")
    if sides.world.caller != "root":
        pytest.skip("an ordinary user makes no device nodes: no control for this caller")
    sides.control("files.device", path=path)
    # nodev: what somebody else put there cannot be opened either.
    assert sides.inside.call("files.read", path=path)["failed"] == "EACCES"
    os.unlink(path)


@pytest.mark.root
@pytest.mark.threat("H2", proves="a setuid program of root's runs as the sandbox's own user")
def test_setuid_programs(sides: Sides) -> None:
    world = sides.world
    program = world.out / "become"
    program.write_bytes(Path("/usr/bin/id").read_bytes())
    os.chown(program, 0, 0)
    program.chmod(0o4755)
    assert program.stat().st_mode & stat.S_ISUID
    found = sides.got("files.run", path=str(program), argument="-u")
    assert found["out"].strip() not in ("", "0")
    assert sides.control("files.run", path=str(program), argument="-u")["out"].strip() == "0"
    program.unlink()


@pytest.mark.threat("D2", proves="what is written into a granted directory belongs to its owner on the host")
def test_written_files_belong_to_the_owner(sides: Sides) -> None:
    world = sides.world
    sides.got("files.create", path=str(world.out / "written.txt"))
    sides.got("files.make_directory", path=str(world.out / "made"))
    for name in ("written.txt", "made"):
        status = (world.out / name).stat()
        assert (status.st_uid, status.st_gid) == (world.uid, world.gid)
    assert (world.out / "written.txt").read_text() == "planted\n"
