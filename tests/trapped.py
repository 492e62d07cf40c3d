"""A network namespace with the trap set in it, and a program inside that tries what it is told to.

`python -m tests.trapped` is that program: it sets the trap, gives up every privilege as the sandbox does,
and then answers one JSON line a try. `trapped` starts it and takes the trap's sockets.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 10.0
ROOT = Path(__file__).resolve().parent.parent


# --- inside ---------------------------------------------------------------------------------------


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tcp(address: str, port: int, say: str = "") -> str:
    """Connects, says something, and hears what is answered."""
    with socket.socket(_family(address), socket.SOCK_STREAM) as one:
        one.settimeout(PATIENCE_S)
        one.connect((address, port))
        if not say:
            return "connected"
        one.sendall(say.encode())
        return one.recv(4096).decode()


def udp(address: str, port: int, say: str = "x", wait: bool = True) -> list[object]:
    """Sends a datagram from a connected socket, so that only an answer from that very address comes."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as one:
        one.settimeout(PATIENCE_S)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if not wait:
            one.sendto(say.encode(), (address, port))
            return []
        one.connect((address, port))
        one.send(say.encode())
        said, sender = one.recvfrom(4096)
        return [said.decode(), sender[0]]


def talk(address: str) -> str:
    """The server's own business: a listener of its own and one that speaks to it, TCP and UDP."""
    with socket.create_server((address, 0), family=_family(address)) as listener:
        with socket.create_connection(listener.getsockname()[:2]) as one, listener.accept()[0] as other:
            one.sendall(b"hello")
            heard = other.recv(16)
            other.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )  # ends with a reset
    with socket.socket(_family(address), socket.SOCK_DGRAM) as one:
        one.bind((address, 0))
        one.sendto(b"hello", one.getsockname())
        return (heard + one.recv(16)).decode()


def listen(address: str, port: int) -> str:
    """Whether the server may listen there itself."""
    with socket.create_server((address, port), family=_family(address)):
        return "listens"


def open_socket(family: int, kind: int, protocol: int) -> str:
    """Whether such a socket exists for the server."""
    socket.socket(family, kind, protocol).close()
    return "open"


def route(address: str) -> str:
    """Tries to add an address to `lo`."""
    from sandbox.netlink import Netlink

    with Netlink() as netlink:
        netlink.add_address(address, 32)
    return "added"


def read(path: str) -> str:
    """A file as the program sees it."""
    return Path(path).read_text()


def sockets() -> list[str]:
    """The sockets that the program still holds."""
    held = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    found = [os.readlink(path) for path in held if os.path.exists(path)]
    return [one for one in found if one.startswith("socket:")]


_TRIES: dict[str, Callable[..., object]] = {
    one.__name__: one for one in (tcp, udp, talk, listen, open_socket, route, read, sockets)
}


def _answer(line: str) -> dict[str, object]:
    name, *arguments = json.loads(line)
    try:
        return {"is": _TRIES[name](*arguments)}
    except OSError as error:
        return {"errno": error.errno, "why": str(error)}


def main(to: int, ports: list[int], before: str) -> None:
    """Sets the trap; then one try a line until the end of the input."""
    from sandbox import linux
    from sandbox.trap import set_trap

    with ExitStack() as held:
        if before == "no ipv6":
            Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("1")
        if before.startswith("taken "):
            held.enter_context(socket.create_server(("127.0.0.1", int(before.split()[1]))))
        try:
            set_trap(ports, to)
        except OSError as error:
            print(json.dumps({"errno": error.errno, "why": str(error)}), flush=True)  # noqa: T201
            return
    os.close(to)
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    print(json.dumps({"is": "ready"}), flush=True)  # noqa: T201
    for line in sys.stdin:
        print(json.dumps(_answer(line)), flush=True)  # noqa: T201


# --- outside --------------------------------------------------------------------------------------


class Inside:
    """The program in its namespace, and our end of the channel that the trap's sockets come over."""

    def __init__(self, process: subprocess.Popen[str], channel: socket.socket) -> None:
        self.process = process
        self.channel = channel
        self.said = self.heard()

    def heard(self) -> dict[str, Any]:
        """The next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the program inside ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def begin(self, name: str, *arguments: object) -> None:
        """Lets the program try, and does not wait."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self.process.stdin.flush()

    def do(self, name: str, *arguments: object) -> Any:
        """What came of a try: its result, or `-errno`."""
        self.begin(name, *arguments)
        said = self.heard()
        return said["is"] if "is" in said else -said["errno"]


@contextmanager
def trapped(prefix: Sequence[str], ports: Sequence[int] = (443, 5432), before: str = "") -> Iterator[Inside]:
    """The program, with the trap set, in a network namespace of its own; `prefix` makes the namespace."""
    ours, theirs = socket.socketpair()
    words = [*prefix, sys.executable, "-m", "tests.trapped"]
    words += [str(theirs.fileno()), ",".join(map(str, ports)), before]
    with ExitStack() as held:
        held.enter_context(ours)
        process = held.enter_context(
            subprocess.Popen(
                words, cwd=ROOT, pass_fds=(theirs.fileno(),), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
        )  # fmt: skip
        theirs.close()
        held.callback(process.kill)
        yield Inside(process, ours)


def wait(one: socket.socket) -> None:
    """Until something can be read from `one`."""
    ready, _, _ = select.select([one], [], [], PATIENCE_S)
    assert ready, "nothing came"


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(one) for one in sys.argv[2].split(",") if one], sys.argv[3])
