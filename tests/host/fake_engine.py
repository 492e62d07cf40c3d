"""An engine of the test's own on a unix socket: it says what the test wants, and counts who asked."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

VERSION: dict[str, Any] = {
    "Version": "20.10.24",
    "ApiVersion": "1.41",
    "MinAPIVersion": "1.12",
    "Components": [{"Name": "Engine", "Version": "20.10.24"}],
}
INFO: dict[str, Any] = {
    "OSType": "linux",
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "Name": "host",
    "KernelVersion": "6.1.0",
    "Architecture": "x86_64",
    "CgroupDriver": "systemd",
    "CgroupVersion": "2",
    "MemoryLimit": True,
    "SwapLimit": True,
    "PidsLimit": True,
    "CpuCfsPeriod": True,
    "CpuCfsQuota": True,
    "SecurityOptions": ["name=seccomp,profile=default"],
    "Runtimes": {"runc": {"path": "runc"}},
    "DockerRootDir": "/var/lib/docker",
    "Driver": "overlay2",
}


class Fake(socketserver.ThreadingUnixStreamServer):
    """Answers what is asked about it and its images, in every version of the API."""

    daemon_threads = True

    def __init__(self, path: str, version: Mapping[str, Any], info: Mapping[str, Any], raw: bytes) -> None:
        super().__init__(path, _Answer)
        self.answers: dict[str, Any] = {"version": version, "info": info, "images/json": []}
        self.raw = raw
        self.asked: list[str] = []
        self.path = path

    @property
    def endpoint(self) -> str:
        """What DOCKER_HOST must be."""
        return f"unix://{self.path}"


class _Answer(BaseHTTPRequestHandler):
    server: Fake

    def do_GET(self) -> None:
        """One answer."""
        self.server.asked.append(self.path)
        if self.server.raw:
            self.wfile.write(self.server.raw)
            self.close_connection = True
            return
        page = self.path.partition("?")[0].lstrip("/")
        known = self.server.answers.get(page.partition("/")[2] if page.startswith("v1.") else page)
        body = json.dumps({"message": "no such page"} if known is None else known).encode()
        self.send_response(404 if known is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        """A peer on a unix socket has no address."""
        return "local"

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are silent."""


@contextmanager
def fake(
    folder: Path, version: Mapping[str, Any] = VERSION, info: Mapping[str, Any] = INFO, raw: bytes = b""
) -> Iterator[Fake]:
    """A running fake in `folder`; `raw` is answered as it is, whatever was asked."""
    with Fake(str(folder / "engine.sock"), version, info, raw) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            Path(server.path).unlink()
