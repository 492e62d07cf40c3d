"""Programs outside the store: measured without a change to them, and refused once they differ."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sandbox.errors import SandboxNotBuilt
from sandbox.supply import in_place
from sandbox.supply.in_place import measured, unchanged


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "checkout"
    (place / "src").mkdir(parents=True)
    (place / "src/main.py").write_text("print('good')\n")
    (place / "run").write_text("#!/bin/sh\n")
    (place / "run").chmod(0o750)
    (place / "link").symlink_to("src/main.py")
    (place / ".git").mkdir()
    (place / ".git/HEAD").write_text("ref: refs/heads/main\n")
    return place


@pytest.fixture
def notes(tmp_path: Path) -> str:
    return str(tmp_path / "notes")


GIT = frozenset([".git"])


def _refused(path: Path, digest: str, notes: str, named: str) -> None:
    with pytest.raises(SandboxNotBuilt) as refused:
        unchanged(str(path), digest, notes, without=GIT, hint="do this")
    assert (refused.value.code, refused.value.hint) == ("tree-changed", "do this")
    assert f"`{named}`" in refused.value.what


def test_measuring_changes_nothing(checkout: Path) -> None:
    before = {path: (path.lstat().st_mode, path.lstat().st_ctime_ns) for path in checkout.rglob("*")}
    digest, files, size = measured(str(checkout), without=GIT)
    assert {path: (path.lstat().st_mode, path.lstat().st_ctime_ns) for path in checkout.rglob("*")} == before
    assert (files, size > 0, measured(str(checkout), without=GIT)[0] == digest) == (4, True, True)
    assert measured(str(checkout))[0] != digest


@pytest.mark.parametrize("noted", [True, False])
def test_a_tree_that_is_touched_is_refused_and_named(checkout: Path, notes: str, noted: bool) -> None:
    digest = measured(str(checkout), without=GIT, notes=notes if noted else "")[0]
    for _ in range(3):  # first without a list, then by reading, then by stamps
        unchanged(str(checkout), digest, notes, without=GIT)
    (checkout / ".git/index").write_text("moved on")
    unchanged(str(checkout), digest, notes, without=GIT)
    (checkout / "src/main.py").write_text("print('evil')\n")
    _refused(checkout, digest, notes, f"{checkout}/src/main.py")


def test_an_added_file_and_a_lost_mode_are_named(checkout: Path, notes: str) -> None:
    digest = measured(str(checkout), without=GIT, notes=notes)[0]
    (checkout / "src/os.py").touch()
    _refused(checkout, digest, notes, f"{checkout}/src/os.py")
    (checkout / "src/os.py").unlink()
    (checkout / "run").chmod(0o640)
    _refused(checkout, digest, notes, f"{checkout}/run")
    (checkout / "run").chmod(0o700)  # who may read it is the host's business
    unchanged(str(checkout), digest, notes, without=GIT)


def test_one_that_was_touched_before_the_first_look_is_refused(checkout: Path, notes: str) -> None:
    digest = measured(str(checkout), without=GIT)[0]
    (checkout / "src/main.py").write_text("print('evil')\n")
    _refused(checkout, digest, notes, str(checkout))


def test_one_that_is_gone_or_a_link_is_refused(checkout: Path, notes: str) -> None:
    digest = measured(str(checkout), without=GIT, notes=notes)[0]
    checkout.rename(other := checkout.with_name("other"))
    _refused(checkout, digest, notes, str(checkout))
    checkout.symlink_to(other)
    _refused(checkout, digest, notes, str(checkout))


def test_a_program_is_refused_once_a_byte_is_another(tmp_path: Path, notes: str) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF good")
    digest, files, size = measured(str(program))
    assert (files, size) == (1, 9)
    for _ in range(2):
        unchanged(str(program), digest, notes)
    times = program.stat()
    program.write_bytes(b"\x7fELF evil")
    os.utime(program, ns=(times.st_atime_ns, times.st_mtime_ns))
    _refused(program, digest, notes, str(program))
    program.unlink()
    _refused(program, digest, notes, str(program))


def test_what_is_no_file_is_not_measured(checkout: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(checkout / "socket"))
        with pytest.raises(SandboxNotBuilt, match="socket") as refused:
            measured(str(checkout))
    assert refused.value.code == "not-measured"
    with pytest.raises(SandboxNotBuilt, match="no file"):
        measured("/dev/null")


def test_what_has_no_end_is_not_measured(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_place, "MOST_FILES", 3)
    with pytest.raises(SandboxNotBuilt, match="more than 3 files"):
        measured(str(checkout))
    monkeypatch.undo()
    (checkout / "sparse").touch()
    os.truncate(checkout / "sparse", 1 << 40)
    with pytest.raises(SandboxNotBuilt, match="GiB"):
        measured(str(checkout))
