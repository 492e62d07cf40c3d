"""The holder at a real engine: whatever a container in its network tries ends outside, in our hands."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from sandbox import engine
from sandbox.backend import process
from sandbox.backend.docker import holder
from sandbox.backend.docker.handover import ask
from sandbox.backend.docker.holder import Held, Making, Spare
from sandbox.errors import SandboxError, SandboxNotBuilt
from sandbox.trap import Trapped, receive
from sandbox.wire import packet
from tests.conftest import Require
from tests.trapped import wait

ENDS_WITHIN_S = 2
# A program of a few imports that every image of ours has: words are attempts, a line is what came of each.
TRY = """
import socket, sys
def tcp(host, port, family):
    with socket.create_connection((host, port), 5) as one:
        one.sendall(b"hello")
        return one.recv(64).decode()
def udp(host, port, family):
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(5)
        one.connect((host, port))
        one.send(b"query")
        return one.recv(64).decode()
for word in sys.argv[1:]:
    how, host, port = word.split(",")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        print({"tcp": tcp, "udp": udp}[how](host, int(port), family))
    except OSError as error:
        print(type(error).__name__, error.errno)
"""
UNREACHABLE, REFUSED = "OSError 101", "ConnectionRefusedError 111"
FOUR, SIX = "1.2.3.4", "2606:4700::1111"


@pytest.fixture
def api(require: Require) -> Iterator[Any]:
    require("docker")
    with contextlib.closing(engine.connect(os.environ)) as found:
        yield found


@pytest.fixture
def making(api: Any, tmp_path: Path) -> Making:
    chosen = os.environ.get("MCP_SANDBOX_TEST_IMAGE")
    found = [{"Id": chosen}] if chosen else api.images(filters={"label": "io.mcp-sandbox.image=base"})
    assert found, "no image `base`: mcp-sandbox image build base"
    return Making(found[0]["Id"], f"{tmp_path}/holders", engine.endpoint(os.environ))


class Session:
    """One that takes holders: their ends of the trap, and what came out of them."""

    def __init__(self, api: Any, making: Making, undo: ExitStack) -> None:
        self.api, self.making, self.undo = api, making, undo
        self.sockets: dict[tuple[str, int, int], socket.socket] = {}

    def take(self, making: Making | None = None, ports: tuple[int, ...] = (443, 5432)) -> Held:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            name = f"mcp-sandbox-test-{os.urandom(6).hex()}-net"
            held = holder.take(self.api, making or self.making, name, ports, theirs.fileno())
            self.undo.callback(gone, self.api, held.container)
            self.undo.callback(held.connection.close)
            self.keep(receive(ours.fileno()))
        return held

    def keep(self, found: list[Trapped]) -> None:
        for one in found:
            opened = self.undo.enter_context(socket.socket(fileno=one.fd))
            family = {socket.AF_INET: 4, socket.AF_INET6: 6}.get(opened.family, 0)
            self.sockets[one.kind, one.port, family] = opened

    def spare(self) -> Spare:
        made = holder.spare(self.api, self.making)
        assert made is not None
        self.undo.callback(gone, self.api, made.container)
        self.undo.callback(made.close)
        return made


@pytest.fixture
def session(api: Any, making: Making) -> Iterator[Session]:
    with ExitStack() as undo:
        yield Session(api, making, undo)


def exists(api: Any, container: str) -> bool:
    return any(one["Id"] == container for one in api.containers(all=True))


def gone(api: Any, container: str) -> float:
    """After how many seconds the engine knows nothing of it any more."""
    begun = time.monotonic()
    while exists(api, container):
        assert time.monotonic() - begun < ENDS_WITHIN_S, f"{container} stays"
        time.sleep(0.01)
    return time.monotonic() - begun


def attempt(network: str, image: str, *words: str) -> subprocess.Popen[str]:
    """A container without a capability that tries, in that network."""
    options = ["--rm", "--network", network, "--cap-drop", "ALL", "--entrypoint", "python3"]
    return subprocess.Popen(
        ["docker", "run", *options, image, "-I", "-S", "-c", TRY, *words], stdout=subprocess.PIPE, text=True
    )


def outcomes(process: subprocess.Popen[str]) -> list[str]:
    said, _ = process.communicate(timeout=30)
    return said.splitlines()


def answered(listener: socket.socket) -> tuple[str, int]:
    """Answers one connection; the address that it was made to."""
    wait(listener)
    with listener.accept()[0] as one:
        wait(one)
        one.sendall(b"seen " + one.recv(64))
        address: tuple[str, int] = one.getsockname()[:2]
        return address


def test_every_connection_and_lookup_of_another_container_comes_out_here(session: Session) -> None:
    image = session.making.image
    words = (f"tcp,{FOUR},443", f"tcp,{SIX},5432", "udp,8.8.8.8,53", f"tcp,{FOUR},80", f"udp,{FOUR},123")
    # Without the trap there is nothing to connect to, and nothing comes here.
    assert {said.split()[0] for said in outcomes(attempt("none", image, *words))} == {"OSError"}
    held = session.take()
    trying = attempt(f"container:{held.container}", image, *words)
    assert answered(session.sockets["tcp", 443, 4]) == (FOUR, 443)
    assert answered(session.sockets["tcp", 5432, 6]) == (SIX, 5432)
    dns = session.sockets["udp", 53, 4]
    wait(dns)
    query, ((level, kind, data),), _, sender = dns.recvmsg(64, 64)
    # struct in_pktinfo: it is answered from where it was sent to.
    dns.sendmsg([b"no such " + query], [(level, kind, bytes(4) + data[8:12] + bytes(4))], 0, sender)
    # The reset of 80 is the kernel's own; the datagram to 123 is refused by an ICMP error.
    assert outcomes(trying) == ["seen hello", "seen hello", "no such query", REFUSED, REFUSED]
    seen = [packet.parse(session.sockets["observer", 0, 0].recv(4096)) for _ in range(2)]
    there = ip_address(FOUR).packed
    assert seen == [packet.Stray("tcp", there, 80), packet.Stray("udp", there, 123)]


def test_until_somebody_takes_it_nothing_listens_and_no_address_is_there(session: Session) -> None:
    spare = session.spare()
    image, network = session.making.image, f"container:{spare.container}"
    tries = (f"tcp,{FOUR},443", "tcp,127.0.0.1,443")
    assert outcomes(attempt(network, image, *tries)) == [UNREACHABLE, REFUSED]
    session.take()
    trying = attempt(network, image, *tries)
    assert answered(session.sockets["tcp", 443, 4]) == (FOUR, 443)
    assert answered(session.sockets["tcp", 443, 4]) == ("127.0.0.1", 443)
    assert outcomes(trying) == ["seen hello", "seen hello"]


def test_once_the_trap_stands_the_holder_has_no_right_left(session: Session) -> None:
    spare = session.spare()
    pid = session.api.inspect_container(spare.container)["State"]["Pid"]
    before = status(pid)
    assert int(before["CapEff"], 16)
    session.take()
    after = status(pid)
    assert not any(int(after[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
    assert after["NoNewPrivs"] == "1"
    assert after["Uid"].split()[0] != before["Uid"].split()[0]


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.strip() for name, _, rest in (line.partition(":") for line in lines)}


# --- ends ------------------------------------------------------------------------------------------


def test_the_end_of_the_connection_ends_the_container_which_is_removed(session: Session) -> None:
    held = session.take()
    assert exists(session.api, held.container)
    held.connection.close()
    gone(session.api, held.container)
    assert not os.listdir(session.making.folder)


OWNER = """
import os, sys, time
from sandbox import engine
from sandbox.backend import process
from sandbox.backend.docker import holder
image, folder = sys.argv[1:]
found = engine.endpoint(os.environ)
made = holder.spare(engine.connect(os.environ), holder.Making(image, folder, found))
print(made.container, flush=True)
time.sleep(60)
"""


def test_a_spare_dies_with_its_owner_and_the_next_session_clears_what_it_left(session: Session) -> None:
    words = [sys.executable, "-c", OWNER, session.making.image, session.making.folder]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        container = owner.stdout.readline().strip()
        assert exists(session.api, container)
        assert holder.spare(session.api, session.making) is None, "one waits already"
        owner.send_signal(signal.SIGKILL)
    gone(session.api, container)
    assert len(os.listdir(session.making.folder)) == 1
    assert not session.take().warm
    assert not os.listdir(session.making.folder)


def test_a_spare_that_is_taken_outlives_its_owner(session: Session) -> None:
    spare = session.spare()
    held = session.take()
    assert (held.warm, held.container) == (True, spare.container)
    wait(spare.connection)
    assert spare.connection.recv(1) == b"", "its owner is told"
    spare.close()
    image = session.making.image
    trying = attempt(f"container:{held.container}", image, f"tcp,{FOUR},443")
    assert answered(session.sockets["tcp", 443, 4]) == (FOUR, 443)
    assert outcomes(trying) == ["seen hello"]


def test_a_holder_whose_trap_cannot_be_set_says_why_and_ends(session: Session) -> None:
    spare = session.spare()
    with pytest.raises(SandboxNotBuilt, match="port"):
        session.take(ports=(70000,))
    gone(session.api, spare.container)


def test_a_holder_that_cannot_be_made_leaves_nothing(session: Session) -> None:
    making = Making("sha256:" + "0" * 64, session.making.folder, session.making.engine)
    with pytest.raises(engine.Failed):
        session.take(making)
    assert not os.listdir(making.folder)


# --- who gets a spare ------------------------------------------------------------------------------


def test_of_many_that_ask_at_once_one_gets_the_spare(session: Session) -> None:
    spare = session.spare()
    together = threading.Barrier(3)
    found: list[Held] = []

    def one() -> None:
        together.wait()
        found.append(session.take())

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(held.warm for held in found) == [False, False, True]
    assert len({held.container for held in found}) == 3
    assert [held.container for held in found if held.warm] == [spare.container]


def test_one_that_asks_too_late_on_an_open_connection_gets_nothing(session: Session) -> None:
    spare = session.spare()
    with holder._connected(spare.folder) as first, holder._connected(spare.folder) as second:
        assert ask(first)
        assert not ask(second)
        first.settimeout(1)
        with pytest.raises(TimeoutError):
            first.recv(1)  # still the holder's taker


def test_one_that_connects_and_says_nonsense_does_not_stop_the_next(session: Session) -> None:
    spare = session.spare()
    with holder._connected(spare.folder) as silent, holder._connected(spare.folder) as rude:
        rude.send(b"GET / HTTP/1.1")
        assert rude.recv(1) == b""
        assert session.take().container == spare.container
        assert silent.recv(1) == b""


def test_a_spare_of_another_engine_or_image_is_not_taken(session: Session) -> None:
    spare = session.spare()
    other = Making(session.making.image, session.making.folder, "unix:///somewhere/else.sock")
    assert not session.take(other).warm
    assert session.take().container == spare.container


# --- what may lie in the folder --------------------------------------------------------------------

Plant = Callable[[str, ExitStack], object]


def _nobody_listens(folder: str, undo: ExitStack) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one:
        one.bind(f"{folder}/s")


def _never_answers(folder: str, undo: ExitStack) -> None:
    one = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    one.bind(f"{folder}/s")
    one.listen()


def _a_file(folder: str, undo: ExitStack) -> None:
    Path(folder, "s").write_text("")


def _a_link(folder: str, undo: ExitStack) -> None:
    os.rename(folder, f"{folder}.moved")
    os.symlink(f"{folder}.moved", folder)
    _never_answers(f"{folder}.moved", undo)


def _empty(folder: str, undo: ExitStack) -> None:
    return


@pytest.mark.parametrize("plant", [_nobody_listens, _never_answers, _a_file, _a_link, _empty])
def test_what_is_no_spare_is_passed_over(
    session: Session, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    making = session.making
    os.mkdir(making.folder, 0o700)
    # A short way to it: an address has 108 bytes.
    monkeypatch.chdir(making.folder)
    name = f"{'a' * 64}~{holder._key(making)}"
    os.mkdir(name)
    plant(name, session.undo)
    begun = time.monotonic()
    assert not session.take().warm
    assert time.monotonic() - begun < ENDS_WITHIN_S


def test_a_spare_in_a_folder_of_another_user_is_not_taken(session: Session) -> None:
    spare = session.spare()
    if os.geteuid() == 0:
        os.chown(spare.folder, 12345, 12345)
    else:
        pytest.skip("only root gives a folder away")
    assert not session.take().warm
    os.chown(spare.folder, 0, 0)
    assert session.take().container == spare.container


def test_a_folder_that_others_reach_stops_the_start(session: Session) -> None:
    os.mkdir(session.making.folder)
    Path(session.making.folder).chmod(0o750)
    with pytest.raises(SandboxError, match="open to others") as caught:
        session.take()
    assert caught.value.hint == f"chmod 700 {session.making.folder}"


def test_sweeping_leaves_the_living(session: Session) -> None:
    spare = session.spare()
    folder = session.making.folder
    begun = f".{process.spelt(os.getpid())}~0"
    for name in (f"{'b' * 64}~dead", begun, ".1~1~0"):
        os.mkdir(f"{folder}/{name}")
    holder.sweep(folder)
    assert {*os.listdir(folder)} == {begun, os.path.basename(spare.folder)}
    assert session.take().container == spare.container


def test_a_maker_that_died_leaves_no_folder_to_who_takes(session: Session) -> None:
    os.makedirs(f"{session.making.folder}/.1~1~0", mode=0o700)
    os.chmod(session.making.folder, 0o700)
    session.take()
    assert ".1~1~0" not in os.listdir(session.making.folder)


def test_a_long_folder_is_no_obstacle(session: Session) -> None:
    making = Making(session.making.image, f"{session.making.folder}/{'long' * 40}", session.making.engine)
    assert len(making.folder) > 108
    session.making = making
    spare = session.spare()
    assert session.take().container == spare.container


# --- what the engine is asked for ------------------------------------------------------------------


def test_the_body_grants_a_network_of_its_own_and_nothing_else() -> None:
    host = holder.body(Making("sha256:1", "/spares", "unix:///e"), {}, ipv6=False)["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert host["ReadonlyRootfs"] is host["AutoRemove"] is True
    assert not {"Privileged", "Binds", "Devices", "PidMode", "UsernsMode", "VolumesFrom"} & host.keys()
    assert host["Sysctls"] == {}


def test_one_folder_of_the_host_is_mounted(session: Session) -> None:
    spare = session.spare()
    (mount,) = session.api.inspect_container(spare.container)["Mounts"]
    assert (mount["Type"], mount["Destination"]) == ("bind", "/s")
    assert os.path.dirname(mount["Source"]) == session.making.folder


def test_limits_that_the_engine_lacks_are_not_asked_for() -> None:
    asked = Making("sha256:1", "/spares", "unix:///e", limits=("pids",))
    host = holder.body(asked, {}, ipv6=True)["HostConfig"]
    assert "PidsLimit" in host
    assert "Memory" not in host
