"""Images against their locks: an engine's answers, layers one over the other, and what was changed behind."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.supply import oci, oci_archive, oci_files
from sandbox.supply.lock import ImageLock

A, B, C, D = (f"sha256:{letter * 64}" for letter in "abcd")


def inspected(**more: Any) -> dict[str, Any]:
    return {"Id": A, "RootFS": {"Type": "layers", "Layers": [B, C]}, "RepoDigests": [f"x/y@{D}"], **more}


# --- an engine's answer ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "known", "wanted"),
    [
        pytest.param("x/y:1", [f"x/y@{D}"], D, id="by a tag"),
        pytest.param(f"x/y@{C}", [f"x/y@{D}", f"x/y@{C}"], C, id="the digest that is named"),
        pytest.param("docker.io/library/debian:12", [f"debian@{D}"], D, id="the default registry"),
        pytest.param("localhost:5000/y:2", [f"localhost:5000/y@{D}"], D, id="a registry with a port"),
        pytest.param("localhost:5000/y", [f"y@{D}"], "", id="another registry"),
        pytest.param("x/y", ["x/y@sha256:no", 7], "", id="no digest"),
        pytest.param("x/y", None, "", id="never at a registry"),
    ],
)
def test_the_digest_is_that_of_the_named_registry(name: str, known: Any, wanted: str) -> None:
    assert oci.registry_digest(name, known) == wanted


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="nothing"),
        pytest.param(inspected(Id="sha256:short"), id="no id"),
        pytest.param(inspected(RootFS=None), id="no layers"),
        pytest.param(inspected(RootFS={"Layers": []}), id="an empty list"),
        pytest.param(inspected(RootFS={"Layers": [B, 1]}), id="a layer that is a number"),
        pytest.param(inspected(RootFS={"Layers": [B] * 600}), id="too many layers"),
    ],
)
def test_what_names_no_content_is_no_image(answer: dict[str, Any]) -> None:
    with pytest.raises(oci.NoImage):
        oci.image_lock("x/y", answer)


def test_an_answer_is_an_image() -> None:
    assert oci.image_lock("x/y:1", inspected()) == ImageLock("x/y:1", A, D, (B, C))


@pytest.mark.parametrize(
    ("found", "says"),
    [
        pytest.param(ImageLock("y", A, "", (B, C)), "", id="the same under another name"),
        pytest.param(ImageLock("y", D, "", (B, D)), f"layer 2 is `{D}`, not `{C}`", id="another layer"),
        pytest.param(ImageLock("y", D, "", (B, C, D)), "3 layers, not 2", id="a layer more"),
        pytest.param(ImageLock("y", D, "", (B,)), "1 layers, not 2", id="a layer fewer"),
        pytest.param(ImageLock("y", D, "", (B, C)), "its configuration is", id="another configuration"),
    ],
)
def test_a_difference_names_the_layer(found: ImageLock, says: str) -> None:
    how = oci.difference(ImageLock("x", A, D, (B, C)), found)
    assert says in how
    assert bool(how) == bool(says)


# --- layers ------------------------------------------------------------------------------------------


class Member(NamedTuple):
    """One entry of an archive."""

    path: str
    content: bytes = b""
    mode: int = 0o644
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    more: dict[str, str] = {}  # noqa: RUF012 - never changed


def folder(path: str, mode: int = 0o755) -> Member:
    return Member(path, mode=mode, kind=tarfile.DIRTYPE)


def packed(*members: Member) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for one in members:
            entry = tarfile.TarInfo(one.path)
            entry.type, entry.mode, entry.linkname = one.kind, one.mode, one.link
            entry.size, entry.pax_headers = len(one.content), dict(one.more)
            archive.addfile(entry, io.BytesIO(one.content))
    return out.getvalue()


def saved(
    *layers: bytes, compressed: bool = False, classic: bool = False, more: Sequence[Member] = ()
) -> bytes:
    """What an engine gives out: as Docker did before 25, or as an OCI layout."""
    ids = [hashlib.sha256(layer).hexdigest() for layer in layers]
    config = json.dumps({"rootfs": {"diff_ids": [f"sha256:{one}" for one in ids]}}).encode()
    names = [f"{one}/layer.tar" if classic else f"blobs/sha256/{one}" for one in ids]
    named = f"{hashlib.sha256(config).hexdigest()}.json"
    listed = json.dumps([{"Config": named, "RepoTags": None, "Layers": names}]).encode()
    blobs = {
        name: Member(name, gzip.compress(layer) if compressed else layer)
        for name, layer in zip(names, layers, strict=True)
    }
    return packed(*blobs.values(), *more, Member(named, config), Member("manifest.json", listed))


def pieces(data: bytes, size: int = 4096) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


BELOW = packed(
    folder("etc"), Member("etc/passwd", b"root"), Member("bin/tool", b"ELF", 0o755), folder("gone/deep")
)


@pytest.mark.parametrize(
    "form", [{}, {"compressed": True}, {"classic": True}], ids=["plain", "gzip", "classic"]
)
def test_layers_are_hashed_as_they_are_unpacked(form: dict[str, bool]) -> None:
    above = packed(Member("etc/passwd", b"other"))
    found = oci_archive.saved(pieces(saved(BELOW, above, **form)))
    assert [digest for digest, _ in found.layers] == [
        f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in (BELOW, above)
    ]
    tree = oci_files.stacked(entries for _, entries in found.layers)
    assert tree["etc/passwd"].value == hashlib.sha256(b"other").hexdigest()
    assert tree["etc/passwd"].layer == 2


def test_an_image_is_known_by_its_manifest_and_its_index_too() -> None:
    """Engines that keep images as registries do name them so."""
    (plain,) = oci_archive.saved(pieces(saved(BELOW))).ids
    manifest = json.dumps({"config": {"digest": plain}, "layers": []}).encode()
    index = json.dumps({"manifests": [{"digest": digest_of(manifest)}]}).encode()
    stranger = json.dumps({"config": {"digest": A}}).encode()
    more = [Member(f"blobs/sha256/{n}", one) for n, one in enumerate((manifest, index, stranger))]
    assert oci_archive.saved(pieces(saved(BELOW, more=more))).ids == {
        plain,
        digest_of(manifest),
        digest_of(index),
    }


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize(
    ("above", "there", "gone"),
    [
        pytest.param([Member("bin/.wh.tool")], [], ["bin/tool"], id="a whiteout"),
        pytest.param([Member(".wh.gone")], [], ["gone/deep"], id="of a folder, with all below"),
        pytest.param(
            [Member("etc/.wh..wh..opq"), Member("etc/new", b"x")],
            ["etc/new"],
            ["etc/passwd"],
            id="opaque, beside what is new",
        ),
        pytest.param(
            [Member("gone", b"a file now")], ["gone"], ["gone/deep"], id="a file in a folder's place"
        ),
        pytest.param(
            [Member("bin/other", kind=tarfile.LNKTYPE, link="bin/tool")],
            ["bin/other", "bin/tool"],
            [],
            id="another name of a file",
        ),
    ],
)
def test_a_layer_lies_over_those_below(above: list[Member], there: list[str], gone: list[str]) -> None:
    image = oci_archive.saved(pieces(saved(BELOW, packed(*above))))
    tree = oci_files.stacked(entries for _, entries in image.layers)
    assert set(there) <= tree.keys()
    assert not set(gone) & tree.keys()


CHANGES: list[Any] = [
    pytest.param([Member("etc/passwd", b"evil")], "etc/passwd", "has other bytes", id="a flipped byte"),
    pytest.param([Member("etc/cron", b"evil")], "etc/cron", "is in no layer", id="an added file"),
    pytest.param(
        [Member("bin/tool", b"ELF", 0o4755)], "bin/tool", "has the mode 4755, not 0755", id="setuid"
    ),
    pytest.param(
        [Member("bin/tool", kind=tarfile.SYMTYPE, link="/tmp/x")],
        "bin/tool",
        "is a symbolic link",
        id="a link",
    ),
    pytest.param(
        [Member("bin/tool", b"ELF", 0o755, more={"SCHILY.xattr.security.capability": "AQ=="})],
        "bin/tool",
        "has other file capabilities",
        id="a capability",
    ),
    pytest.param([Member("etc/.wh.passwd")], "etc/passwd", "of layer 1 is gone", id="a removed file"),
]


@pytest.mark.parametrize(("change", "path", "how"), CHANGES)
def test_what_a_container_gets_otherwise_is_named(change: list[Member], path: str, how: str) -> None:
    image = oci_archive.saved(pieces(saved(BELOW)))
    tree = oci_files.stacked(entries for _, entries in image.layers)
    real = oci_archive.saved(pieces(saved(BELOW, packed(*change))))
    container = oci_files.stacked(entries for _, entries in real.layers)
    assert not list(oci_files.differences(tree, tree))
    (found,) = oci_files.differences(tree, container)
    assert found[0] == path
    assert how in found[1]


def test_what_an_engine_puts_into_every_container_is_no_change() -> None:
    image = oci_files.container_tree(oci_archive.exported(pieces(BELOW)))
    made = packed(folder("etc"), Member("etc/hosts"), folder("dev/pts"), Member(".dockerenv"))
    container = oci_files.container_tree(oci_archive.exported(pieces(BELOW))) | oci_files.container_tree(
        oci_archive.exported(pieces(made))
    )
    assert not list(oci_files.differences(image, container))


# --- hostile archives --------------------------------------------------------------------------------


def empty() -> bytes:
    return b""


def noise() -> bytes:
    return b"\x1f\x8b" + b"x" * 4096


def climbing() -> bytes:
    return saved(packed(Member("../../etc/passwd", b"x")))


def missing() -> bytes:
    return packed(Member("manifest.json", b'[{"Config": "a", "Layers": ["b"]}]'))


def nested() -> bytes:
    return packed(Member("manifest.json", b"[" * 200_000))


def cut() -> bytes:
    return saved(BELOW)[:5000]


@pytest.mark.parametrize("made", [empty, noise, climbing, missing, nested, cut])
def test_an_archive_that_is_none_is_refused(made: Callable[[], bytes]) -> None:
    with pytest.raises(oci_archive.Unreadable):
        oci_archive.saved(pieces(made()))


def test_an_archive_beyond_all_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = saved(packed(Member("zeros", bytes(1 << 20))), compressed=True)
    assert len(bomb) < 1 << 16
    assert oci_archive.saved(pieces(bomb)).layers
    monkeypatch.setattr(oci_archive, "MOST_BYTES", 1 << 19)
    with pytest.raises(oci_archive.Unreadable, match="more than"):
        oci_archive.saved(pieces(bomb))


def test_more_files_than_any_image_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci_archive, "MOST_ENTRIES", 3)
    with pytest.raises(oci_archive.Unreadable, match="more than 3 files"):
        oci_archive.saved(pieces(saved(BELOW)))


@given(st.binary(max_size=2000), st.integers(1, 700))
def test_bytes_are_an_archive_or_refused(data: bytes, size: int) -> None:
    for read in (oci_archive.saved, oci_archive.exported):
        try:
            read(pieces(data, size))
        except oci_archive.Unreadable:
            continue
