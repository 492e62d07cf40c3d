"""What is asked of registries about where packages come from, and what becomes of their answers."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sandbox.supply import provenance, public
from sandbox.supply.job import BuildJob
from sandbox.supply.lock import Package
from sandbox.supply.osv import Ecosystem
from sandbox.supply.resolved import Resolution, Said, Signature
from sandbox.supply.signatures import BUILT_IN

NPM = Package("@s/a", "1.0.0", ("sha512-x",), "https://r.example:8443/npm/@s/a/-/a-1.0.0.tgz")
PYPI = Package(
    "a", "1.0", ("sha256:00",), f"https://{public.PYPI_FILES}/packages/aa/bb/a-1.0-py3-none-any.whl"
)
UNKNOWN = (Signature("SHA256:other", "x"),)
KNOWN = (Signature(BUILT_IN[1].keyid, "x"),)
HOSTS = ("r.example:8443", f"{public.PYPI}:443", f"{public.PYPI_FILES}:443")
INTEGRITY = f"https://{public.PYPI}/integrity/a/1.0/a-1.0-py3-none-any.whl/provenance"


@pytest.mark.parametrize(
    ("ecosystem", "package", "said", "asked"),
    [
        pytest.param("npm", NPM, {}, [], id="npm: nothing to check"),
        pytest.param("npm", NPM, {"signatures": KNOWN}, [], id="npm: a key that is known"),
        pytest.param(
            "npm",
            NPM,
            {"signatures": UNKNOWN},
            ["https://r.example:8443/npm/-/npm/v1/keys"],
            id="npm: the registry's keys",
        ),
        pytest.param(
            "npm",
            NPM,
            {"attestations": "https://r.example:8443/x"},
            ["https://r.example:8443/x"],
            id="npm: its attestations",
        ),
        pytest.param("npm", NPM, {"attestations": "https://evil.example/x"}, [], id="a host of its own"),
        pytest.param("npm", NPM, {"attestations": "http://r.example/x"}, [], id="another port"),
        pytest.param("npm", NPM, {"attestations": "https://u:p@r.example:8443/x"}, [], id="a login"),
        pytest.param("npm", NPM, {"attestations": "https://r.example:8443/\n"}, [], id="a line's end"),
        pytest.param("npm", NPM, {"attestations": "file:///etc/passwd"}, [], id="no web address"),
        pytest.param("npm", NPM, {"attestations": "https://[::1/x"}, [], id="no address at all"),
        pytest.param("pypi", PYPI, {}, [INTEGRITY], id="PyPI: the integrity of the file"),
        pytest.param(
            "pypi",
            Package("a", "1.0", (), "https://r.example:8443/a.whl"),
            {},
            [],
            id="PyPI: an index that says nothing",
        ),
    ],
)
def test_only_registries_are_asked(
    ecosystem: Ecosystem, package: Package, said: dict[str, object], asked: list[str]
) -> None:
    words = Said(package.name, package.version, **said)  # type: ignore[arg-type]
    found = provenance.addresses(Resolution((package,), (words,)), ecosystem, HOSTS)
    assert list(found) == asked


class Server(BaseHTTPRequestHandler):
    """`/good` answers, `/none` is not there, `/away` leads to `/good`, `/large` has no end, `/sick` fails."""

    def do_GET(self) -> None:
        status = {"/none": 404, "/away": 302, "/sick": 500}.get(self.path, 200)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/good")
        self.end_headers()
        if status == 200:
            self.wfile.write(b"x" * (5 << 20) if self.path == "/large" else b"good")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("ecosystem", "program"), [("npm", "node"), ("pypi", sys.executable)])
def test_the_fetching_program_keeps_answers_and_follows_nobody(
    ecosystem: Ecosystem, program: str, url: str, tmp_path: Path, require: object
) -> None:
    if ecosystem == "npm":
        require("npm")  # type: ignore[operator]
    urls = [f"{url}/{path}" for path in ("good", "none", "away", "large", "sick")] + ["http://127.0.0.1:9/x"]
    base = BuildJob("t", (), str(tmp_path), (), (), str(tmp_path / "log"))
    made = provenance.job(base, ecosystem, program, urls, {})
    words = list(made.steps[0])
    for number, (place, content) in enumerate(made.files):  # in the places of those inside
        (tmp_path / f"file{number}.mjs").write_bytes(content)
        words = [str(tmp_path / f"file{number}.mjs") if word == place else word for word in words]
    out = tmp_path / "out"
    out.mkdir()
    words = [str(out) if word == made.mount else word for word in words]
    subprocess.run(words, timeout=60, check=True, env={"PATH": "/usr/bin:/bin"})
    found = provenance.collected(str(out), urls)
    assert dict(found.documents) == {urls[0]: b"good"}
    assert found.none == {urls[1]}


def test_what_lies_in_an_answers_place_and_is_no_file_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "0").symlink_to("/etc/hostname")
    (tmp_path / "1").mkdir()
    (tmp_path / "2").write_bytes(b"x" * (5 << 20))
    (tmp_path / "3").write_bytes(b"")
    urls = [f"https://r.example/{number}" for number in range(5)]
    assert provenance.collected(str(tmp_path), urls) == provenance.Evidence()


def test_a_ca_of_pips_is_pythons_too() -> None:
    base = BuildJob("t", (), "/s", (), (), "/l")
    made = provenance.job(base, "pypi", "/py", [f"https://{public.PYPI}/x"], {"PIP_CERT": "/etc/ssl/own.pem"})
    assert dict(made.env)["SSL_CERT_FILE"] == "/etc/ssl/own.pem"
    assert json.loads(dict(made.files)["/opt/mcp-config/addresses.json"]) == [f"https://{public.PYPI}/x"]
