"""A remote MCP server in this process: what a short conversation needs, and what a hostile one would do."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme


class Remote(ThreadingHTTPServer):
    """What it was asked and where it is; `redirect`: where `/mcp` shall be, `token`: what has to come."""

    daemon_threads = True

    def __init__(self, certificate: trustme.LeafCert | None, **more: Any) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.redirect: str | None = more.get("redirect")
        self.status: int = more.get("status", 307)
        self.token: str | None = more.get("token")
        self.requests: list[dict[str, Any]] = []
        self.context: ssl.SSLContext | None = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(self.context)
        scheme = "https" if certificate is not None else "http"
        self.port = self.server_address[1]
        self.url = f"{scheme}://localhost:{self.port}/mcp"

    def get_request(self) -> tuple[Any, Any]:
        one, address = super().get_request()
        if self.context is None:
            return one, address
        # The handshake is the handler's, or one client would hold up all others.
        wrapped = self.context.wrap_socket(one, server_side=True, do_handshake_on_connect=False)
        return wrapped, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not trust us is no error."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Remote

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests read `requests`."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append({"path": path, "query": query, "headers": headers})
        if self.server.token and headers.get("authorization") != f"Bearer {self.server.token}":
            self._answer(401, b"", ("WWW-Authenticate", "Bearer"))
        elif self.server.redirect and path == "/mcp":
            self._answer(self.server.status, b"", ("Location", self.server.redirect))
        else:
            self._message(json.loads(body))

    def _message(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            self._answer(202, b"")
            return
        params = message.get("params", {})
        text = params.get("arguments", {}).get("text", "")
        result = {"content": [{"type": "text", "text": text}]}
        if message["method"] == "initialize":
            info = {"name": "small", "version": "1"}
            result = {"protocolVersion": params["protocolVersion"], "capabilities": {}, "serverInfo": info}
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        self._answer(200, json.dumps(answer).encode(), ("Content-Type", "application/json"))

    def do_GET(self) -> None:
        self._answer(405, b"")

    do_DELETE = do_GET

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def small_remote(certificate: trustme.LeafCert | None, **more: Any) -> Iterator[Remote]:
    """One that serves until the end."""
    with Remote(certificate, **more) as remote:
        thread = threading.Thread(target=remote.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield remote
        finally:
            remote.shutdown()
            thread.join()
