"""Subjects that speak HTTP themselves: the bare server, and one behind `mcp-sandbox serve`."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROFILE = HERE / "profile.toml"
PATIENCE_S = 30


@dataclass(frozen=True)
class Subject:
    """Where a suite asks, and the bearer token that it shows; or the client that it starts, by words."""

    address: str
    token: str = ""
    client: tuple[str, ...] = ()


@contextmanager
def bare(server: Sequence[str], log: Path) -> Iterator[Subject]:
    """A server that listens on the loopback, and says at which URL in its first line."""
    with _started([*server, "--http", "0"], log) as first:
        yield Subject(first.strip())


@contextmanager
def served(sandbox: str, profile: str, place: Path, backend: str = "auto") -> Iterator[Subject]:
    """What `profile` describes behind `mcp-sandbox serve`: a sandbox for every session."""
    place.mkdir(parents=True, exist_ok=True)
    place.joinpath("everything.toml").write_text(profile)
    token = secrets.token_urlsafe(32)
    tokens = place / "tokens"
    tokens.touch(mode=0o600)
    tokens.write_text(f"suite {token}\n")
    argv = [
        sandbox, "serve", "--json", "--listen", "127.0.0.1:0", "--token-file", str(tokens),
        "--backend", backend, "--each", "512", "--sessions", "512", str(place / "everything.toml"),
    ]  # fmt: skip
    with _started(argv, place / "serve.log") as first:
        (address,) = json.loads(first)["urls"].values()
        yield Subject(address, token)


def over_stdio(server: Sequence[str]) -> str:
    """The profile of a server that speaks stdio inside."""
    return _profile(server, "")


def over_http(server: Sequence[str]) -> str:
    """The profile of the same server where it listens inside."""
    port = free_port()
    return _profile([*server, "--http", str(port)], f'transport = "http"\nport = {port}\n')


def of_url(address: str) -> str:
    """The profile of a server that is elsewhere, here on the host's loopback."""
    port = address.split(":")[2].partition("/")[0]
    network = f'[network]\nallow = ["localhost:{port}"]\n'
    return f'{PROFILE.read_text()}\n[server]\nurl = "{address.replace("127.0.0.1", "localhost")}"\n{network}'


def _profile(command: Sequence[str], more: str) -> str:
    return f"{PROFILE.read_text()}\n[server]\ncommand = {json.dumps([*command])}\n{more}"


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def _started(argv: Sequence[str], log: Path) -> Iterator[str]:
    """The first line that a process says when it is ready; it is ended by SIGTERM afterwards."""
    with log.open("wb") as told, subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=told) as running:  # noqa: S603
        try:
            first = running.stdout.readline().decode() if running.stdout else ""
            if not first:
                raise RuntimeError(f"{argv[0]} did not start: {log.read_text()[-2000:]}")
            yield first
        finally:
            running.terminate()
            try:
                running.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                running.kill()
