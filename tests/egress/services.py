"""The processes of the private internet, and the canary listeners of the test host.

`python -m tests.egress.services internet|host DIRECTORY` runs in a namespace of its own: says `born`, waits
for `go` (by then the network is there), says `ready`, takes commands line by line, and ends with everything
it started when stdin does. Logs and data are in DIRECTORY.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.egress import sinks, sniffer, web

Words = list[str | Path]

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - in a namespace where every address is ours
TCP_PORTS = (22, 25, 4444, 6667, 8888, 9001)
UDP_PORTS = (123, 443, 4444, 5353, 8888)
SPEAKER_PORTS = (2222, 3306)
HOST_ADDRESSES = ("127.0.0.1", "::1", "10.77.0.1", "fd77::1")
HOST_PORTS = (18001, 18002, 18003, 18004)

INTERNET = "10.77.0.2"
SINK_BARRIER = 9  # datagrams that mark a moment in the sinks' log; web.BARRIER in the web server's
MARK = "mcp-mark-"

POSTGRES_USER, POSTGRES_PASSWORD = "egress", "correct-horse"
PATIENCE_S = 30.0

V4, V6 = "93.184.216.34", "2606:2800:220:1::1"
SILENT = "203.0.113.9"
# Names and what they resolve to; every other name does not exist.
ZONE: Mapping[str, tuple[str, ...]] = {
    "allowed.test": (V4, V6),
    "cdn.test": (V4,),
    "evil.test": (V4,),
    "other.test": ("93.184.216.35",),
    "db.test": (V4,),
    "rebind.test": ("127.0.0.1",),
    "rebind6.test": ("::1",),
    "meta.test": ("169.254.169.254",),
    "private.test": (INTERNET,),
    "own.test": ("10.77.0.1",),
    "mapped.test": ("::ffff:127.0.0.1",),
    "nat64.test": ("64:ff9b::7f00:1",),
    "sixtofour.test": ("2002:7f00:1::",),
    # 127.0.0.1 behind Teredo: the client's address is the last 32 bits, inverted (RFC 4380, 4).
    "teredo.test": ("2001:0:4136:e378:8000:63bf:80ff:fffe",),
    "linklocal.test": ("169.254.10.10", "fe80::10"),
    "zero.test": ("0.0.0.0", "::"),  # noqa: S104 - connects to loopback (ip(7))
    "multi.test": (SILENT, V4),
    "silent.test": (SILENT,),
    "v6only.test": (V6,),
    "context7.com": (V4,),
}
WILDCARDS: Mapping[str, tuple[str, ...]] = {"allowed.test": (V4, V6)}


# --- daemons --------------------------------------------------------------------------------------


def start(directory: Path, argv: Sequence[str | Path], user: str = "root") -> subprocess.Popen[bytes]:
    """A daemon in the foreground, as that user; what it says is in its log."""
    who = pwd.getpwnam(user)
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    with (directory / f"{Path(argv[0]).name}.log").open("ab") as log:
        return subprocess.Popen(
            list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory,
            user=who.pw_uid, group=who.pw_gid, extra_groups=[], env=environ,
        )  # fmt: skip


def dnsmasq(directory: Path) -> list[str]:
    """Answers from the zone and from the file `renamed`; any other name does not exist."""
    # A file, because a `--host-record` takes one address of each family only.
    zone = directory / "zone"
    zone.write_text("".join(f"{address} {name}\n" for name, found in ZONE.items() for address in found))
    wild = [f"--address=/{name}/{address}" for name, found in WILDCARDS.items() for address in found]
    plain = ["--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--keep-in-foreground", "--user=root"]
    logs = ["--log-queries", f"--log-facility={directory / 'dns.log'}", "--pid-file="]
    names = [f"--addn-hosts={zone}", f"--addn-hosts={directory / 'renamed'}", *wild, "--address=/#/"]
    return ["dnsmasq", *plain, *logs, *names]


def redis() -> list[str]:
    """Open to everybody, nothing on disk."""
    return ["redis-server", "--port", "6379", "--bind", *EVERYWHERE, "--protected-mode", "no", "--save", ""]


class Postgres:
    """A cluster with one user that has a password, and TLS for those who ask for it."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._data = directory, directory / "postgres"
        self._bin = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        self._user = "postgres" if any(one.pw_name == "postgres" for one in pwd.getpwall()) else "nobody"
        self._initdb = self._make()

    def _make(self) -> subprocess.Popen[bytes]:
        self._data.mkdir(0o700)
        own = self._directory / "postgres-own"
        own.mkdir(0o700)
        (own / "password").write_text(POSTGRES_PASSWORD)
        shutil.copy(self._directory / "tls" / "chain.pem", own / "chain.pem")
        for path in (self._data, own, own / "password", own / "chain.pem"):
            shutil.chown(path, self._user)
            path.chmod(0o700 if path.is_dir() else 0o600)
        options: Words = ["--no-sync", "--no-instructions", "--locale=C", "-EUTF8", "-Ascram-sha-256"]
        login: Words = ["-U", POSTGRES_USER, "--pwfile", own / "password"]
        argv = [self._bin / "initdb", *options, *login, "-D", self._data]
        return start(self._directory, argv, self._user)

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the server as soon as the cluster is made."""
        if self._initdb.wait(PATIENCE_S) != 0:
            raise RuntimeError((self._directory / "initdb.log").read_text())
        with (self._data / "pg_hba.conf").open("a") as file:
            file.writelines(f"host all all {one} scram-sha-256\n" for one in ("0.0.0.0/0", "::/0"))
        chain = self._directory / "postgres-own" / "chain.pem"
        # Shared memory in files, so that a server that is killed leaves nothing in /dev/shm.
        settings = {
            "listen_addresses": "*", "unix_socket_directories": "", "fsync": "off", "autovacuum": "off",
            "dynamic_shared_memory_type": "mmap", "shared_buffers": "1MB", "max_connections": "20",
            "ssl": "on", "ssl_cert_file": chain, "ssl_key_file": chain,
        }  # fmt: skip
        words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return start(self._directory, [self._bin / "postgres", "-D", self._data, *words], self._user)

    def answers(self) -> bool:
        """Whether it takes connections."""
        asked: Words = [self._bin / "pg_isready", "-q", "-h", INTERNET]
        return subprocess.run(asked, timeout=PATIENCE_S).returncode == 0


def listens(port: int) -> bool:
    """Whether a connection to that port of the internet is taken."""
    try:
        socket.create_connection((INTERNET, port), timeout=PATIENCE_S).close()
    except ConnectionError:
        return False
    return True


def until(condition: Callable[[], bool], what: str) -> None:
    """Returns when `condition` holds, and fails when it does not for too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} is not ready after {PATIENCE_S} s")
        time.sleep(0.02)


# --- the two roles --------------------------------------------------------------------------------


def forked(work: Callable[[Callable[[], None]], object]) -> None:
    """Runs `work` in a child, and returns when it has called what it is given."""
    told, tell = os.pipe()
    if os.fork() == 0:
        os.close(told)
        try:
            work(lambda: os.close(tell) if os.write(tell, b"+") else None)
        finally:
            os._exit(1)
    os.close(tell)
    if os.read(told, 1) != b"+":
        raise RuntimeError("a service did not start")
    os.close(told)


def hear(directory: Path, ready: Callable[[], None]) -> None:
    """The internet's sinks."""
    heard = sinks.Sinks(directory / "sinks.jsonl")
    heard.tcp(EVERYWHERE, TCP_PORTS)
    heard.speaker(EVERYWHERE, SPEAKER_PORTS)
    heard.udp(EVERYWHERE, (*UDP_PORTS, SINK_BARRIER))
    ready()
    heard.run()


def sniff(directory: Path, ready: Callable[[], None]) -> None:
    """The log of all that arrives."""
    listener = sniffer.listen("inet0")
    ready()
    sniffer.sniff(listener, directory / "packets.jsonl")


def internet(directory: Path, commands: Iterator[str]) -> None:
    """Everything that the test host can reach; `names` makes dnsmasq read its changed names."""
    postgres = Postgres(directory)
    born(commands)
    for work in (sniff, hear):
        forked(partial(work, directory))
    forked(lambda ready: asyncio.run(web.run(directory, ready)))
    names = start(directory, dnsmasq(directory))
    start(directory, redis())
    postgres.start()
    for port in (53, 6379):
        until(partial(listens, port), f"port {port}")
    until(postgres.answers, "postgres")
    say("ready")
    for command in commands:
        if command == "names":
            names.send_signal(1)


def host(directory: Path, commands: Iterator[str]) -> None:
    """The canary listeners; a command is a word that marks this moment in every log."""
    born(commands)
    canary = sinks.Sinks(directory / "host.jsonl")
    canary.tcp(HOST_ADDRESSES, HOST_PORTS)
    canary.udp(HOST_ADDRESSES, HOST_PORTS)
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def mark() -> None:
        word = next(commands, None)
        if word is None:
            os._exit(0)
        canary.write(mark=word)
        for port, said in ((SINK_BARRIER, word.encode()), (web.BARRIER, word.encode()), (53, question(word))):
            out.sendto(said, (INTERNET, port))

    canary.on(sys.stdin, mark)
    say("ready")
    canary.run()


def question(word: str) -> bytes:
    """A DNS query for `word`.test (RFC 1035, 4.1)."""
    name = b"".join(bytes([len(label)]) + label.encode() for label in (word, "test"))
    return struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + name + b"\0" + struct.pack(">2H", 1, 1)


def say(word: str) -> None:
    """One line for the tests."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def born(commands: Iterator[str]) -> None:
    """The namespace exists; returns when its network does."""
    say("born")
    if next(commands, None) != "go":
        os._exit(0)


def lines() -> Iterator[str]:
    """Commands, read byte by byte: what a buffer held, no selector would see."""
    line = b""
    while data := os.read(0, 1):
        if data != b"\n":
            line += data
            continue
        yield line.decode()
        line = b""


def main(role: str, directory: Path) -> None:
    """Plays one role to the end of stdin."""
    {"internet": internet, "host": host}[role](directory, lines())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
