"""A server on the internet that wants a login, and its issuers: `far_login.py CHAIN PORT`.

`/NAME:PORT` is a server whose issuer is `https://NAME:PORT`; by every name it is also such an issuer. Of each
request the `Host` that it was for and its path are a line on stdout.
"""

from __future__ import annotations

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RESOURCE = "/.well-known/oauth-protected-resource/"


class Handler(BaseHTTPRequestHandler):
    """Server and issuer."""

    def do_POST(self) -> None:
        """A question that nobody may ask without a token."""
        self._answer(401, {})

    def do_GET(self) -> None:
        """What server and issuer say of themselves."""
        host = self.headers["Host"]
        if self.path.startswith(RESOURCE):
            name = self.path.removeprefix(RESOURCE)
            said = {"resource": f"https://{host}/{name}", "authorization_servers": [f"https://{name}"]}
            return self._answer(200, said)
        issuer = f"https://{host}"
        places = {"authorization_endpoint": f"{issuer}/a", "token_endpoint": f"{issuer}/t"}
        return self._answer(200, {"issuer": issuer, "code_challenge_methods_supported": ["S256"], **places})

    def _answer(self, status: int, said: object) -> None:
        sys.stdout.write(f"{self.headers['Host']} {self.path}\n")
        sys.stdout.flush()
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing besides."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("0.0.0.0", int(sys.argv[2])), Handler)  # noqa: S104 - in a namespace
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever()
