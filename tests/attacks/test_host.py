"""The machine around: its network, its sockets, its kernel's switches, its terminal, its name."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import threading
import tty
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from sandbox.plan.system import MASKED
from tests.attacks.inside import Sides, World
from tests.differences import EMPTY, OWN, differs

pytestmark = pytest.mark.backends(docker="root user", gvisor="user")

HOST_SOCKETS = (
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/dbus/system_bus_socket",
    "/run/systemd/private",
)


class Sink:
    """Listeners of the host's that remember every byte they were told."""

    def __init__(self, directory: Path) -> None:
        self.heard = b""
        self.abstract = f"@mcp-sink-{os.getpid()}"
        self.path = str(directory / "sink.sock")
        self.address = _own_address()
        self._sockets = {
            "tcp": socket.create_server(("0.0.0.0", 0)),  # noqa: S104 - every address of the host must be refused
            "tcp6": socket.create_server(("::1", 0), family=socket.AF_INET6),
            "udp": _bound(socket.AF_INET, socket.SOCK_DGRAM, ("0.0.0.0", 0)),  # noqa: S104
            "unix": _bound(socket.AF_UNIX, socket.SOCK_STREAM, self.path),
            "abstract": _bound(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.abstract[1:]),
        }
        for kind in ("unix", "abstract"):
            self._sockets[kind].listen()
        os.chmod(self.path, 0o777)  # noqa: S103 - only the sandbox may stand in the way
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def port(self, kind: str) -> int:
        return int(self._sockets[kind].getsockname()[1])

    def _listen(self) -> None:
        while True:
            ready, _, _ = select.select([self._stop, *self._sockets.values()], [], [])
            if self._stop in ready:
                return
            for one in ready:
                self._hear(one)

    def _hear(self, one: socket.socket) -> None:
        if one.type == socket.SOCK_DGRAM:
            said, sender = one.recvfrom(4096)
            self.heard += said
            one.sendto(b"!", sender)
            return
        client, _ = one.accept()
        with client:
            client.settimeout(5)
            self.heard += client.recv(4096)
            client.sendall(b"!")

    def close(self) -> None:
        os.write(self._stopped, b"!")
        self._thread.join()
        for one in self._sockets.values():
            one.close()
        os.close(self._stop)
        os.close(self._stopped)
        os.unlink(self.path)


def _bound(family: int, kind: int, address: object) -> socket.socket:
    made = socket.socket(family, kind)
    made.bind(address)  # type: ignore[arg-type]
    return made


def _own_address() -> str:
    """An address of this host's that is not loopback; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"


@pytest.fixture
def sink(world: World) -> Iterator[Sink]:
    """Listeners on the host, one of them a socket file in the caller's home."""
    made = Sink(world.home)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.threat("D3", proves="0 bytes at a sink on the host: TCP, UDP, IPv6, unix and abstract sockets")
@pytest.mark.threat("K3", proves="no listener of the host is reached; the control reaches each")
@pytest.mark.parametrize("kind", ["tcp", "tcp of the host's address", "tcp6", "udp", "unix", "abstract"])
def test_no_listener_of_the_host_is_reached(kind: str, sides: Sides, sink: Sink) -> None:
    word = sides.world.word
    attack, asked = {
        "tcp": ("tell_tcp", {"address": "127.0.0.1", "port": sink.port("tcp")}),
        "tcp of the host's address": ("tell_tcp", {"address": sink.address, "port": sink.port("tcp")}),
        "tcp6": ("tell_tcp", {"address": "::1", "port": sink.port("tcp6")}),
        "udp": ("tell_udp", {"address": "127.0.0.1", "port": sink.port("udp")}),
        "unix": ("tell_unix", {"path": sink.path}),
        "abstract": ("tell_unix", {"path": sink.abstract}),
    }[kind]
    result = sides.inside.call(f"host.{attack}", word=word, **asked)
    assert result.get("failed") in ("ECONNREFUSED", "ENETUNREACH", "ENOENT", "EPERM"), result
    assert sink.heard == b""
    sides.control(f"host.{attack}", word=word, **asked)
    assert sink.heard == word.encode()


def test_a_socket_that_comes_later_into_a_granted_directory_is_granted(sides: Sides) -> None:
    """docs/security-model.md says so: the kernel asks for the socket's permission, not for its mount's."""
    granted = Sink(sides.world.project)
    try:
        result = sides.inside.call("host.tell_unix", path=granted.path, word="hello")
        expected = differs("a socket that comes later", sides.world.backend, "granted")
        if expected == "granted":
            assert (result, granted.heard) == ({"got": None}, b"hello")
        else:
            assert (result, granted.heard) == ({"failed": expected}, b"")
    finally:
        granted.close()


@pytest.mark.threat("D3", proves="lo alone, no route, no packet or raw socket")
def test_the_network_is_empty(sides: Sides) -> None:
    assert sides.got("host.interfaces") == ["lo"]
    assert sides.got("host.routes") == []
    if sides.control("host.interfaces") == ["lo"]:
        pytest.skip("this host has no interface either: no control")


@pytest.mark.threat("D3", proves="no packet or raw socket, even with a user namespace of one's own")
@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [
        pytest.param(socket.AF_PACKET, socket.SOCK_RAW, 0x0300, id="packet"),
        pytest.param(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP, id="raw"),
        pytest.param(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6, id="raw IPv6"),
    ],
)
def test_no_raw_sockets(family: int, kind: int, protocol: int, sides: Sides) -> None:
    sides.refused(
        "host.raw_socket", "EPERM EAFNOSUPPORT", family=int(family), kind=int(kind), protocol=protocol
    )


@pytest.mark.threat("H2", proves="no socket of the host's daemons exists inside")
def test_no_daemon_socket_exists(sides: Sides) -> None:
    for path in HOST_SOCKETS:
        assert sides.inside.call("files.exists", path=path) == {"failed": "ENOENT"}
    here = [path for path in HOST_SOCKETS if os.path.exists(path)]
    if not here:
        pytest.skip("no such daemon runs here: no control")
    sides.control("files.exists", path=here[0])


SWITCHES = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger"]


@pytest.mark.threat("H2", proves="core_pattern, modprobe and sysrq-trigger cannot be opened for writing")
@pytest.mark.parametrize("path", SWITCHES)
def test_switches_of_the_kernel(path: str, sides: Sides) -> None:
    if not os.path.exists(path):
        assert sides.inside.call("host.open_for_writing", path=path)["failed"] == "ENOENT"
        pytest.skip(f"this kernel has no {path}")
    before = Path(path).read_text() if "sys/" in path else ""
    result = sides.inside.call("host.open_for_writing", path=path)
    assert result["failed"] in differs("core_pattern", sides.world.backend, "EROFS EACCES").split()
    assert (Path(path).read_text() if "sys/" in path else "") == before
    if sides.world.caller != "root":
        pytest.skip("an ordinary user opens no such switch: no control for this caller")
    sides.control("host.open_for_writing", path=path)


@pytest.mark.threat("H2", proves="no file of /proc but those of the own processes opens for writing")
def test_nothing_in_proc_is_writable(sides: Sides) -> None:
    # A masked file is /dev/null: it opens, and what is written there is gone.
    assert set(sides.got("host.writable_below", root="/proc")) <= set(MASKED)
    if sides.world.caller != "root":
        pytest.skip("an ordinary user writes to none of them: no control for this caller")
    assert "/proc/sys/kernel/core_pattern" in sides.control("host.writable_below", root="/proc")


@pytest.mark.threat("H2", proves="masked paths of /proc give nothing")
def test_masked_paths(sides: Sides) -> None:
    told = differs("/proc/cmdline", sides.world.backend, EMPTY)
    assert sides.got("host.readable", paths=[*MASKED]) == ["/proc/cmdline"] * (told == OWN)
    assert sides.control("host.readable", paths=[*MASKED])


@pytest.mark.threat("H2", proves="no cgroup file system can be found or mounted")
def test_no_way_to_the_cgroups(sides: Sides) -> None:
    expected = differs("/sys/fs/cgroup", sides.world.backend, "ENOENT")
    result = sides.inside.call("files.names", path="/sys/fs/cgroup")
    assert result == ({"got": []} if expected == EMPTY else {"failed": expected})
    if not Path("/sys/fs/cgroup").is_dir():
        pytest.skip("no cgroups here: no control")
    assert sides.control("files.names", path="/sys/fs/cgroup")
    out = str(sides.world.out)
    for kind in ("cgroup", "cgroup2", "sysfs", "proc", "devpts", "debugfs"):
        assert sides.inside.call("files.mount_new", kind=kind, path=out) == {"failed": "EPERM"}


@pytest.mark.threat("H2", proves="the host's name stays, even from a user namespace of one's own")
def test_the_name_of_the_host(sides: Sides) -> None:
    before = socket.gethostname()
    assert sides.refused("host.rename_host", "EPERM", name="taken-over") == "taken-over"
    assert socket.gethostname() == before
    assert sides.got("files.read", path="/proc/sys/kernel/hostname").strip() == "sandbox"


@pytest.mark.threat("H2", proves="no key is added to a keyring")
def test_keyrings(sides: Sides) -> None:
    sides.refused("host.add_key", "EPERM", word=sides.world.word)


@pytest.mark.threat("H2", proves="no byte reaches the terminal that the client was started from")
def test_the_terminal(world: World) -> None:
    for inside in (True, False):
        master, slave = pty.openpty()
        tty.setraw(slave)
        start = world.inside if inside else world.outside
        # setsid, and the first terminal opened becomes the controlling one (TIOCSCTTY by ioctl_tty(2)).
        with start(preexec_fn=partial(_take_terminal, slave)) as attacker:
            result = attacker.call("host.type_into_terminal", word=world.word)
        heard = os.read(master, 4096) if select.select([master], [], [], 0)[0] else b""
        os.close(slave)
        os.close(master)
        if inside:
            assert result["failed"] in differs("a terminal", world.backend, "ENXIO ENOTTY").split()
            assert heard == b""
        else:
            assert world.word.encode() in heard


def _take_terminal(fd: int) -> None:
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


@pytest.mark.threat("S2", proves="a shell in a tool finds no package manager's or client's place to write to")
def test_a_shell_inside(world: World) -> None:
    """What an exploited tool does first, through sh: read keys, plant a cron job, look at the network."""
    script = (
        f"cat {world.home}/.ssh/id_ed25519; echo x > {world.home}/.bashrc; echo x > /etc/cron.d/x;"
        "cat /proc/net/route; id -u; ls /home"
    )
    words = world.command(server=["/bin/sh", "-c", f"({script}) >&2"])
    done = subprocess.run(
        words, env=world.environ, cwd="/", capture_output=True, text=True, timeout=30, check=False
    )
    assert world.word not in done.stderr + done.stdout
    assert not (world.home / ".bashrc").exists()
    assert not Path("/etc/cron.d/x").exists()
    control = subprocess.run(
        [*world.prefix(), "sh", "-c", f"cat {world.home}/.ssh/id_ed25519"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert control.stdout == world.word
