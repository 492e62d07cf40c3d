"""A config file changes as a whole, keeps what it was besides, and is never another's."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from sandbox.clients import keep
from sandbox.clients.keep import NotChanged


def code_of(caught: pytest.ExceptionInfo[NotChanged]) -> str:
    return caught.value.code


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o400, 0o444])
def test_mode_and_content(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "c.json"
    file.write_bytes(b"old")
    file.chmod(mode)
    keep.replace(keep.read(str(file)), b"new")
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert os.listdir(tmp_path) == ["c.json"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    file, link = tmp_path / "dotfiles" / "real.json", tmp_path / "c.json"
    file.write_bytes(b"old")
    link.symlink_to("dotfiles/real.json")
    keep.replace(keep.read(str(link)), b"new")
    assert os.readlink(link) == "dotfiles/real.json"
    assert file.read_bytes() == b"new"


def test_attributes_stay(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_bytes(b"old")
    try:
        os.setxattr(file, "user.note", b"mine")
    except OSError:
        pytest.skip("this file system has no attributes of users")
    keep.replace(keep.read(str(file)), b"new")
    assert os.getxattr(file, "user.note") == b"mine"


def test_a_change_meanwhile_stays(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_bytes(b"old")
    held = keep.read(str(file))
    file.write_bytes(b"the client's")
    with pytest.raises(NotChanged) as caught:
        keep.replace(held, b"new")
    assert code_of(caught) == "changed-meanwhile"
    assert file.read_bytes() == b"the client's"
    assert os.listdir(tmp_path) == ["c.json"]


def test_what_goes_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_bytes(b"old")
    held = keep.read(str(file))
    file.unlink()
    with pytest.raises(NotChanged):
        keep.replace(held, b"new")
    assert os.listdir(tmp_path) == []


def test_a_link_put_in_its_place_is_not_followed(tmp_path: Path) -> None:
    file, other = tmp_path / "c.json", tmp_path / "other"
    file.write_bytes(b"old")
    held = keep.read(str(file))
    other.write_bytes(b"old")
    file.unlink()
    file.symlink_to(other)
    with pytest.raises(NotChanged):
        keep.replace(held, b"new")
    assert other.read_bytes() == b"old"


def test_a_draft_of_a_killed_one_is_no_obstacle_and_not_followed(tmp_path: Path) -> None:
    file, victim = tmp_path / "c.json", tmp_path / "victim"
    file.write_bytes(b"old")
    victim.write_bytes(b"mine")
    (tmp_path / ".c.json.mcp-sandbox").symlink_to(victim)
    keep.replace(keep.read(str(file)), b"new")
    assert file.read_bytes() == b"new"
    assert victim.read_bytes() == b"mine"


@pytest.mark.parametrize("call", ["write", "fsync", "fchmod", "rename"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    file = tmp_path / "c.json"
    file.write_bytes(b"old")
    held = keep.read(str(file))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(NotChanged) as caught:
        keep.replace(held, b"new")
    monkeypatch.undo()
    assert "no space left" in caught.value.what
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["c.json"]


def test_two_names_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_bytes(b"old")
    os.link(file, tmp_path / "other")
    with pytest.raises(NotChanged) as caught:
        keep.replace(keep.read(str(file)), b"new")
    assert code_of(caught) == "hard-linked"
    assert (tmp_path / "other").read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_anothers_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_bytes(b"old")
    os.chown(file, 12345, 12345)
    with pytest.raises(NotChanged) as caught:
        keep.replace(keep.read(str(file)), b"new")
    assert code_of(caught) == "not-yours"


@pytest.mark.parametrize("kind", ["directory", "pipe", "nothing", "loop"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "c.json"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    with pytest.raises(NotChanged):
        keep.read(str(path))


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "LARGEST", 3)
    file = tmp_path / "c.json"
    file.write_bytes(b"four")
    with pytest.raises(NotChanged) as caught:
        keep.read(str(file))
    assert code_of(caught) == "too-large"


def test_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "LOCK_S", 0.0)
    environ = {"HOME": str(tmp_path)}
    with keep.alone(environ), pytest.raises(NotChanged) as caught, keep.alone(environ):
        raise AssertionError("two were alone")
    assert code_of(caught) == "busy"
    with keep.alone(environ):
        assert stat.S_IMODE(os.stat(keep.folder_of(environ)).st_mode) == 0o700


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    with keep.alone(environ):
        pass
    fd = os.open(os.path.join(keep.folder_of(environ), "lock"), os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)
