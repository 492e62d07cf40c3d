"""What `docker load` gets: an archive made without holding an image, and a configuration that is the id."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from sandbox.imaging.archive import config, stream
from sandbox.imaging.recipe import labels, settings
from sandbox.imaging.tree import Layer

CONFIG = config(settings("node"), labels("node"), ["a" * 64, "b" * 64], "x86_64")


def test_the_configuration_says_how_the_image_starts() -> None:
    document = json.loads(CONFIG)
    assert document["architecture"] == "amd64"
    assert document["created"] == "2026-01-01T00:00:00Z"
    assert document["rootfs"] == {
        "type": "layers",
        "diff_ids": [f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"],
    }
    assert document["config"]["User"] == "1000:1000"
    assert document["config"]["Env"] == ["PATH=/usr/local/bin:/usr/bin:/bin"]
    assert document["config"]["Labels"]["io.mcp-sandbox.image"] == "node"
    assert len(document["history"]) == 2


def test_each_machine_has_its_name_in_the_engines_words() -> None:
    assert json.loads(config(settings("base"), {}, [], "aarch64"))["architecture"] == "arm64"


def test_the_same_facts_give_the_same_id() -> None:
    assert config(settings("node"), labels("node"), ["a" * 64, "b" * 64], "x86_64") == CONFIG


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, (1 << 20) + 7])
def test_the_archive_is_what_an_engine_reads(size: int, tmp_path: Path) -> None:
    path = tmp_path / "layer.tar"
    path.write_bytes(b"x" * size)
    layer = Layer(str(path), "d" * 64, size, {})
    pieces = list(stream(CONFIG, [layer], "mcp-sandbox/node:1"))
    assert max(map(len, pieces)) <= (1 << 20)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        content = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    name = f"{hashlib.sha256(CONFIG).hexdigest()}.json"
    place = f"{'d' * 64}/layer.tar"
    assert content[name] == CONFIG
    assert content[place] == b"x" * size
    assert json.loads(content["manifest.json"]) == [
        {"Config": name, "RepoTags": ["mcp-sandbox/node:1"], "Layers": [place]}
    ]
