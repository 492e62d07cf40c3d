"""A real server that wants a login, its real issuer, and a browser, all on loopback over TLS."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import trustme

Fields = dict[str, str]
NAMES = ("localhost", "127.0.0.1", "mcp.test", "auth.test", "evil.test", "other.test")


@dataclass
class Asked:
    """One request that a site was asked."""

    method: str
    path: str
    query: Fields
    headers: Fields
    body: bytes

    @property
    def form(self) -> Fields:
        """Its body as a form."""
        return dict(urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass
class Told:
    """What a site answers; a dict becomes JSON."""

    status: int = 200
    body: Any = ""
    headers: Fields = field(default_factory=dict)


Route = Callable[[Asked], Told]


class Site:
    """An HTTPS server with routes that a test can replace; it keeps what it was asked."""

    def __init__(self, authority: trustme.CA | None, *names: str) -> None:
        self.routes: dict[tuple[str, str], Route] = {}
        self.seen: list[Asked] = []
        self.raw: Callable[[Any], None] | None = None
        site = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                site.answer(self)

            do_GET = do_POST = _serve

            def log_message(self, *_: object) -> None:
                return

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                return  # a client that refuses the certificate, or has heard enough

        self._server = Quiet(("127.0.0.1", 0), Handler)
        if authority is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(*(names or NAMES)).configure_cert(context)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        self.scheme = "http" if authority is None else "https"
        self.origin = f"{self.scheme}://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def named(self, host: str) -> None:
        """It goes by a public name: to be told of before anything is asked."""
        self.origin = f"{self.scheme}://{host}:{self.port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answers one request by its route."""
        path, _, query = handler.path.partition("?")
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, path, dict(urllib.parse.parse_qsl(query)), headers, body)
        self.seen.append(asked)
        if self.raw is not None:
            return self.raw(handler)
        told = self.routes.get((handler.command, path), lambda _: Told(404, "not here"))(asked)
        content = told.body if isinstance(told.body, str) else json.dumps(told.body)
        handler.send_response(told.status)
        for name, value in told.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content.encode())))
        handler.end_headers()
        handler.wfile.write(content.encode())
        return None

    def paths(self) -> list[str]:
        """What was asked, in order."""
        return [f"{one.method} {one.path}" for one in self.seen]


class Issuer(Site):
    """An authorization server that checks what one has to; what it says and does is a test's to change."""

    def __init__(self, authority: trustme.CA | None) -> None:
        super().__init__(authority)
        self.path = ""
        self.extra: dict[str, Any] = {}
        self.without: tuple[str, ...] = ()
        self.lasts: int | None = 3600
        self.rotates = True
        self.brings: Fields = {}
        """What the redirect brings besides, or in place of, code and state."""
        self.codes: dict[str, Fields] = {}
        self.clients: dict[str, dict[str, Any]] = {}
        self.refreshes: set[str] = set()
        self.accesses: set[str] = set()
        self.revoked: list[str] = []
        self.routes |= {
            ("GET", "/.well-known/oauth-authorization-server"): lambda _: Told(body=self.metadata()),
            ("GET", "/authorize"): self._authorize,
            ("POST", "/register"): self._register,
            ("POST", "/token"): self._token,
            ("POST", "/revoke"): self._revoke,
        }

    def metadata(self) -> dict[str, Any]:
        """What it says of itself."""
        usual: dict[str, Any] = {
            "issuer": self.origin + self.path,
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
            "registration_endpoint": f"{self.origin}/register",
            "revocation_endpoint": f"{self.origin}/revoke",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_post", "client_secret_basic"],
            "authorization_response_iss_parameter_supported": True,
        }
        return {name: value for name, value in (usual | self.extra).items() if name not in self.without}

    def _authorize(self, asked: Asked) -> Told:
        client = self.clients.get(asked.query["client_id"], {})
        if asked.query["redirect_uri"] not in client.get("redirect_uris", [asked.query["redirect_uri"]]):
            return Told(400, "redirect_uri")
        assert asked.query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked.query
        issuer = self.origin + self.path
        fields = {"code": code, "state": asked.query["state"], "iss": issuer} | self.brings
        query = urllib.parse.urlencode({name: value for name, value in fields.items() if value})
        return Told(302, "", {"Location": f"{asked.query['redirect_uri']}?{query}"})

    def _register(self, asked: Asked) -> Told:
        wish = json.loads(asked.body)
        wish["client_id"] = secrets.token_urlsafe(8)
        if wish["token_endpoint_auth_method"] != "none":  # noqa: S105 - a method
            wish["client_secret"] = secrets.token_urlsafe(8)
        self.clients[wish["client_id"]] = wish
        return Told(201, wish)

    def _token(self, asked: Asked) -> Told:
        form = asked.form
        if not self._shown(asked):
            return Told(401, {"error": "invalid_client"})
        if form["grant_type"] == "refresh_token":
            return self._refresh(form)
        meant = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        proved = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            meant is None
            or meant["code_challenge"] != proved
            or meant["redirect_uri"] != form["redirect_uri"]
        ):
            return Told(400, {"error": "invalid_grant"})
        if meant["resource"] != form["resource"]:
            return Told(400, {"error": "invalid_target"})
        return self._given(meant.get("scope", ""))

    def _shown(self, asked: Asked) -> bool:
        form, header = asked.form, asked.headers.get("authorization", "")
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        if header.startswith("Basic "):
            name, _, secret = base64.b64decode(header[6:]).decode().partition(":")
        known = self.clients.get(urllib.parse.unquote(name))
        return known is None or urllib.parse.unquote(secret) == known.get("client_secret", "")

    def _refresh(self, form: Fields) -> Told:
        if form["refresh_token"] not in self.refreshes:
            return Told(400, {"error": "invalid_grant", "error_description": "used or unknown"})
        if self.rotates:
            self.refreshes.remove(form["refresh_token"])
        return self._given("")

    def _given(self, scope: str) -> Told:
        access, refresh = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.accesses.add(access)
        self.refreshes.add(refresh)
        body: dict[str, Any] = {"access_token": access, "token_type": "Bearer", "refresh_token": refresh}
        body |= {"scope": scope} if scope else {}
        return Told(body=body if self.lasts is None else body | {"expires_in": self.lasts})

    def _revoke(self, asked: Asked) -> Told:
        self.revoked.append(asked.form["token"])
        return Told()


class Server(Site):
    """An MCP server that wants a token of its issuer's."""

    def __init__(self, authority: trustme.CA | None, issuer: Issuer) -> None:
        super().__init__(authority)
        self.issuer = issuer
        self.extra: dict[str, Any] = {}
        self.says = 'Bearer realm="mcp"'
        self.routes |= {
            ("POST", "/mcp"): self._mcp,
            ("GET", "/.well-known/oauth-protected-resource/mcp"): lambda _: Told(body=self.metadata()),
        }

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.origin}/mcp"

    def metadata(self) -> dict[str, Any]:
        """What it says of itself."""
        usual: dict[str, Any] = {
            "resource": self.url,
            "authorization_servers": [self.issuer.origin + self.issuer.path],
        }
        return usual | self.extra

    def _mcp(self, asked: Asked) -> Told:
        kind, _, token = asked.headers.get("authorization", "").partition(" ")
        if kind == "Bearer" and token in self.issuer.accesses:
            return Told(body={"jsonrpc": "2.0", "id": 1, "result": {}})
        return Told(401, "", {"WWW-Authenticate": self.says} if self.says else {})


class Browser:
    """Opens the address in what it is told, as a person would, and goes where it is sent."""

    def __init__(self, ca_file: str) -> None:
        self._tls = ssl.create_default_context(cafile=ca_file)
        self.opened: list[str] = []
        self.pages: list[str] = []
        self.said: list[str] = []
        self._threads: list[threading.Thread] = []

    def __call__(self, text: str) -> None:
        self.said.append(text)
        address = text.rpartition("\n")[2]
        if address.startswith("http") and "response_type=code" in address:
            self.opened.append(address)
            thread = threading.Thread(target=self._open, args=(address,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _open(self, address: str) -> None:
        try:
            with urllib.request.urlopen(address, timeout=10, context=self._tls) as page:  # noqa: S310
                self.pages.append(page.read().decode())
        except OSError as error:
            self.pages.append(str(error))

    def done(self) -> None:
        """Waits until it has seen its pages."""
        for one in self._threads:
            one.join(10)
