"""Other builders of sandboxes on this host: bubblewrap, a Docker engine, gVisor. None is required."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from typing import Any

from sandbox.errors import SandboxError
from sandbox.host.lookup import home_of, which
from sandbox.plan.facts import Probe

_PATIENCE_S = 0.3  # an engine on this machine answers a ping in milliseconds
_RUN_S = 3.0
_SPARE_ID = 1_900_000_000


def bubblewrap(environ: Mapping[str, str]) -> Probe:
    """True where bwrap starts a program in namespaces of its own, as an unprivileged uid."""
    program = _find("bwrap", environ)
    if not program:
        return Probe(False, "not installed", "apt install bubblewrap")
    merged = ("bin", "sbin", "lib", "lib32", "lib64")
    links = [w for n in merged if os.path.islink(f"/{n}") for w in ("--symlink", f"usr/{n}", f"/{n}")]
    argv = [
        program,
        "--unshare-all",
        "--die-with-parent",
        "--ro-bind",
        "/usr",
        "/usr",
        *links,
        "/usr/bin/true",
    ]
    return _runs(argv, f"{program} starts a program")


def gvisor(environ: Mapping[str, str]) -> Probe:
    """True where gVisor's runsc is installed and starts."""
    program = _find("runsc", environ)
    if not program:
        return Probe(False, "`runsc` is not installed")
    return _runs([program, "--version"], program)


def docker(environ: Mapping[str, str]) -> Probe:
    """True where an engine answers a ping at DOCKER_HOST or at one of the usual sockets."""
    named = environ.get("DOCKER_HOST", "")
    addresses = [named] if named else [f"unix://{path}" for path in sockets(environ) if os.path.exists(path)]
    problem = "no engine's socket"
    for address in addresses:
        try:
            return Probe(True, f"{_ping(address)} at {address}")
        except (OSError, ValueError) as error:
            problem = f"{address}: {getattr(error, 'strerror', None) or error}"
    return Probe(False, problem)


def sockets(environ: Mapping[str, str]) -> list[str]:
    home, runtime = home_of(environ), environ.get("XDG_RUNTIME_DIR", "")
    own = [f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock"] if runtime.startswith("/") else []
    desktop = [f"{home}/.docker/run/docker.sock", f"{home}/.docker/desktop/docker.sock"]
    return ["/var/run/docker.sock", *own, *desktop, "/run/podman/podman.sock"]


def _ping(address: str) -> str:
    scheme, _, place = address.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(_PATIENCE_S)
            wire.connect(place)
            return _answer(wire)
    if scheme in ("tcp", "http", "https"):
        host, _, port = place.rstrip("/").rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S) as wire:
            # 2376 is TLS by convention: that it accepts is all that can be said without its certificates.
            return "a TLS engine" if port == "2376" or scheme == "https" else _answer(wire)
    raise ValueError(f"`{scheme}` engines are not tried")


def _answer(wire: socket.socket) -> str:
    wire.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
    status = wire.recv(64).split(b"\r\n")[0].split()
    if status[1:2] != [b"200"]:
        raise ValueError("what answers is no engine")
    return "an engine"


def _find(name: str, environ: Mapping[str, str]) -> str:
    try:
        return which(name, environ=environ, cwd="/")
    except SandboxError:
        return ""


def _runs(argv: list[str], detail: str) -> Probe:
    # As root, in the way the launcher would use it: never as uid 0.
    spare = _SPARE_ID + os.getpid()
    identity: dict[str, Any] = (
        {"user": spare, "group": spare, "extra_groups": []} if os.geteuid() == 0 else {}
    )
    try:
        done = subprocess.run(  # noqa: S603 - a fixed argv, found on the caller's own PATH
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_RUN_S,
            check=False,
            cwd="/",
            **identity,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Probe(False, f"{argv[0]}: {error}")
    if done.returncode == 0:
        return Probe(True, detail)
    words = done.stderr.decode(errors="replace").strip().splitlines()
    return Probe(False, words[-1][:160] if words else f"{argv[0]} ends with {done.returncode}")
