"""Registries of our own: an npm one on the loopback, and a directory of wheels; no package but ours."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def _archive(files: Mapping[str, str], top: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size, member.mode = len(text.encode()), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


@dataclass
class Npm:
    """What the registry serves and what it was asked: path and `Authorization` of each request."""

    url: str = ""
    packages: dict[str, dict[str, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    """Cleared, every request is heard and none is answered."""

    def publish(self, name: str, version: str, files: Mapping[str, str], **manifest: object) -> None:
        body = json.dumps({"name": name, "version": version, **manifest})
        packed = _archive({"package.json": body, **files}, "package")
        self.packages.setdefault(name, {})[version] = packed
        self.manifests[name, version] = json.loads(body)

    manifests: dict[tuple[str, str], dict[str, object]] = field(default_factory=dict)
    more_dist: dict[tuple[str, str], dict[str, object]] = field(default_factory=dict)
    """What `dist` says besides, such as `signatures`."""
    dates: dict[tuple[str, str], str] = field(default_factory=dict)
    """When a version was published, where the registry is to say so."""
    pages: dict[str, bytes] = field(default_factory=dict)
    """What it answers at other paths, such as `/-/npm/v1/keys`."""

    def document(self, name: str) -> dict[str, object]:
        versions = {
            version: {**self.manifests[name, version], "dist": self._dist(name, version)}
            for version in self.packages[name]
        }
        found = {"name": name, "dist-tags": {"latest": max(versions)}, "versions": versions}
        dates = {version: self.dates[name, version] for version in versions if (name, version) in self.dates}
        return {**found, "time": dates} if dates else found

    def integrity(self, name: str, version: str) -> str:
        packed = self.packages[name][version]
        return "sha512-" + base64.b64encode(hashlib.sha512(packed).digest()).decode()

    def _dist(self, name: str, version: str) -> dict[str, object]:
        place = {"tarball": f"{self.url}{name}/-/{name}-{version}.tgz"}
        more = self.more_dist.get((name, version), {})
        return {**place, "integrity": self.integrity(name, version), **more}


@contextmanager
def npm() -> Iterator[Npm]:
    """A registry on the loopback until the block ends."""
    state = Npm()
    state.open.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append((self.path, self.headers.get("Authorization")))
            state.open.wait(60)
            name, _, file = self.path.strip("/").partition("/-/")
            if self.path in state.pages:
                body = state.pages[self.path]
            elif name not in state.packages:
                self.send_error(404)
                return
            else:
                version = file.removeprefix(f"{name}-").removesuffix(".tgz")
                body = state.packages[name][version] if file else json.dumps(state.document(name)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.open.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def folder(path: Path) -> Iterator[str]:
    """The files of a directory, on the loopback until the block ends: an index as old as PEP 503."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(path))

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str],
    scripts: Mapping[str, str],
    requires: str = "",
) -> None:
    """Writes a wheel whose console scripts are `scripts` (name to `module:function`)."""
    info = f"{name}-{version}.dist-info"
    points = "".join(f"{script} = {target}\n" for script, target in scripts.items())
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{points}",
    }
    record = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**content, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


_BACKEND = """
import os, zipfile
def build_wheel(directory, config=None, metadata=None):
    file = "{name}-{version}-py3-none-any.whl"
    info = "{name}-{version}.dist-info"
    files = {{
        "{name}.py": "def main(): print('built')\\n",
        info + "/METADATA": "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
        info + "/WHEEL": "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        info + "/entry_points.txt": "[console_scripts]\\n{name} = {name}:main\\n",
    }}
    record = "".join(path + ",,\\n" for path in [*files, info + "/RECORD"])
    with zipfile.ZipFile(os.path.join(directory, file), "w") as archive:
        for path, text in {{**files, info + "/RECORD": record}}.items():
            archive.writestr(path, text)
    return file
"""


def source(folder: Path, name: str, version: str) -> None:
    """Writes a source distribution that builds with code of its own and needs nothing else."""
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\n',
        "own.py": _BACKEND.format(name=name, version=version),
    }
    (folder / f"{name}-{version}.tar.gz").write_bytes(_archive(files, f"{name}-{version}"))
