"""A stranger's file, fetched: the very one whose hash is known, from where anybody could fetch it."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import fetched
from sandbox.errors import SandboxError

CONTENT = b"content " * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ENVIRON = {"no_proxy": "127.0.0.1"}


class _Far(http.server.BaseHTTPRequestHandler):
    """Serves the content, or leads elsewhere: `/to/URL`."""

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        self.send_response(404 if self.path == "/gone" else 200)
        if self.path == "/packed":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def far() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Far)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def fetch(url: str, folder: Path, sha256: str = SHA256, largest: int = 1 << 20) -> str:
    return fetched.fetch(fetched.Wish(url, sha256, largest), str(folder), ".mcpb", ENVIRON)


@pytest.mark.parametrize("path", ["/file", "/to//file", "/to//to//to//file"])
def test_it_is_kept_under_its_hash(far: str, path: str, tmp_path: Path) -> None:
    place = fetch(far + path, tmp_path / "kept")
    assert Path(place).read_bytes() == CONTENT
    assert os.listdir(tmp_path / "kept") == [f"{SHA256}.mcpb"]
    assert os.stat(place).st_mode & 0o077 == 0
    # What is there is not fetched again, unless it is another by now.
    assert fetch("https://nowhere.invalid/", tmp_path / "kept") == place
    Path(place).write_bytes(b"altered")
    assert Path(fetch(far + path, tmp_path / "kept")).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("url", "why"),
    [
        pytest.param("{far}/gone", "status 404", id="gone"),
        pytest.param("{far}/packed", "status 200", id="packed"),
        pytest.param(
            "{far}/to/{far}/to/{far}/to/{far}/to/{far}/to/{far}/to/x", "more than 5 times", id="on and on"
        ),
        pytest.param("{far}/to/https://169.254.169.254/", "address", id="to the cloud's metadata"),
        pytest.param("{far}/to/https://10.0.0.1/", "address", id="into the company"),
        pytest.param("{far}/to/http://example.org/", "not encrypted", id="away from TLS"),
        pytest.param("{far}/to/file:///etc/passwd", "https://", id="to a file"),
        pytest.param("http://127.0.0.1:1/", "refused", id="to nobody"),
    ],
)
def test_what_is_not_fetched(far: str, url: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(SandboxError) as error:
        fetch(url.replace("{far}", far), tmp_path / "kept")
    assert (error.value.code, why in error.value.what.lower()) == ("not-fetched", True), error.value.what
    assert os.listdir(tmp_path / "kept") == []


def test_another_file_is_refused_and_not_kept(far: str, tmp_path: Path) -> None:
    with pytest.raises(SandboxError) as error:
        fetch(f"{far}/file", tmp_path / "kept", sha256="0" * 64)
    assert error.value.code == "fetched-other"
    assert os.listdir(tmp_path / "kept") == []


def test_more_than_there_may_be_is_not_read(far: str, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="larger than"):
        fetch(f"{far}/file", tmp_path / "kept", largest=len(CONTENT) - 1)


def test_from_a_public_address_nothing_leads_to_this_machine(
    far: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of the network's that answers for a service of this machine's."""
    inside = fetched._connected

    async def first_to_far(wish: fetched.Wish, url: fetched.Url, environ: object) -> object:
        real = fetched._url(wish, f"{far}{url.path}") if url.host == "far.example" else url
        return await inside(wish, real, ENVIRON)

    monkeypatch.setattr(fetched, "_connected", first_to_far)
    assert fetch("https://far.example/file", tmp_path / "kept")
    with pytest.raises(SandboxError, match="this machine itself"):
        fetch(f"https://far.example/to/{far}/file", tmp_path / "other")
