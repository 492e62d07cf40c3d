"""The machine itself and its other sandboxes: loopback, own addresses, engine names, unix sockets."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.attacks.inside import PYTHON, World
from tests.backends import BACKENDS
from tests.egress.battery import LOOKUPS, PATIENCE_S, Sandboxed, Sides, fixtures, new_word, outside
from tests.egress.internet import Internet
from tests.egress.services import HOST_ADDRESSES, HOST_PORTS

pytestmark = pytest.mark.backends(docker="user")

standing, sides = fixtures("""
[network]
allow = ["allowed.test:80", "localhost:18002", "host.docker.internal:18003"]
""")

LISTED = 18002
WORLDS = [(caller, backend) for caller in ("root", "user") for backend in BACKENDS]
OTHERS = [port for port in HOST_PORTS if port != LISTED]


@pytest.mark.threat(
    "H2", backend="native", proves="no port of the host but the listed one is reached, by any address"
)
@pytest.mark.threat("D3", backend="native", proves="0 bytes at the host's own listeners, over TCP and IPv6")
@pytest.mark.parametrize("port", OTHERS)
@pytest.mark.parametrize(
    ("addresses", "shown"),
    [
        pytest.param(["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"], "localhost", id="loopback"),  # noqa: S104
        *(pytest.param([address], address, id=address) for address in HOST_ADDRESSES[2:]),
    ],
)
def test_a_port_of_the_host(addresses: list[str], shown: str, port: int, sides: Sides) -> None:
    word = new_word()
    at = sides.inside.position()
    for address in addresses:
        sides.refused("streams.tell", host=address, port=port, word=word)
    sides.silent(word)
    sides.denied("egress.deny", start=at, host=shown, port=port)
    for address in addresses:
        sides.internet.begin()
        sides.control(word, "streams.tell", host=address, port=port, word=word)


@pytest.mark.threat("H2", backend="native", proves="a listed loopback port is no other address of the host's")
@pytest.mark.parametrize("address", ["10.77.0.1", "fd77::1"])
def test_the_listed_port_by_another_address(address: str, sides: Sides) -> None:
    word = new_word()
    sides.refused("streams.tell", host=address, port=LISTED, word=word)
    sides.silent(word)
    sides.denied("egress.deny", host=address, port=LISTED)
    sides.control(word, "streams.tell", host=address, port=LISTED, word=word)


def test_the_listed_port_is_reached(sides: Sides, internet: Internet) -> None:
    for address in ("127.0.0.1", "::1", "localhost"):
        word = new_word()
        sides.attack("streams.tell", host=address, port=LISTED, word=f"{word}\n")
        assert word.encode() in internet.host_heard()
    assert {one["port"] for one in internet.host_connections()} == {LISTED}
    assert internet.outside_packets() == []


ENGINES = """host.docker.internal gateway.docker.internal docker.for.mac.localhost host.containers.internal
             host.lima.internal host.minikube.internal kubernetes.default.svc.cluster.local
             metadata.google.internal instance-data.ec2.internal localhost.localdomain me.localhost""".split()


@pytest.mark.threat(
    "H2", backend="native", proves="no name of an engine leads to the host, not even an allowed one"
)
@pytest.mark.parametrize("name", ENGINES)
def test_names_that_engines_give_the_host(name: str, sides: Sides, internet: Internet) -> None:
    internet.rename(name, "10.77.0.1")
    word = new_word()
    sides.refused("streams.tell", host=name, port=18003, word=word)
    sides.silent(word, LOOKUPS)
    if name == "host.docker.internal":  # which the profile allows
        sides.denied("egress.deny", "10.77.0.1 (own)", host=name, port=18003)
    else:
        assert internet.names_asked() == []
        sides.denied("dns.deny", "not allowed", host=name)
    if name.endswith("localhost") and "host.docker" not in name:
        return  # libraries answer these themselves, and need not ask
    sides.control(word, "streams.tell", host=name, port=18003, word=word)


# --- listeners of a daemon's kind -----------------------------------------------------------------

DAEMON = """
import socket, sys, threading
def hear(one):
    while True:
        client, _ = one.accept()
        with client:
            while data := client.recv(4096):
                print(data.decode("latin-1"), flush=True)
places = [(address, port) for address in ("127.0.0.1", "10.77.0.1") for port in (2375, 2376)]
ones = [socket.create_server(one) for one in places]
for name in sys.argv[1:]:
    one = socket.socket(socket.AF_UNIX)
    one.bind("\\0" + name[1:] if name[0] == "@" else name)
    one.listen()
    ones.append(one)
for one in ones:
    threading.Thread(target=hear, args=(one,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""


class Daemon:
    """What listens in the test host as an engine does: its TCP ports, a socket file, an abstract socket."""

    def __init__(self, internet: Internet, world: World) -> None:
        self.path = str(world.scratch / f"{secrets.token_hex(4)}.sock")
        self.abstract = f"@mcp-{secrets.token_hex(8)}"
        # The caller's own, so that no permission stands in the way.
        words = [*internet.prefix(), *world.prefix(), PYTHON, "-c", DAEMON, self.path, self.abstract]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(words, text=True, cwd="/", **pipes)
        assert self.line() == "ready"

    def line(self) -> str:
        """The next thing it heard."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def close(self) -> str:
        """Ends it; what it heard that nobody asked for yet."""
        self.process.kill()
        return self.process.communicate(timeout=10)[0]


@pytest.fixture
def daemon(internet: Internet, world: World) -> Iterator[Daemon]:
    """A daemon of the host's that believes whoever connects."""
    made = Daemon(internet, world)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.threat(
    "H2", backend="native", proves="no engine of the host is reached: TCP ports, socket, abstract"
)
@pytest.mark.parametrize("way", ["127.0.0.1:2375", "10.77.0.1:2375", "127.0.0.1:2376", "path", "abstract"])
def test_an_engine_of_the_host(way: str, sides: Sides, daemon: Daemon) -> None:
    word = new_word()
    host, _, port = way.partition(":")
    name = "streams.tell" if port else "own.tell_unix"
    request = f"GET /{word} HTTP/1.1\r\nHost: docker\r\n\r\n" if port else word
    asked = {"host": host, "port": int(port)} if port else {"path": getattr(daemon, way)}
    sides.refused(name, word=request, **asked)
    sides.silent(word)
    if port:
        sides.denied("egress.deny", port=int(port))
    sides.outside.call(name, word=request, **asked)
    # The first that it heard is the control's.
    assert word in daemon.line()


# --- ways in, and what is brought along -----------------------------------------------------------


@pytest.mark.threat(
    "K3", backend="native", proves="a bind shell is nobody's: no listener inside is reached from outside"
)
def test_a_listener_inside(sides: Sides, internet: Internet) -> None:
    # Another world's control still listens outside.
    port, word = 5555 + WORLDS.index((sides.world.caller, sides.world.backend)), new_word()
    addresses = ("127.0.0.1", "::1", "10.77.0.1", "fd77::1")
    assert sides.inside.call("own.listen", child=False, port=port) == {"got": port}
    for address in addresses:
        assert sides.outside.call("streams.tell", host=address, port=port, word=word) == {
            "failed": "ECONNREFUSED"
        }
    assert sides.inside.call("own.heard", child=False) == {"got": []}
    assert sides.outside.call("own.listen", child=False, port=port) == {"got": port}
    for address in addresses:
        assert sides.outside.call("streams.tell", host=address, port=port, word=word) == {"got": "!"}
    assert sides.outside.call("own.heard", child=False) == {"got": [word] * len(addresses)}


# A client whose connection is open, and inheritable, while it starts a server.
CARELESS = """
import os, socket, sys
one = socket.create_connection(("203.0.113.77", 4444), 10)
os.dup2(one.fileno(), 77)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.threat(
    "D3", backend="native", proves="no open connection of the client's, and no socket of the trap, comes in"
)
def test_a_connection_that_the_client_left_open(internet: Internet, world: World) -> None:
    word, careless = new_word(), [PYTHON, "-c", CARELESS]
    inside = Sandboxed(internet, world, '[network]\nallow = ["allowed.test:80"]\n', behind=careless)
    try:
        assert inside.call("own.inherited", word=word) == {"got": []}
        assert internet.heard() == b""
    finally:
        inside.close()
    with outside(internet, world, behind=careless) as control:
        control.call("own.inherited", word=word)
        assert word.encode() in internet.heard()


# --- another sandbox ------------------------------------------------------------------------------

SHARED = 7777
TABLES = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet", "unix")
LISTENS = {"tcp": "0A", "tcp6": "0A"}


def open_to_others(internet: Internet) -> set[str]:
    """Whatever of the test host's network takes what others send: listeners, and sockets of other kinds."""
    found = set()
    for table in TABLES:
        lines = internet.run(["cat", f"/proc/net/{table}"]).stdout.splitlines()[1:]
        for words in map(str.split, lines):
            if table == "unix":
                found |= {words[-1]} if words[-1].startswith("@") else set()
            elif table == "packet":
                found.add(f"packet {words[0]}")
            elif words[3] == LISTENS.get(table, words[3]):
                found.add(f"{table} {words[1]}")
    return found


@pytest.mark.threat("S5", backend="native", proves="a sandbox reaches no port of another, by any address")
@pytest.mark.threat(
    "D3", backend="native", proves="a sandbox's gateway and listeners are nobody else's way out"
)
def test_another_sandbox(internet: Internet, world: World) -> None:
    profile = '[network]\nallow = ["allowed.test:80"]\n'
    one, other = (Sandboxed(internet, world, profile) for _ in range(2))
    try:
        assert one.call("own.listen", child=False, port=SHARED) == {"got": SHARED}
        made_up = one.call("dns.resolve", name="allowed.test")["got"]
        word = new_word()
        addresses = ("127.0.0.1", "::1", "198.18.0.1", "fd53:6278::1", "10.77.0.1", *made_up)
        for address in addresses:
            assert "failed" in other.call("streams.tell", host=address, port=SHARED, word=word), address
        # The name's address in the one is no name in the other, which has not looked it up.
        request = f"GET /{word} HTTP/1.1\r\nHost: allowed.test\r\n\r\n"
        for address in made_up:
            assert "failed" in other.call("streams.tell", host=address, port=80, word=request), address
        assert one.call("own.heard", child=False) == {"got": []}
        assert internet.outside_packets() == []
        # The control: from the same sandbox the listener is there.
        assert one.call("streams.tell", host="127.0.0.1", port=SHARED, word=word) == {"got": "!"}
        assert one.call("own.heard", child=False) == {"got": [word]}
    finally:
        one.close()
        other.close()


@pytest.mark.threat(
    "S5", backend="native", proves="a gateway listens nowhere: no port, no abstract name, no raw socket"
)
def test_the_gateway_is_open_to_nobody(internet: Internet, world: World) -> None:
    before = open_to_others(internet)
    assert len(before) > 30  # the canary listeners
    one = Sandboxed(internet, world, '[network]\nallow = ["allowed.test:80", "allowed.test:9001"]\n')
    try:
        one.call("own.heard")
        asked = {"seconds": 0.01, "times": 100, "host": "allowed.test", "port": 9001, "word": "x"}
        one.call("behave.later", child=False, way="keepalive", **asked)
        _until(lambda: internet.heard() != b"")
        assert open_to_others(internet) == before
    finally:
        one.close()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline


@pytest.mark.threat("S5", backend="native", proves="no abstract socket of another sandbox is reached")
def test_an_abstract_socket_of_another_sandbox(internet: Internet, world: World) -> None:
    one, other = (Sandboxed(internet, world, "") for _ in range(2))
    name = f"@mcp-{secrets.token_hex(8)}"
    try:
        assert one.call("own.listen_abstract", child=False, name=name) == {"got": None}
        assert other.call("own.tell_unix", path=name, word="x") == {"failed": "ECONNREFUSED"}
        assert one.call("own.tell_unix", path=name, word="x") == {"got": None}
    finally:
        one.close()
        other.close()
