"""A bundle's file is known again only while it is the very same, and is unpacked once."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import SandboxError
from sandbox.supply import unbundle, zipped
from sandbox.supply.store import Store
from sandbox.supply.verify import verify
from tests.supply.bundled import block, bundle, key, manifest, signature
from tests.supply.bundled import zipped as packed


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return bundle(tmp_path / "b.mcpb", manifest(name="aaaa"))


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if what is there now had been there for long: else nothing is noted."""
    later = time.time_ns() + 60 * 10**9
    monkeypatch.setattr(unbundle.time, "time_ns", lambda: later)


def noted(store: Store) -> list[Path]:
    return list(Path(store.root, "bundles").glob("*.json"))


def test_what_was_read_once_is_not_read_again(
    file: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unbundle.read(str(file), store).sha256 == sha(file)
    assert noted(store) == []  # it could still change within one tick of the clock
    settled(monkeypatch)
    first = unbundle.read(str(file), store)
    monkeypatch.setattr(unbundle, "_read", None)
    assert unbundle.read(str(file), store) == first
    assert first.sha256 == sha(file)


def test_a_change_that_keeps_size_and_time_is_seen(
    file: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(monkeypatch)
    one, other = (
        packed({"manifest.json": json.dumps(manifest(name=name))}, method=zipfile.ZIP_STORED)
        for name in ("aaaa", "bbbb")
    )
    file.write_bytes(one)
    before, first = file.stat(), unbundle.read(str(file), store)
    with file.open("r+b") as opened:
        opened.write(other)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    # Whoever looks at size and time alone is deceived.
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    found = unbundle.read(str(file), store)
    assert found.sha256 == sha(file) != first.sha256


def test_a_note_that_is_damaged_is_none(file: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    whole = unbundle.read(str(file), store)
    for content in ("", "[]", "{}", '{"schema": 2}', json.dumps({"schema": 2, "stamp": [], "more": 1})):
        noted(store)[0].write_text(content)
        assert unbundle.read(str(file), store) == whole


def test_what_is_unpacked_is_what_was_hashed(file: Path, store: Store) -> None:
    expected = sha(file)
    bundle(file, manifest(name="another"))
    with pytest.raises(SandboxError) as error:
        unbundle.unpack(str(file), expected, "t@1", store, print)
    assert error.value.code == "bundle-changed"
    assert not list(Path(store.root, "keys").iterdir())
    assert not list(Path(store.root, "staging").iterdir())


def test_many_that_unpack_at_once_get_one_tree(file: Path, store: Store) -> None:
    said: list[str] = []
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(unbundle.unpack, str(file), sha(file), "t@1", store, said.append) for _ in range(8)
        ]
        digests = {job.result().digest for job in jobs}
    assert (len(digests), said) == (1, ["unpacked t@1"])
    verify(store, digests.pop(), deep=True)


KILLED = """import os, sys
from sandbox.supply import unbundle
from sandbox.supply.store import Store
n, path, sha, root = int(sys.argv[1]), *sys.argv[2:]
count = 0
def watch(event, args):
    global count
    if event in ("open", "os.rename", "os.mkdir", "os.chmod", "os.link") and root in str(args[0]):
        count += 1
        if count == n:
            os.kill(os.getpid(), 9)
sys.addaudithook(watch)
unbundle.unpack(path, sha, "t@1", Store(root), print)
"""


@pytest.mark.parametrize("step", [3, 6, 9, 12])
def test_one_that_is_killed_leaves_a_store_that_unpacks_again(file: Path, store: Store, step: int) -> None:
    words = [sys.executable, "-c", KILLED, str(step), str(file), sha(file), store.root]
    assert subprocess.run(words, capture_output=True, timeout=60).returncode == -9
    entry = unbundle.unpack(str(file), sha(file), "t@1", store, lambda _: None)
    verify(store, entry.digest, deep=True)
    assert not list(Path(store.root, "staging").iterdir())


# --- what is none ----------------------------------------------------------------------------------


def _refused(path: Path, store: Store) -> SandboxError:
    with pytest.raises(SandboxError) as error:
        unbundle.manifest_of(unbundle.read(str(path), store), str(path))
    assert str(path) in error.value.what
    return error.value


def test_a_file_that_is_no_file(tmp_path: Path, store: Store) -> None:
    os.mkfifo(tmp_path / "pipe.mcpb")
    assert _refused(tmp_path / "pipe.mcpb", store).code == "bundle-not-found"
    assert _refused(tmp_path, store).code == "bundle-not-found"
    assert _refused(tmp_path / "gone.mcpb", store).code == "bundle-not-found"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"", "no zip file", id="empty"),
        pytest.param(packed({"x": "y"}), "it has no `manifest.json`", id="without a manifest"),
        pytest.param(
            packed({"manifest.json": "[]"}), "its manifest is no object", id="a manifest that is none"
        ),
        pytest.param(packed({"manifest.json": b"\xff"}), "decode", id="a manifest that is no text"),
        pytest.param(packed({"manifest.json": " " * (1 << 21)}), "larger than", id="a huge manifest"),
        pytest.param(packed({"manifest.json": "{}"}) + b"MCPB_SIG_END", "cut off", id="half a signature"),
        pytest.param(packed({"manifest.json": "{}"}) + block(b"0"), "its signature", id="no signature"),
    ],
)
def test_a_file_that_is_no_bundle(content: bytes, why: str, tmp_path: Path, store: Store) -> None:
    path = tmp_path / "b.mcpb"
    path.write_bytes(content)
    assert why in _refused(path, store).what


def test_a_file_that_is_too_large_is_not_read(
    file: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipped, "LARGEST", 100)
    assert "larger than" in _refused(file, store).what


def test_what_is_signed_is_the_archive_that_is_read(tmp_path: Path, store: Store) -> None:
    """Another archive within the signature's own block is what a reader finds that looks from the end."""
    content = bundle(tmp_path / "b.mcpb").read_bytes()
    evil = packed({"manifest.json": json.dumps(manifest(name="evil"))})
    der = signature(content, key("Me"))
    path = tmp_path / "signed.mcpb"
    path.write_bytes(content + block(der))
    assert json.loads(unbundle.read(str(path), store).manifest)["name"] == "bundled"
    path.write_bytes(content + b"MCPB_SIG_V1" + evil + block(der))
    _refused(path, store)


def test_no_byte_of_a_signed_bundle_can_be_another(tmp_path: Path, store: Store) -> None:
    content = bundle(tmp_path / "b.mcpb").read_bytes()
    whole = content + block(signature(content, key("Me")))
    path = tmp_path / "signed.mcpb"
    chance = random.Random(9)  # noqa: S311 - a seed of the test's own
    for at in chance.sample(range(len(content)), 150):
        altered = bytearray(whole)
        altered[at] ^= 1 << chance.randrange(8)
        path.write_bytes(altered)
        assert "about other bytes" in _refused(path, store).what
    path.write_bytes(whole)
    assert unbundle.read(str(path), store).signed


def test_without_the_library_a_signature_is_said_to_be_unchecked(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bundle(tmp_path / "b.mcpb").read_bytes()
    (tmp_path / "b.mcpb").write_bytes(content + block(signature(content, key("Me"))))

    def missing(*_: Any) -> Any:
        raise ImportError("cryptography")

    monkeypatch.setattr("sandbox.supply.mcpb_signature.verify", missing)
    settled(monkeypatch)
    found = unbundle.read(str(tmp_path / "b.mcpb"), store)
    assert (found.signed, found.vouched, noted(store)) == ("", False, [])
    assert "was not checked" in found.unchecked
