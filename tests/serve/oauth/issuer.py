"""An authorization server of the tests' own: keys, tokens however wrong, and its documents over TLS."""

from __future__ import annotations

import json
import ssl
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NOW = 1_800_000_000.0
RESOURCE = "https://mcp.example.com"
URL = f"{RESOURCE}/github/mcp"
ISSUER = "https://login.example.com/team"


def b64(content: bytes | str) -> str:
    raw = content.encode() if isinstance(content, str) else content
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


@cache
def private(kind: str, which: int = 0) -> Any:
    """A private key, made once; `which` tells several of a kind apart."""
    if kind.startswith("RSA"):
        return rsa.generate_private_key(65537, int(kind[3:] or 2048))
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[kind])


def algorithm(name: str) -> Any:
    return jwt.get_algorithm_by_name("EdDSA" if name == "Ed25519" else name)


def public_jwk(name: str, key: Any, **members: Any) -> dict[str, Any]:
    found = json.loads(algorithm(name).to_jwk(key.public_key()))
    found.pop("key_ops", None)
    return {**found, **members}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def compact(header: Any, claims: Any, sign: Callable[[bytes], bytes]) -> str:
    """A token of exactly these parts; text stands as it is written."""
    parts = [b64(one if isinstance(one, str) else json.dumps(one)) for one in (header, claims)]
    signed = ".".join(parts)
    return f"{signed}.{b64(sign(signed.encode()))}"


def claims(**changed: Any) -> dict[str, Any]:
    """What a good token claims, but for what is changed; None takes a claim out."""
    good = {
        "iss": ISSUER, "aud": URL, "sub": "ann", "client_id": "desk", "scope": "mcp:read",
        "iat": NOW - 5, "exp": NOW + 300, "jti": "1",
    }  # fmt: skip
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def token(
    given: Any = None,
    name: str = "ES256",
    key: Any = None,
    header: dict[str, Any] | None = None,
    **changed: Any,
) -> str:
    """A token signed by the issuer's key for its algorithm, or by another one."""
    kinds = {"ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}
    key = key or private(kinds.get(name, "RSA"))
    head = {"alg": name, "kid": name, "typ": "at+jwt", **(header or {})}
    head = {one: value for one, value in head.items() if value is not None}
    return compact(
        head, claims(**changed) if given is None else given, lambda it: algorithm(name).sign(it, key)
    )


class Documents:
    """What a server of the tests answers by path: bytes, or a callable that acts on the request itself."""

    def __init__(self) -> None:
        self.found: dict[str, bytes | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []
        self.url = ""
        self.hanging, self.ended = threading.Event(), threading.Event()


class _Handler(BaseHTTPRequestHandler):
    documents: Documents

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        documents = self.server.documents  # type: ignore[attr-defined]
        documents.asked.append(self.path)
        found = documents.found.get(self.path)
        if callable(found):
            found(self)
            return
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Length", str(len(found or b"")))
        self.end_headers()
        self.wfile.write(found or b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients of these tests hang up."""


@contextmanager
def serving(certificate: trustme.LeafCert) -> Iterator[Documents]:
    """A server on the loopback, whose URL and documents the caller gets."""
    documents = Documents()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(tls)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.documents = documents  # type: ignore[attr-defined]
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    documents.url = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield documents
    finally:
        documents.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def settings_file(path: Path, issuer: str, extra: str = "", resource: str = RESOURCE) -> str:
    path.write_text(
        f'schema = 1\nissuer = "{issuer}"\nresource = "{resource}"\n{extra}\n'
        '[routes.github]\n"mcp:read" = ["get_*", "list_*"]\n"mcp:write" = ["create_*"]\n"mcp:all" = ["*"]\n'
    )
    return str(path)


def fresh(**changed: Any) -> dict[str, Any]:
    """The claims for a server whose clock is the real one."""
    now = time.time()
    return claims(**{"iat": now - 5, "exp": now + 300, **changed})
