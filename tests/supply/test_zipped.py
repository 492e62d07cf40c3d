"""A zip file of a stranger's, unpacked: what a plain unpacker does with it, and what ours refuses."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.supply import zipped
from sandbox.supply.zipped import Archive, Refused
from tests.supply.bundled import FIFO, LINK
from tests.supply.bundled import zipped as packed


def unpacked(data: bytes, root: Path) -> list[str]:
    root.mkdir(exist_ok=True)
    Archive(io.BytesIO(data), len(data)).unpack(str(root))
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def plainly(data: bytes, root: Path) -> None:
    """What a dozen lines do that trust what they read."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            place = Path(os.path.normpath(root / entry.orig_filename))
            place.parent.mkdir(parents=True, exist_ok=True)
            if stat.S_ISLNK(entry.external_attr >> 16):
                place.symlink_to(archive.read(entry).decode())
            else:
                place.write_bytes(archive.read(entry))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where it is unpacked; beside it nothing may change."""
    return tmp_path / "deep/er/tree"


def test_files_keep_their_content_and_whether_they_run(tmp_path: Path) -> None:
    plain, runs = packed({"a/b.txt": "x" * 5000}), packed({"bin/server": "#!/bin/sh\n"}, mode=0o100755)
    assert unpacked(plain, tmp_path / "plain") == ["a", "a/b.txt"]
    assert (tmp_path / "plain/a/b.txt").read_text() == "x" * 5000
    unpacked(runs, tmp_path / "runs")
    assert os.access(tmp_path / "runs/bin/server", os.X_OK)
    assert not os.access(tmp_path / "plain/a/b.txt", os.X_OK)


# --- out of the tree -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../evil", "a/../../../evil", "{tmp}/evil"])
def test_a_name_that_leads_out_is_refused(name: str, root: Path, tmp_path: Path) -> None:
    data = packed({name.replace("{tmp}", str(tmp_path)): "pwned"})
    plainly(data, root)
    escaped = list(tmp_path.glob("evil")) + list(tmp_path.glob("deep/evil"))
    assert [path.read_text() for path in escaped] == ["pwned"]  # without it the attack is one
    escaped[0].unlink()
    with pytest.raises(Refused, match="leads out"):
        unpacked(data, tmp_path / "ours")
    assert not list(tmp_path.rglob("evil"))


def test_a_link_is_refused_and_nothing_is_written_through_it(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        entry = zipfile.ZipInfo("way")
        entry.create_system, entry.external_attr = 3, LINK << 16
        archive.writestr(entry, str(outside))
        archive.writestr("way/evil", "pwned")
    plainly(made.getvalue(), root)
    assert (outside / "evil").read_text() == "pwned"
    (outside / "evil").unlink()
    with pytest.raises(Refused, match="a link"):
        unpacked(made.getvalue(), tmp_path / "ours")
    assert list(outside.iterdir()) == []


# --- too much --------------------------------------------------------------------------------------


def test_what_unpacks_to_more_than_it_may_is_refused_before_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = packed({f"{n}.txt": bytes(1 << 20) for n in range(4)})
    assert len(data) < 1 << 14  # four MiB in a few KiB
    plainly(data, tmp_path / "plain")
    assert sum(path.stat().st_size for path in (tmp_path / "plain").iterdir()) == 4 << 20
    monkeypatch.setattr(zipped, "UNPACKED", 3 << 20)
    with pytest.raises(Refused, match="unpacks to more"):
        unpacked(data, tmp_path / "ours")
    assert list((tmp_path / "ours").iterdir()) == []


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """One compressed body, named a thousand times by the directory alone."""
    one = packed({"0" * 4: bytes(1 << 16)})
    at = one.index(b"PK\1\2")
    end = one.index(b"PK\5\6")
    record = one[at:end]
    records = b"".join(record.replace(b"0000", b"%04d" % n) for n in range(1000))
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1000, 1000, len(records), at, 0)
    data = one[:at] + records + tail
    assert len(zipfile.ZipFile(io.BytesIO(data)).infolist()) == 1000
    with pytest.raises(Refused, match="belongs to two"):
        unpacked(data, tmp_path / "ours")


def test_a_size_that_is_a_lie_is_found_out(tmp_path: Path) -> None:
    data = packed({"a": bytes(100_000)})
    at = data.index(b"PK\1\2")
    lie = bytearray(data)
    lie[at + 24 : at + 28] = struct.pack("<L", 10)
    with pytest.raises(Refused, match=r"damaged|longer"):
        unpacked(bytes(lie), tmp_path / "ours")


# --- names that mean two things --------------------------------------------------------------------


def _twice(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, "" if name.endswith("/") else name)
    return made.getvalue()


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("server.js", "Server.js"), id="in their case alone"),
        pytest.param(("stra\u00dfe", "STRASSE"), id="folded"),
        pytest.param(("caf\u00e9", "cafe\u0301"), id="by their normal form"),
        pytest.param(("a", "a/b"), id="a file above another"),
        pytest.param(("A/b", "a"), id="a file above another in its case alone"),
    ],
)
def test_two_names_for_one_place_are_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(Refused, match="there twice"):
        unpacked(_twice(*names), tmp_path / "ours")


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        data = _twice("manifest.json", "manifest.json")
    with pytest.raises(Refused, match="there twice"):
        unpacked(data, tmp_path / "ours")


def test_directories_may_be_there_as_often_as_they_like(tmp_path: Path) -> None:
    assert unpacked(_twice("a/", "a/b", "A/c"), tmp_path / "ours") == ["A", "A/c", "a", "a/b"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("a\\..\\b", "characters", id="a backslash"),
        pytest.param("C:/x", "leads out", id="a drive"),
        pytest.param("a//b", "no plain path", id="an empty part"),
        pytest.param("./a", "no plain path", id="here"),
        pytest.param("a\x1b[2Jb", "characters", id="what a terminal obeys"),
        pytest.param("a\u202etxt.js", "characters", id="right to left"),
        pytest.param("/".join("d" * 70), "too long", id="deep"),
        pytest.param("n" * 300, "too long", id="long"),
    ],
)
def test_a_strange_name_is_refused(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=why) as refused:
        unpacked(_twice(name), tmp_path / "ours")
    assert str(refused.value).isprintable()


def test_a_name_is_not_cut_at_its_nul(tmp_path: Path) -> None:
    data = _twice("good.js#evil").replace(b"good.js#evil", b"good.js\0evil")
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["good.js"]  # so does the library
    with pytest.raises(Refused, match="characters"):
        unpacked(data, tmp_path / "ours")


@pytest.mark.parametrize("change", [lambda data: b"#!/bin/sh\n" + data, lambda data: data + b"more"])
def test_nothing_stands_before_or_behind_it(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    data = change(packed({"a": "b"}))
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["a"]  # which the library reads all the same
    with pytest.raises(Refused, match="stands"):
        unpacked(data, tmp_path / "ours")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param({"flag_bits": 1}, "encrypted", id="encrypted"),
        pytest.param({"compress_type": zipfile.ZIP_LZMA}, "method", id="another method"),
        pytest.param({"external_attr": FIFO << 16, "create_system": 3}, "neither", id="a pipe"),
        pytest.param({"external_attr": 0o040755 << 16, "create_system": 3}, "both", id="a directory"),
    ],
)
def test_a_strange_entry_is_refused(change: dict[str, Any], why: str) -> None:
    entry = zipfile.ZipInfo("a")
    for name, value in change.items():
        setattr(entry, name, value)
    with pytest.raises(Refused, match=why):
        zipped._check_entry(entry)


@given(st.binary(max_size=400), st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_whatever_the_bytes_are_it_is_refused_or_unpacked(noise: bytes, at: int) -> None:
    """No other error comes of a damaged file, and no name leads anywhere."""
    whole = packed({"a/b": "content", "c": "more"})
    for data in (noise, whole[:at] + noise[:3] + whole[at + 3 :]):
        with suppress(Refused):
            archive = Archive(io.BytesIO(data), len(data))
            for name in archive.names:
                archive.member(name, 1 << 20)
