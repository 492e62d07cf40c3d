"""A granted directory is no way to the host: not by what is left in it, not by what comes into it later."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.inside import Attacker, Sides, World
from tests.backends import NATIVE
from tests.differences import differs

pytestmark = pytest.mark.backends(docker="root user", gvisor="user")

WAYS = ("chmod", "fchmod", "open", "O_TMPFILE", "mknod", "openat2")


@pytest.mark.threat("H2", proves="no setuid or setgid file of the directory's owner is left on the host")
@pytest.mark.parametrize("how", WAYS)
def test_no_setuid_file_is_left_behind(how: str, sides: Sides) -> None:
    """nosuid holds inside; on the host it would be a setuid program of the caller's, of root's for root."""
    path = sides.world.out / f"become-{how}"
    expected = differs("openat2", sides.world.backend, "ENOSYS") if how == "openat2" else "EPERM"
    result = sides.inside.call("granted.set_ids", path=str(path), how=how)
    assert result == {"failed": expected}
    assert not (path.exists() and path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID))
    path.unlink(missing_ok=True)
    assert sides.control("granted.set_ids", path=str(path), how=how) == oct(0o6755)
    path.unlink()


# --- what already lies in it ------------------------------------------------------------------------


@pytest.fixture
def service(world: World) -> Iterator[Path]:
    """A service of the host's that listens in the project, as databases and agents do."""
    path = world.project / "nested" / "agent.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o777)
        world.own(path.parent)
        listener.listen()
        thread = threading.Thread(target=_serve, args=(listener,), daemon=True)
        thread.start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    path.unlink()
    path.parent.rmdir()


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.sendall(b"the host")


@pytest.mark.threat("H2", proves="a socket of the host's in a granted directory takes no connection")
@pytest.mark.parametrize("grant", ["--allow-read", "--allow-write"])
def test_sockets_in_a_grant_are_covered(grant: str, world: World, service: Path) -> None:
    """A read-only mount alone is no obstacle to connect(2)."""
    with (
        world.inside(grant, str(world.project)) as inside,
        world.outside() as outside,
    ):
        expected = differs("a socket in a grant", world.backend, "ECONNREFUSED")
        assert inside.call("granted.connect", path=str(service)) == {"failed": expected}
        if expected == "ECONNREFUSED":  # else it is as bare as any file
            moved = inside.call("files.rename", path=str(service), to=f"{service}.moved")
            assert moved["failed"] in ("EBUSY", "EROFS")
        assert outside.call("granted.connect", path=str(service)) == {"got": "the host"}


# --- what is mounted later --------------------------------------------------------------------------


@pytest.fixture
def shared(world: World) -> Iterator[tuple[list[str], Path]]:
    """A command that enters a mount namespace, and a directory of it whose mounts propagate."""
    place = world.scratch / "shared"
    place.mkdir()
    script = 'mount -t tmpfs later "$1" && mount --make-shared "$1" && mkdir "$1/sub" && echo && exec cat'
    if world.backend != NATIVE:
        yield from _seen_by_the_engine(script, place)
        return
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"\n"
        yield ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--wd=/", "--"], place
    finally:
        holder.communicate(timeout=10)
        place.rmdir()


def _seen_by_the_engine(script: str, place: Path) -> Iterator[tuple[list[str], Path]]:
    """In this namespace, which is the engine's too."""
    subprocess.run(["sh", "-c", script, "sh", str(place)], check=True, timeout=10, stdin=subprocess.DEVNULL)
    try:
        yield [], place
    finally:
        subprocess.run(["umount", "--recursive", str(place)], check=True, timeout=10)
        place.rmdir()


@pytest.mark.root
@pytest.mark.threat("D2", proves="what the host mounts below a grant after the start stays outside")
def test_a_later_mount_does_not_appear(world: World, shared: tuple[list[str], Path]) -> None:
    """It would come in with the host's own attributes, writable below a read-only grant."""
    enter, place = shared
    options = ("--allow-read", str(world.program), "--allow-read", str(place))
    later, written = place / "sub" / "later", place / "sub" / "written"
    with (
        Attacker([*enter, *world.command(*options)], world.environ) as inside,
        Attacker([*enter, *world.prefix(), *world.server()], world.environ) as outside,
    ):
        assert inside.call("files.names", path=str(later.parent)) == {"got": []}
        mount = 'mount -t tmpfs -o mode=777 stick "$1" && touch "$1/later"'
        subprocess.run([*enter, "sh", "-c", mount, "sh", str(later.parent)], check=True, timeout=10)
        assert inside.call("files.names", path=str(later.parent)) == {"got": []}
        expected = differs("a file where a mount comes later", world.backend, "EROFS")
        assert inside.call("files.create", path=str(written))["failed"] == expected
        assert outside.call("files.names", path=str(later.parent)) == {"got": ["later"]}
        assert "got" in outside.call("files.create", path=str(written))
    assert not enter or not os.path.lexists(later), "it was never in the namespace of this test"
