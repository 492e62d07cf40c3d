"""A web server of the test's own on this machine's loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[str], bytes]
"""What is answered, by the path that is asked for."""


@contextmanager
def loopback(answer: Answer, headers: Mapping[str, str] | None = None, token: str = "") -> Iterator[int]:
    """The port of a server that answers every request whose headers show the token, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            known = any(token in value for value in self.headers.values())
            content = answer(self.path) if known else b"{}"
            self.send_response(200 if known else 401)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = reply

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
