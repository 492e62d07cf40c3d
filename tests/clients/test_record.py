"""What is remembered of a changed file is believed only while nobody else can have written it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.clients.keep import folder_of
from sandbox.clients.record import Record, Written, digest, forget, recall, remember

REAL = "/home/me/.cursor/mcp.json"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def record(base: bytes = b"{}") -> Record:
    written = (Written(("mcpServers", "a", 0), "/x/mcp-sandbox", ("run", "--", "y")),)
    return Record(REAL, base, (digest(b"now"), digest(base)), written, (("/p.toml", digest(b"p")),))


def files(environ: dict[str, str]) -> dict[str, Path]:
    return {path.suffix: path for path in Path(folder_of(environ)).iterdir()}


def test_what_is_remembered_is_recalled(environ: dict[str, str]) -> None:
    kept = remember(record(), environ)
    assert Path(kept).read_bytes() == b"{}"
    assert recall(REAL, environ) == record()
    assert recall("/another", environ) is None
    assert {path.stat().st_mode & 0o777 for path in files(environ).values()} == {0o600}


def test_only_the_last_copy_stays(environ: dict[str, str]) -> None:
    remember(record(b"first"), environ)
    remember(record(b"second"), environ)
    assert sorted(files(environ)) == [".before", ".json"]
    found = recall(REAL, environ)
    assert found is not None
    assert found.base == b"second"
    forget(REAL, environ)
    assert not files(environ)
    assert recall(REAL, environ) is None


def _deep(path: Path) -> None:
    path.write_text("[" * 100_000)


def _of_another_file(path: Path) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "real": "/another"}))


def _by_a_link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


@pytest.mark.parametrize(
    ("suffix", "spoil"),
    [
        pytest.param(".json", lambda path: path.chmod(0o622), id="a record that others may write"),
        pytest.param(".before", lambda path: path.chmod(0o666), id="a copy that others may write"),
        pytest.param(".before", lambda path: path.write_bytes(b"evil"), id="another copy"),
        pytest.param(".before", Path.unlink, id="no copy"),
        pytest.param(".json", lambda path: path.write_text("{}"), id="no record"),
        pytest.param(".json", lambda path: path.write_bytes(b"\xff"), id="no text"),
        pytest.param(".json", _deep, id="a deep one"),
        pytest.param(".json", _of_another_file, id="another file's"),
        pytest.param(".json", _by_a_link, id="a link"),
    ],
)
def test_what_is_not_believed(environ: dict[str, str], suffix: str, spoil: Callable[[Path], object]) -> None:
    remember(record(), environ)
    assert recall(REAL, environ) is not None
    spoil(files(environ)[suffix])
    assert recall(REAL, environ) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_another_users_record_is_not_believed(environ: dict[str, str]) -> None:
    remember(record(), environ)
    os.chown(files(environ)[".json"], 12345, 12345)
    assert recall(REAL, environ) is None
