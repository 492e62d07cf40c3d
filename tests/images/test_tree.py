"""Layers from tar streams: the same for the same files, and only what the tree below has not."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from sandbox.imaging.recipe import EPOCH
from sandbox.imaging.tree import Index, Layer, gone, layer

NOW = 2_000_000_000
OLD = 1_500_000_000


def entry(name: str, content: bytes | None = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.mtime = OLD
    if content is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    else:
        info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content or b""


def stream(*entries: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    out.seek(0)
    return out


def made(tmp_path: Path, *entries: tuple[tarfile.TarInfo, bytes], below: Index | None = None) -> Layer:
    return layer(stream(*entries), str(tmp_path / "layer.tar"), since=NOW, below=below or {})


def inside(one: Layer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(one.path) as archive:
        return {member.name: member for member in archive}


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=kind, linkname=target, size=0)


def test_what_the_build_wrote_bears_one_moment_and_packages_keep_theirs(tmp_path: Path) -> None:
    found = inside(made(tmp_path, entry("./a", mtime=NOW + 5), entry("./b")))
    assert (found["a"].mtime, found["b"].mtime) == (EPOCH, OLD)


def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    first = made(tmp_path, entry("./a", b"x", mtime=NOW, uname="root", gname="root"))
    second = made(tmp_path, entry("a", b"x", mtime=NOW + 60, uname="builder", gname="users"))
    assert first.digest == second.digest
    assert made(tmp_path, entry("a", b"y", mtime=NOW)).digest != first.digest


@pytest.mark.parametrize(
    "name",
    ["./etc/apt/sources.list", "./etc/apt/apt.conf.d/machine", "./etc/resolv.conf", "./build/finish"],
)
def test_nothing_of_the_builders_machine_is_in_it(name: str, tmp_path: Path) -> None:
    assert set(inside(made(tmp_path, entry(name, b"secret"), entry("./etc/kept", b"")))) == {"etc/kept"}


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_no_device_is_in_it(kind: bytes, tmp_path: Path) -> None:
    assert inside(made(tmp_path, entry("./odd", type=kind))) == {}


def test_no_file_of_it_gives_its_owners_rights(tmp_path: Path) -> None:
    found = inside(made(tmp_path, entry("su", mode=0o4755), entry("mail", None, mode=0o2775)))
    assert {name: one.mode for name, one in found.items()} == {"su": 0o755, "mail": 0o775}
    assert inside(made(tmp_path, entry("tmp", None, mode=0o1777)))["tmp"].mode == 0o1777


# --- upon another layer -----------------------------------------------------------------------------


def test_only_what_is_new_or_changed_is_in_the_upper_layer(tmp_path: Path) -> None:
    lower = made(tmp_path, entry("same", b"1"), entry("bytes", b"1"), entry("mode", b"1", mode=0o644))
    upper = made(
        tmp_path,
        entry("same", b"1"),
        entry("bytes", b"2"),
        entry("mode", b"1", mode=0o755),
        entry("new"),
        below=lower.index,
    )
    assert set(inside(upper)) == {"bytes", "mode", "new"}


def test_the_folders_that_lead_to_a_change_keep_their_attributes(tmp_path: Path) -> None:
    folders = entry("usr", None), entry("usr/lib", None, mode=0o700), entry("usr/other", None)
    lower = made(tmp_path, *folders)
    upper = made(tmp_path, *folders, entry("usr/lib/x"), below=lower.index)
    assert list(inside(upper)) == ["usr", "usr/lib", "usr/lib/x"]
    assert inside(upper)["usr/lib"].mode == 0o700


def test_what_is_gone_is_covered(tmp_path: Path) -> None:
    lower = made(tmp_path, entry("a", None), entry("a/b"), entry("c", None), entry("c/d"))
    upper = made(tmp_path, entry("c", None), below=lower.index)
    assert set(inside(upper)) == {".wh.a", "c", "c/.wh.d"}
    assert list(gone(lower.index, lower.index)) == []


def test_other_names_of_one_file_go_along_with_it(tmp_path: Path) -> None:
    both = link("two", "one", tarfile.LNKTYPE)
    lower = made(tmp_path, entry("one", b"1"), both)
    assert set(inside(made(tmp_path, entry("one", b"1"), both, below=lower.index))) == set()
    assert set(inside(made(tmp_path, entry("one", b"2"), both, below=lower.index))) == {"one", "two"}


def test_another_name_of_a_file_below_is_an_error_no_engine_would_unpack_it(tmp_path: Path) -> None:
    lower = made(tmp_path, entry("one", b"1"))
    with pytest.raises(tarfile.TarError, match="`two` is another name of `one`"):
        made(tmp_path, entry("one", b"1"), link("two", "one", tarfile.LNKTYPE), below=lower.index)


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    lower = made(tmp_path, link("sh", "dash"))
    assert set(inside(made(tmp_path, link("sh", "bash"), below=lower.index))) == {"sh"}
