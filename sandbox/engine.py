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
from docker.tls import TLSConfig
from requests.exceptions import ConnectionError as Unreachable
from requests.exceptions import RequestException, Timeout

from sandbox import contexts
from sandbox.errors import CannotEnforce, SandboxNotBuilt

PATIENCE_S = 10.0
"""An engine that says nothing for so long is hung; creating and starting take it well under a second."""
NotFound = docker.errors.NotFound
Conflict = docker.errors.APIError
Failed = (docker.errors.DockerException, RequestException, OSError, ValueError)
"""Everything that a call of the SDK raises; a proxy or another program on the socket answers nonsense."""
Api = Any
"""docker.APIClient: the SDK has no types."""


def connect(environ: Mapping[str, str], timeout: float = PATIENCE_S, version: str = "auto") -> Api:
    """A client of the engine that the caller's environment names; raises where none answers in time.

    `version`: the API's, as another client of it has found; else it is asked first.
    """
    found = endpoint(environ)
    with failures(found):
        return docker.APIClient(base_url=found, version=version, timeout=timeout, tls=_tls(environ, found))


def endpoint(environ: Mapping[str, str]) -> str:
    """The engine's address: `unix://`, `tcp://`, `ssh://` or `npipe://`."""
    if named := environ.get("DOCKER_HOST"):
        return named
    context = contexts.current(environ)
    if context is not None:
        return context.host
    return next((f"unix://{path}" for path in sockets(environ) if os.path.exists(path)), _USUAL)


_USUAL = "unix:///var/run/docker.sock"


def sockets(environ: Mapping[str, str]) -> list[str]:
    """Where engines listen: Docker's, the caller's rootless ones, Docker Desktop's, Podman's."""
    home, runtime = environ.get("HOME", ""), environ.get("XDG_RUNTIME_DIR", "")
    own = [f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock"] if runtime.startswith("/") else []
    desktop = [f"{home}/.docker/run/docker.sock", f"{home}/.docker/desktop/docker.sock"] if home else []
    return ["/var/run/docker.sock", *own, *desktop, "/run/podman/podman.sock"]


def _tls(environ: Mapping[str, str], found: str) -> Any:
    if not found.startswith(("tcp://", "https://")):
        return False
    if environ.get("DOCKER_HOST"):
        folder = environ.get("DOCKER_CERT_PATH") or f"{environ.get('HOME', '')}/.docker"
        return _certified(folder, verify=True) if environ.get("DOCKER_TLS_VERIFY") else False
    context = contexts.current(environ)
    if context is None or not context.certificates:
        return False
    return _certified(context.certificates, verify=context.verify)


def _certified(folder: str, *, verify: bool) -> TLSConfig:
    return TLSConfig(
        client_cert=(f"{folder}/cert.pem", f"{folder}/key.pem"), ca_cert=f"{folder}/ca.pem", verify=verify
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
    wrapped = [*_chain(error)]
    refusal = next((one for one in wrapped if isinstance(one, docker.errors.APIError)), None)
    if refusal is not None:
        what = f"the engine at {where} refused: {_innermost(refusal)}"
        if "no such image" in what.lower():
            # Remembered, and removed from the engine since.
            return SandboxNotBuilt("image-gone", what, hint="mcp-sandbox image build")
        return SandboxNotBuilt("engine-refused", what, hint="mcp-sandbox doctor")
    text = _innermost(error)
    if any(isinstance(one, Timeout | TimeoutError) for one in wrapped) or "timed out" in text.lower():
        what = f"the engine at {where} does not answer within {PATIENCE_S:g} s"
        return SandboxNotBuilt(
            "engine-hung", what, hint="restart it, for example: sudo systemctl restart docker"
        )
    if any(isinstance(one, PermissionError) for one in wrapped) or "permission denied" in text.lower():
        hint = (
            "sudo usermod -aG docker $USER, then log in again; who is in that group is root in all but name"
        )
        return SandboxNotBuilt("engine-denied", f"you may not speak to the engine at {where}", hint=hint)
    if any(_is_transport(one) for one in wrapped):
        hint = "start it, for example: sudo systemctl start docker"
        return SandboxNotBuilt("no-engine", f"no engine answers at {where}: {text}", hint=hint)
    return SandboxNotBuilt(
        "engine-failed", f"what answers at {where} is no engine: {text}", hint="mcp-sandbox doctor"
    )


def _is_transport(error: BaseException) -> bool:
    """Of the system, not of what was said: every exception of `requests` is an OSError too."""
    return isinstance(error, Unreachable) or (
        isinstance(error, OSError) and not isinstance(error, RequestException)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those it wraps, outermost first."""
    last: BaseException | None = error
    while last is not None:
        yield last
        last = last.__cause__ or last.__context__


def _innermost(error: BaseException) -> str:
    """The words at the bottom of a chain of wrapped exceptions, in one line."""
    explanation = getattr(error, "explanation", None)
    if explanation:
        return " ".join(str(explanation).split())
    words = str(error) or type(error).__name__
    for one in _chain(error):
        words = getattr(one, "strerror", None) or words
    return " ".join(words.split())
