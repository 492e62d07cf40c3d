"""The gateway in a container, against this machine's engine: the same policy, and nothing left of it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from sandbox import engine, linux
from sandbox.backend.docker import far_gateway, holder
from sandbox.backend.docker.far_gateway import Far
from sandbox.backend.docker.far_words import Deframer, Order, exempt, frame, own_addresses
from sandbox.backend.native import seccomp
from sandbox.egress.charge import Charge
from sandbox.egress.words import SETTLE, SETTLED, WRITTEN
from sandbox.errors import SandboxNotBuilt
from sandbox.policy.model import HostRule, Network
from sandbox.records import replace
from tests.conftest import Require

ENDS_WITHIN_S = 5
WEB = """
import socket
with socket.create_server(("", 80)) as listener:
    while True:
        with listener.accept()[0] as one:
            one.recv(4096)
            one.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nhi")
"""
# What came of a request to each `host:port`: the first line of the answer or the name of the error.
ASK = """
import socket, sys
for word in sys.argv[1:]:
    host, _, port = word.partition(":")
    try:
        with socket.create_connection((host, int(port)), 10) as one:
            one.sendall(f"GET / HTTP/1.1\\r\\nHost: {word.removesuffix(':80')}\\r\\n\\r\\n".encode())
            print(one.recv(4096).split(b"\\r\\n")[0].decode() or "nothing")
    except OSError as error:
        print(type(error).__name__)
"""
OK, NO_NAME, RESET = "HTTP/1.1 200 OK", "gaierror", "ConnectionResetError"


@pytest.fixture
def api(require: Require) -> Iterator[Any]:
    require("docker")
    with contextlib.closing(engine.connect(os.environ)) as found:
        yield found


def image(api: Any, name: str) -> str:
    found = api.images(filters={"label": f"io.mcp-sandbox.image={name}"})
    assert found, f"no image `{name}`: mcp-sandbox image build {name}"
    return str(found[0]["Id"])


@pytest.fixture
def outside(api: Any) -> Iterator[str]:
    """A network with public addresses and two web servers in it; nobody outside is asked."""
    name = f"mcp-sandbox-test-{os.urandom(4).hex()}"
    subnet = f"44.88.{os.getpid() % 250}.0/24"
    web = f"{name}-web"
    options = ["-d", "--rm", "--name", web, "--network", name, "--entrypoint", "python3"]
    for alias in ("allowed.test", "denied.test"):
        options += ["--network-alias", alias]
    with ExitStack() as undo:
        _docker("network", "create", "--subnet", subnet, name)
        undo.callback(_docker, "network", "rm", name)
        _docker("run", *options, image(api, "base"), "-c", WEB)
        undo.callback(_docker, "rm", "-f", web)
        yield name


@pytest.fixture
def elsewhere(require: Require) -> Iterator[str]:
    """A public address of the engine's machine: the one that it has in another network."""
    require("docker")
    name = f"mcp-sandbox-test-{os.urandom(4).hex()}"
    prefix = f"44.89.{os.getpid() % 250}"
    _docker("network", "create", "--subnet", f"{prefix}.0/24", "--gateway", f"{prefix}.1", name)
    yield f"{prefix}.1"
    _docker("network", "rm", name)


def _docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True, timeout=30).stdout


def order(*rules: HostRule) -> Order:
    ports = tuple(sorted({rule.port for rule in rules}))
    return Order(ports, Charge(Network(allow=rules)), seccomp.load("net", linux.MACHINE))


@pytest.fixture
def far(api: Any, outside: str, tmp_path: Path) -> Far:
    name = f"mcp-sandbox-test-{os.urandom(6).hex()}"
    making = holder.Making(image(api, "base"), f"{tmp_path}/holders", engine.endpoint(os.environ))
    rules = HostRule("allowed.test", 80), HostRule("own.test", 8080, opaque=True)
    return Far(name, image(api, "python"), making, order(*rules), outside)


class Session:
    """The wrapper's ends of a gateway that `run` carries in a thread."""

    def __init__(self, api: Any, far: Far) -> None:
        self.far = far
        self.trap, trap = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.error: Exception | None = None
        self.said: list[dict[str, Any]] = []
        self._run = Thread(target=self._carry, args=(api, trap.detach(), channel.detach()))
        self._run.start()

    def _carry(self, api: Any, trap: int, channel: int) -> None:
        try:
            far_gateway.run(api, self.far, trap, channel)
        except Exception as error:
            self.error = error

    def held(self) -> str:
        """The holder's id; empty where none came to be."""
        word = self.trap.recv(200)
        assert word[:1] in (b"", far_gateway.HELD)
        return word[1:].decode()

    def ask(self, *words: str) -> list[str]:
        """What a program in the sandbox's network gets; every fact is written down and answered."""
        options = ["--rm", "--network", f"container:{self.container}", "--cap-drop", "ALL"]
        words = (
            "docker",
            "run",
            *options,
            "--entrypoint",
            "python3",
            self.far.making.image,
            "-c",
            ASK,
            *words,
        )
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            listening = Thread(target=self._listen)
            listening.start()
            said, _ = process.communicate(timeout=60)
            self.channel.send(SETTLE)
            listening.join(20)
        return said.splitlines()

    def _listen(self) -> None:
        while (body := self.channel.recv(1 << 16)) and body != SETTLED:
            self.said.append(json.loads(body))
            if not self.said[-1].get("quiet"):
                self.channel.send(WRITTEN)

    def reasons(self) -> list[str]:
        return [one["detail"]["reason"] for one in self.said if one.get("kind") == "egress.deny"]

    def begin(self) -> None:
        self.container = self.held()
        assert self.container, self.error

    def end(self) -> list[dict[str, Any]]:
        """Hangs up; what the gateway still had to say."""
        last = []
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_WR)
        self.channel.settimeout(ENDS_WITHIN_S)
        with contextlib.suppress(ConnectionError):
            while body := self.channel.recv(1 << 16):
                last.append(json.loads(body))
        self._run.join(ENDS_WITHIN_S)
        assert not self._run.is_alive()
        self.trap.close()
        self.channel.close()
        return last


@contextmanager
def begun(api: Any, far: Far) -> Iterator[Session]:
    session = Session(api, far)
    try:
        session.begin()
        yield session
    finally:
        session.end()
        assert_nothing_is_left(api, far)


def assert_nothing_is_left(api: Any, far: Far) -> None:
    until = time.monotonic() + ENDS_WITHIN_S
    while left := api.containers(all=True, filters={"name": far.name}):
        assert time.monotonic() < until, [one["Names"] for one in left]
        time.sleep(0.02)


def volumes(api: Any) -> set[str]:
    return {one["Name"] for one in api.volumes()["Volumes"] or []}


# --- what passes ------------------------------------------------------------------------------------


def test_the_policy_holds_as_it_does_with_a_gateway_beside_the_wrapper(api: Any, far: Far) -> None:
    with begun(api, far) as session:
        got = session.ask("allowed.test:80", "denied.test:80", "allowed.test:8080", "1.2.3.4:80", "1.2.3.4:9")
        assert got == [OK, NO_NAME, RESET, RESET, "ConnectionRefusedError"]
        kinds = [one.get("kind") for one in session.said]
        assert {"egress.allow", "egress.close", "egress.deny", "dns.deny"} <= {*kinds}
        allowed = session.said[kinds.index("egress.allow")]["detail"]
        assert (allowed["host"], allowed["port"]) == ("allowed.test", 80)
        assert allowed["addresses"][0].startswith("44.88.")


def test_a_name_that_leads_to_the_engine_s_own_machine_is_refused(
    api: Any, far: Far, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = elsewhere
    plain = far_gateway.gateway_body

    def with_own_name(one: Far) -> dict[str, Any]:
        body = plain(one)
        return {**body, "HostConfig": {**body["HostConfig"], "ExtraHosts": [f"own.test:{own}"]}}

    monkeypatch.setattr(far_gateway, "gateway_body", with_own_name)
    with socket.create_server((own, 8080)) as listener:
        with begun(api, far) as session:
            assert session.ask("own.test:8080") == [RESET]
            assert session.reasons() == [f"the name resolves to {own} (own), which no public name may"]
        # Had the gateway not been told, it would have got there.
        monkeypatch.setattr(far_gateway, "own_addresses", lambda _tables: ())
        with begun(api, far) as session:
            answering = Thread(target=_answer, args=(listener,))
            answering.start()
            assert session.ask("own.test:8080") == [OK]
            answering.join(5)


def _answer(listener: socket.socket) -> None:
    with listener.accept()[0] as one:
        one.recv(4096)
        one.sendall(b"HTTP/1.1 200 OK\r\n\r\n")


def test_the_gateway_has_no_right_and_a_filter(api: Any, far: Far) -> None:
    with begun(api, far):
        (found,) = api.containers(filters={"name": f"{far.name}-gateway"})
        pid = api.inspect_container(found["Id"])["State"]["Pid"]
        for task in Path(f"/proc/{pid}/task").iterdir():
            lines = task.joinpath("status").read_text().splitlines()
            status = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
            assert not any(int(status[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
            # The engine's own filter, and ours.
            assert (status["NoNewPrivs"], status["Seccomp"], status["Seccomp_filters"]) == (
                ["1"],
                ["2"],
                ["2"],
            )


# --- ends -------------------------------------------------------------------------------------------


def test_after_the_wrapper_hangs_up_the_last_words_come_and_nothing_stays(api: Any, far: Far) -> None:
    before = volumes(api)
    session = Session(api, far)
    session.begin()
    assert len(volumes(api) - before) == 1
    assert session.ask("denied.test:80", "denied.test:80") == [NO_NAME, NO_NAME]
    last = session.end()
    assert session.error is None
    assert [one["kind"] for one in last] == ["dns.deny"]
    assert_nothing_is_left(api, far)
    assert volumes(api) <= before


CARRY = """
import os, pickle, sys
from sandbox import engine
from sandbox.backend.docker import far_gateway
far = pickle.load(sys.stdin.buffer)
far_gateway.run(engine.connect(os.environ), far, int(sys.argv[1]), int(sys.argv[2]))
"""


def test_when_its_carrier_is_killed_everything_goes_at_the_engine(api: Any, far: Far) -> None:
    before = volumes(api)
    ours, trap = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    said, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fds = (trap.fileno(), channel.fileno())
    words = [sys.executable, "-c", CARRY, *map(str, fds)]
    with ours, said, trap, channel, subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=fds) as carrier:
        for theirs in (trap, channel):
            theirs.close()  # its end is an end here too
        _feed(carrier, pickle.dumps(far))
        assert ours.recv(200)[:1] == far_gateway.HELD
        assert len(api.containers(filters={"name": far.name})) == 2
        carrier.send_signal(signal.SIGKILL)
    assert_nothing_is_left(api, far)
    assert volumes(api) <= before


def _feed(process: subprocess.Popen[bytes], body: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(body)
    process.stdin.close()


@pytest.mark.parametrize("broken", ["image", "network", "filter"])
def test_one_that_cannot_be_made_says_so_and_leaves_nothing(api: Any, far: Far, broken: str) -> None:
    nothing: dict[str, Any] = {
        "image": {"image": "sha256:" + "0" * 64},
        "network": {"network": "mcp-sandbox-test-nowhere"},
        "filter": {"order": replace(far.order, filter=b"no filter")},
    }
    session = Session(api, replace(far, **nothing[broken]))
    said = [] if broken != "filter" else [json.loads(session.channel.recv(4096))]
    assert session.held() == ""
    session.end()
    assert isinstance(session.error, (*engine.Failed, SandboxNotBuilt))
    assert [list(one) for one in said] == ([["fault"]] if said else [])
    assert_nothing_is_left(api, far)


# --- the words --------------------------------------------------------------------------------------


def test_frames_come_whole_however_the_stream_is_cut() -> None:
    bodies = [b"first", b"", b"x" * 300, b"\x00\x00\x00\x01"]
    stream = b"".join(map(frame, bodies))
    for cut in range(len(stream) + 1):
        deframer = Deframer()
        assert [*deframer.feed(stream[:cut]), *deframer.feed(stream[cut:])] == bodies
    deframer = Deframer()
    assert [body for at in range(len(stream)) for body in deframer.feed(stream[at : at + 1])] == bodies


def test_a_frame_too_large_to_be_ours_is_an_error() -> None:
    with pytest.raises(ValueError, match="a frame of"):
        list(Deframer().feed(b"GET / HTTP/1.1"))


TABLES = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.1.2.3
        /32 host LOCAL
     |-- 10.1.2.255
        /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 93.184.216.34
        /32 host LOCAL
Local:
     |-- 10.1.2.3
        /32 host LOCAL
00000000000000000000000000000001 01 80 10 80       lo
fe800000000000000000000000000001 02 40 20 80     eth0
26064700000000000000000000001111 02 40 00 80     eth0
"""


def test_a_machine_s_own_addresses_are_read_from_the_kernel_s_tables() -> None:
    v6 = "2606:4700:0000:0000:0000:0000:0000:1111"
    assert own_addresses(TABLES) == ("10.1.2.3", "93.184.216.34", v6)


def test_this_machine_s_tables_say_what_it_has() -> None:
    found = own_addresses(Path("/proc/net/fib_trie").read_text())
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as one:
        one.bind((found[0], 0))  # only an own address can be bound


def test_gateways_and_name_servers_are_exempt() -> None:
    route = "Iface Destination Gateway Flags\neth0 00000000 010011AC 0003\neth0 000011AC 00000000 0001\n"
    assert exempt(route, "search x\nnameserver 10.0.0.2\n") == {"172.17.0.1", "0.0.0.0", "10.0.0.2"}  # noqa: S104
