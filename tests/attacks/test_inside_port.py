"""The port of a server inside: its own bridge alone reaches it; without us everybody does."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sandbox import engine, images
from sandbox.backend.docker.far_words import own_addresses
from tests import backends
from tests.attacks.inside import World
from tests.attacks.program import listening
from tests.attacks.speaking import Speaker, program, speaking
from tests.backends import DOCKER, NATIVE
from tests.conftest import Ready

pytestmark = pytest.mark.backends(docker="user")
ANYWHERE = "::"
"""On all addresses of both families: as open as a server can be."""
ANSWER = "HTTP/1.1 405 Method Not Allowed"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def addresses() -> list[str]:
    """Every address of this machine by which somebody could try."""
    tables = "".join(Path(f"/proc/net/{name}").read_text() for name in ("fib_trie", "if_inet6"))
    # A link's own address needs the link's name beside it.
    return ["127.0.0.1", "::1", *(one for one in own_addresses(tables) if not one.startswith("fe80"))]


@contextmanager
def bare(world: World, port: int) -> Iterator[None]:
    """The same server under the same caller, without us."""
    argv = [*world.prefix(), *program(world, str(port), ANYWHERE)]
    with subprocess.Popen(argv, env=world.environ, stdin=subprocess.DEVNULL) as server:
        try:
            until(lambda: reached("127.0.0.1", port) == ANSWER)
            yield
        finally:
            server.kill()


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "the control never listened"
        time.sleep(0.02)


def reached(host: str, port: int) -> str:
    """The first line of an answer, or how the attempt failed."""
    try:
        return listening.fetch(host, port)
    except OSError as error:
        return type(error).__name__


@contextmanager
def listener(world: World, port: int) -> Iterator[Speaker]:
    """The server in its sandbox; its bridge reaches it: it stands."""
    with speaking(world, ANYWHERE, port=port) as server:
        assert "result" in server.begin()
        assert server.got("fetch", host="127.0.0.1", port=port) == ANSWER
        yield server


@pytest.mark.threat("S1", proves="a server's port inside is refused to the host, which reaches the bare one")
@pytest.mark.threat("S4", proves="a server's port inside is refused to the host, which reaches the bare one")
def test_not_from_the_host(world: World) -> None:
    port = free_port()
    with listener(world, port) as server:
        found = {host: reached(host, port) for host in addresses()}
        assert set(found.values()) == {"ConnectionRefusedError"}, found
        assert world.backend == NATIVE or networks(server) == {"none"}
    with bare(world, port):
        assert {host: reached(host, port) for host in addresses()} == dict.fromkeys(found, ANSWER)


def networks(server: Speaker) -> set[str]:
    """Those that the server's container is in: its holder's, with the ports that are published."""
    with closing(engine.connect(os.environ)) as api:
        found = api.inspect_container(backends.container(server.process.pid).id)
        holder = api.inspect_container(found["HostConfig"]["NetworkMode"].removeprefix("container:"))
    ports = [one["HostConfig"].get("PortBindings") or {} for one in (found, holder)]
    return {*holder["NetworkSettings"]["Networks"], *(name for one in ports for name in one)}


@pytest.mark.threat("S1", proves="a server's port inside is refused to another sandbox")
def test_not_from_another_sandbox(world: World) -> None:
    """Not even from one that may connect to that port of the host's, where the bare server is."""
    port, own = free_port(), free_port()
    allowed = ("--allow-net", f"localhost:{port}")
    with speaking(world, port=own, options=allowed) as other:
        other.begin()
        with listener(world, port):
            for host in ("localhost", "127.0.0.1", "::1", *addresses()[2:]):
                found = other.outcome("fetch", host=host, port=port)
                assert "failed" in found, (host, found)
        with bare(world, port):
            assert other.got("fetch", host="localhost", port=port) == ANSWER


SCRIPT = """
import socket, sys
for host in sys.argv[2:]:
    try:
        with socket.create_connection((host, int(sys.argv[1])), timeout=3) as one:
            one.sendall(b"GET /mcp HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n")
            print(one.recv(64).split(b"\\r\\n")[0].decode())
    except OSError as error:
        print(type(error).__name__)
"""


@pytest.mark.long
def test_not_from_another_container(world: World, ready: Ready) -> None:
    """One on the machine's own network, and one on the engine's, which see more than any sandbox."""
    ready(DOCKER)
    port = free_port()
    with listener(world, port):
        inside = [*from_container("host", port), *from_container("bridge", port)]
    with bare(world, port):
        outside = from_container("host", port)
    assert outside == [ANSWER] * len(addresses()), "the control"
    assert set(inside) <= {"ConnectionRefusedError", "TimeoutError", "OSError"}, inside


def started(api: engine.Api, container: object) -> bool:
    """Whether the engine could."""
    try:
        api.start(container)
    except engine.Failed:
        return False
    return True


def from_container(network: str, port: int) -> list[str]:
    """What a container there got from each address of this machine, one a line."""
    with closing(engine.connect(os.environ)) as api:
        made = api.create_container(
            image=images.find("python", os.environ).id,
            entrypoint=["python3", "-c", SCRIPT],
            command=[str(port), *addresses()],
            host_config=api.create_host_config(network_mode=network),
        )
        try:
            if not started(api, made) and network != "host":
                return []  # this machine's engine has no such network
            api.wait(made, timeout=60)
            return list(api.logs(made).decode().splitlines())
        finally:
            api.remove_container(made, force=True)
