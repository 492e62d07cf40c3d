"""A container engine's API, and the one file that imports the `docker` SDK.

Where the engine is: `DOCKER_HOST`, else the context that the docker command line would use, else the
sockets that engines usually have. Every call has a time-out; what went wrong is an error a person can act on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import docker
import docker.errors
from docker.context import ContextAPI
from docker.tls import TLSConfig
from requests.exceptions import ConnectionError as Unreachable
from requests.exceptions import RequestException, Timeout

from sandbox.errors import CannotEnforce, SandboxNotBuilt

PATIENCE_S = 10.0
"""An engine that says nothing for so long is hung; creating and starting take it well under a second."""
NotFound = docker.errors.NotFound
Conflict = docker.errors.APIError
Failed = (docker.errors.DockerException, RequestException, OSError, ValueError)
"""Everything that a call of the SDK raises; a proxy or another program on the socket answers nonsense."""
Api = Any
"""docker.APIClient: the SDK has no types."""


def connect(environ: Mapping[str, str], timeout: float = PATIENCE_S) -> Api:
    """A client of the engine that the caller's environment names; raises where none answers in time."""
    found = endpoint(environ)
    with failures(found):
        return docker.APIClient(base_url=found, version="auto", timeout=timeout, tls=_tls(environ, found))


def endpoint(environ: Mapping[str, str]) -> str:
    """The engine's address: `unix://`, `tcp://`, `ssh://` or `npipe://`."""
    if named := environ.get("DOCKER_HOST"):
        return named
    context = _context(environ)
    if context is not None and context.name != "default" and context.Host:
        return str(context.Host)
    return next((f"unix://{path}" for path in sockets(environ) if os.path.exists(path)), _USUAL)


_USUAL = "unix:///var/run/docker.sock"


def sockets(environ: Mapping[str, str]) -> list[str]:
    """Where engines listen: Docker's, the caller's rootless ones, Docker Desktop's, Podman's."""
    home, runtime = environ.get("HOME", ""), environ.get("XDG_RUNTIME_DIR", "")
    own = [f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock"] if runtime.startswith("/") else []
    desktop = [f"{home}/.docker/run/docker.sock", f"{home}/.docker/desktop/docker.sock"] if home else []
    return ["/var/run/docker.sock", *own, *desktop, "/run/podman/podman.sock"]


def _context(environ: Mapping[str, str]) -> Any:
    name = environ.get("DOCKER_CONTEXT")
    try:
        return ContextAPI.get_context(name) if name else ContextAPI.get_current_context()
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise SandboxNotBuilt(
            "engine-context", f"the docker context cannot be read: {error}", hint="docker context ls"
        ) from error


def _tls(environ: Mapping[str, str], found: str) -> Any:
    if not found.startswith(("tcp://", "https://")):
        return False
    if not environ.get("DOCKER_HOST"):
        context = _context(environ)
        return (context and context.TLSConfig) or False
    if not environ.get("DOCKER_TLS_VERIFY"):
        return False
    folder = environ.get("DOCKER_CERT_PATH") or f"{environ.get('HOME', '')}/.docker"
    return TLSConfig(
        client_cert=(f"{folder}/cert.pem", f"{folder}/key.pem"), ca_cert=f"{folder}/ca.pem", verify=True
    )


@contextmanager
def failures(where: str) -> Iterator[None]:
    """Turns what the SDK raises into an error that says what happened at `where` and what helps."""
    try:
        yield
    except Failed as error:
        raise failure(error, where) from error


def failure(error: BaseException, where: str) -> SandboxNotBuilt | CannotEnforce:
    """The error a person sees for an exception of the SDK."""
    text = _innermost(error)
    if isinstance(error, docker.errors.APIError):
        return SandboxNotBuilt(
            "engine-refused", f"the engine at {where} refused: {text}", hint="mcp-sandbox doctor"
        )
    if isinstance(error, Timeout) or "timed out" in text.lower():
        what = f"the engine at {where} does not answer within {PATIENCE_S:g} s"
        return SandboxNotBuilt(
            "engine-hung", what, hint="restart it, for example: sudo systemctl restart docker"
        )
    if "permission denied" in text.lower():
        hint = (
            "sudo usermod -aG docker $USER, then log in again; who is in that group is root in all but name"
        )
        return SandboxNotBuilt("engine-denied", f"you may not speak to the engine at {where}", hint=hint)
    if isinstance(error, Unreachable | OSError) or "connection" in text.lower():
        hint = "start it, for example: sudo systemctl start docker"
        return SandboxNotBuilt("no-engine", f"no engine answers at {where}: {text}", hint=hint)
    return SandboxNotBuilt(
        "engine-failed", f"what answers at {where} is no engine: {text}", hint="mcp-sandbox doctor"
    )


def _innermost(error: BaseException) -> str:
    """The words at the bottom of a chain of wrapped exceptions, in one line."""
    explanation = getattr(error, "explanation", None)
    if explanation:
        return " ".join(str(explanation).split())
    last: BaseException | None = error
    words = str(error) or type(error).__name__
    while last is not None:
        words = getattr(last, "strerror", None) or words
        last = last.__cause__ or last.__context__
    return " ".join(words.split())
