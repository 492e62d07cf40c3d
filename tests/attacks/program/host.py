"""Attacks on the machine around: its network, its sockets, its kernel's switches, its terminal."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import kernel

SECONDS = 2.0
_kept: list[socket.socket] = []


def tell_tcp(address: str, port: int, word: str) -> None:
    """Sends `word` to a listener and waits for its answer."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as out:
        out.settimeout(SECONDS)
        out.connect((address, port))
        out.sendall(word.encode())
        out.recv(1)


def tell_udp(address: str, port: int, word: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as out:
        out.settimeout(SECONDS)
        out.connect((address, port))
        out.send(word.encode())
        out.recv(1)


def tell_unix(path: str, word: str) -> None:
    """A unix socket by its path, or by its abstract name where `path` starts with `@`."""
    with socket.socket(socket.AF_UNIX) as out:
        out.settimeout(SECONDS)
        out.connect("\0" + path[1:] if path.startswith("@") else path)
        out.sendall(word.encode())
        out.recv(1)


def listen_abstract(name: str) -> None:
    """Holds an abstract socket open as long as this process lives."""
    _kept.append(socket.socket(socket.AF_UNIX))
    _kept[-1].bind("\0" + name)
    _kept[-1].listen()


def listen_tcp() -> int:
    _kept.append(socket.create_server(("127.0.0.1", 0)))
    return int(_kept[-1].getsockname()[1])


def connect_tcp(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), SECONDS).close()


def connect_abstract(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as out:
        out.connect("\0" + name)


def interfaces() -> list[str]:
    return sorted(name for _, name in socket.if_nameindex())


def routes() -> list[str]:
    """Every route of both families that is not the loopback's own."""
    with open("/proc/net/route") as four, open("/proc/net/ipv6_route") as six:
        lines = [*four.read().splitlines()[1:], *six.read().splitlines()]
    return [line for line in lines if not line.split()[-1].startswith("lo") and not line.startswith("lo")]


def raw_socket(family: int, kind: int, protocol: int) -> None:
    """A socket that sees or forges packets; with every capability that can be had."""
    try:
        socket.socket(family, kind, protocol).close()
    except PermissionError:
        kernel.become_root_of_new_namespace(kernel.CLONE_NEWNET)
        socket.socket(family, kind, protocol).close()


def rename_host(name: str) -> str:
    """Changes the host name wherever we may; the name that is then seen here."""
    kernel.become_root_of_new_namespace(kernel.CLONE_NEWUTS)
    kernel.checked(kernel.LIBC.sethostname(name.encode(), len(name)))
    return os.uname().nodename


def open_for_writing(path: str) -> None:
    """Opens and writes nothing: what may be opened may be written."""
    os.close(os.open(path, os.O_WRONLY))


def write(path: str, content: str) -> int:
    with open(path, "w") as file:
        return file.write(content)


def writable_below(root: str) -> list[str]:
    """Every file below `root` that opens for writing."""
    found = []
    for directory, below, files in os.walk(root):
        if directory == "/proc":
            below[:] = [one for one in below if not one.isdigit() and one not in ("self", "thread-self")]
        for name in files:
            with suppress(OSError):
                os.close(os.open(f"{directory}/{name}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))
                found.append(f"{directory}/{name}")
    return found


def readable(paths: list[str]) -> list[str]:
    """Those of `paths` that give anything: bytes, or names."""
    found = []
    for path in paths:
        with suppress(OSError):
            if os.path.isdir(path):
                content: object = os.listdir(path)
            else:
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                content = os.read(fd, 16)
                os.close(fd)
            if content:
                found.append(path)
    return found


def type_into_terminal(word: str) -> int:
    """Writes to the controlling terminal of whoever started us."""
    terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    return os.write(terminal, word.encode())


def add_key(word: str) -> int:
    number = {"x86_64": 248, "aarch64": 217}[os.uname().machine]
    secret = word.encode()
    return kernel.checked(kernel.LIBC.syscall(number, b"user", b"canary", secret, len(secret), -3))


def write_own(file: str, content: str) -> int:
    """Writes a file of our own /proc entry."""
    with open(f"/proc/self/{file}", "w") as out:
        return out.write(content)
