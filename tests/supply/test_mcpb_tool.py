"""Bundles as the format's own tool packs and signs them (`@anthropic-ai/mcpb`)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from sandbox.errors import SandboxError
from sandbox.supply import unbundle
from sandbox.supply.store import Store
from tests.supply.bundled import SERVER, Key, key, manifest, started

pytestmark = pytest.mark.long

TOOL = "@anthropic-ai/mcpb@2.1.2"
Tool = Callable[..., str]


@pytest.fixture(scope="session")
def tool(shared_cache: Path) -> Tool:
    """Runs the tool, which comes from npm once."""
    place = shared_cache / "mcpb-tool"
    program = place / "node_modules/.bin/mcpb"
    if not program.exists():
        words = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            str(place),
            TOOL,
        ]
        subprocess.run(words, check=True, capture_output=True, timeout=300)

    def run(*words: str | Path, status: int = 0) -> str:
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def packed(tool: Tool, tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "server").mkdir(parents=True)
    (folder / "server/main.py").write_text(SERVER)
    (folder / "manifest.json").write_text(json.dumps(manifest()))
    tool("pack", folder, tmp_path / "made.mcpb")
    return tmp_path / "made.mcpb"


def read(path: Path, tmp_path: Path) -> unbundle.Read:
    return unbundle.read(str(path), Store(str(tmp_path / "store")))


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3", "0.4"])
def test_what_we_take_for_a_manifest_it_does_too(tool: Tool, tmp_path: Path, version: str) -> None:
    option = {
        "type": "directory",
        "title": "t",
        "description": "d",
        "multiple": True,
        "default": ["${HOME}/x"],
    }
    server = started(
        "python", "${__dirname}/server/main.py", "${user_config.d}", env={"A": "${user_config.d}"}
    )
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest(manifest_version=version, server=server, user_config={"d": option})))
    assert "is valid" in tool("validate", path) or "passes" in tool("validate", path)


def test_a_packed_bundle_is_unpacked_file_by_file(packed: Path, tmp_path: Path) -> None:
    found = read(packed, tmp_path)
    assert (found.signed, found.unchecked, found.vouched) == ("", "", False)
    store = Store(str(tmp_path / "store"))
    entry = unbundle.unpack(str(packed), found.sha256, "bundled@1.0.0", store, lambda _: None)
    tree = Path(store.tree(entry.digest))
    assert (tree / "server/main.py").read_text() == SERVER
    assert sorted(path.name for path in tree.iterdir()) == ["manifest.json", "server"]


def test_a_signature_of_its_own_word_is_said_so_and_an_altered_bundle_is_refused(
    tool: Tool, packed: Path, tmp_path: Path
) -> None:
    before = packed.read_bytes()
    tool("sign", "--self-signed", packed)
    whole = packed.read_bytes()
    assert whole.startswith(before)
    assert "its own word alone" in read(packed, tmp_path).signed
    packed.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    with pytest.raises(SandboxError, match="about other bytes"):
        read(packed, tmp_path)
    # Its signature taken away, it is one that nobody signed: which is said.
    packed.write_bytes(before)
    assert read(packed, tmp_path).signed == ""


def test_a_chain_that_the_tool_was_given(tool: Tool, packed: Path, tmp_path: Path) -> None:
    root = key("A Root", ca=True)
    middle = key("Between", root, ca=True)
    leaf = key("A Company", middle)
    words = ["--cert", _pem(tmp_path, "leaf", leaf), "--key", _private(tmp_path, leaf)]
    tool("sign", *words, "--intermediate", _pem(tmp_path, "middle", middle), "--", packed)
    found = read(packed, tmp_path)
    assert "A Company" in found.signed
    assert "no authority of this machine's" in found.signed


def _pem(folder: Path, name: str, one: Key) -> str:
    path = folder / f"{name}.pem"
    path.write_bytes(one.certificate.public_bytes(serialization.Encoding.PEM))
    return str(path)


def _private(folder: Path, one: Key) -> str:
    path = folder / "key.pem"
    encoding, style = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(one.key.private_bytes(encoding, style, serialization.NoEncryption()))
    os.chmod(path, 0o600)
    return str(path)
