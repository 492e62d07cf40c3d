"""The test host and its private internet: two network namespaces, joined to each other and to nothing else.

Nothing that a test sends can leave the machine, every address in the world is answered for, and every packet
that leaves the test host is on record. The namespaces have no name: they end with the processes that hold
them, and those end with this one, however it ends.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import trustme

from tests.conftest import ROOT, unprivileged_user
from tests.egress import services

PROGRAMS = ("dnsmasq", "redis-server", "unshare", "nsenter", "ip")
ENTER = Path(__file__).with_name("enter.py")
PATIENCE_S = 30.0
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"

HOST_MAC, INTERNET_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
# The neighbours are given: who asks for one the moment after the link is up waits a second for the answer.
HOST_NETWORK = f"""
link add host0 address {HOST_MAC} type veth peer name inet0 address {INTERNET_MAC} netns {{internet}}
link set lo up
addr add 10.77.0.1/24 dev host0
addr add fd77::1/64 dev host0 nodad
link set host0 up
neigh add 10.77.0.2 lladdr {INTERNET_MAC} dev host0 nud permanent
neigh add fd77::2 lladdr {INTERNET_MAC} dev host0 nud permanent
route add default via 10.77.0.2
route add default via fd77::2
"""
# `local default`: every address of the world is answered for. Those that names are asked at are also on an
# interface: at any other dnsmasq drops TCP and cannot answer IPv6.
INTERNET_NETWORK = f"""
link set lo up
addr add 10.77.0.2/24 dev inet0
addr add fd77::2/64 dev inet0 nodad
link set inet0 up
neigh add 10.77.0.1 lladdr {HOST_MAC} dev inet0 nud permanent
neigh add fd77::1 lladdr {HOST_MAC} dev inet0 nud permanent
route add local default dev lo table main
route add local ::/0 dev lo table main
route add blackhole {services.SILENT}
"""
RESOLVERS = ("8.8.8.8", "1.1.1.1", "9.9.9.9", "192.0.2.53", "2001:4860:4860::8888", "2620:fe::fe")
ADDRESSES = ("93.184.216.34", "93.184.216.35", "169.254.169.254", "100.100.100.200", "2606:2800:220:1::1")

LOGS = ("dns.log", "web.jsonl", "sinks.jsonl", "host.jsonl", "packets.jsonl")
LONGEST = 1 << 16  # bytes of one line
# Neighbours, routers and groups of IPv6 (RFC 4861, 2710, 3810), which nobody has to ask for.
HOUSEKEEPING = {130, 131, 132, 133, 134, 135, 136, 137, 143}

Packet = dict[str, Any]
Line = dict[str, Any]


@dataclass(frozen=True)
class Mark:
    """A moment: how far every log was written, and the number of the last packet."""

    offsets: Mapping[str, int]
    packet: int


@dataclass(frozen=True)
class Flow:
    """Packets that a test expects; what is not given is any."""

    proto: str
    dst: str | None = None
    dport: int | None = None

    def takes(self, packet: Packet) -> bool:
        """Whether the packet is one of these."""
        wanted = {"proto": self.proto, "dst": self.dst, "dport": self.dport}
        return all(value is None or packet.get(key) == value for key, value in wanted.items())


class Internet:
    """The test host, the internet behind it, and what came out of one into the other.

    Every question is about the time since `begin`, which the fixture calls before each test, unless it says
    `since`. An answer holds all that was sent before the question.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mcp-internet-")).resolve()
        self.ca_file = self.directory / "ca.pem"
        self._processes: list[subprocess.Popen[str]] = []
        self._since = Mark({}, 0)

    def __enter__(self) -> Internet:
        try:
            self._furnish()
            self._start()
            self.begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- made and unmade --------------------------------------------------------------------------

    def _furnish(self) -> None:
        self.directory.chmod(0o755)
        for name in LOGS:
            (self.directory / name).touch()
        (self.directory / "renamed").touch()
        etc = self.directory / "etc"
        etc.mkdir()
        (etc / "resolv.conf").write_text(f"nameserver {services.INTERNET}\n")
        (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
        self._certify()

    def _certify(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        tls = self.directory / "tls"
        tls.mkdir(mode=0o700)
        names = [*services.ZONE, *(f"*.{name}" for name in services.WILDCARDS), *ADDRESSES, *RESOLVERS]
        authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(tls / "chain.pem"))

    def _start(self) -> None:
        internet = self._spawn("internet", "--net", "--ipc", "--mount", "--pid", "--fork", "--kill-child")
        host = self._spawn("host", "--net")
        for one in (internet, host):
            self._hear(one, "born")
        self._configure(host, HOST_NETWORK.format(internet=internet.pid))
        given = [one + " dev lo" + " nodad" * (":" in one) for one in (*ADDRESSES, *RESOLVERS)]
        addresses = "".join(f"addr add {one}\n" for one in given)
        self._configure(internet, INTERNET_NETWORK + addresses)
        self._tell(internet, "go")
        self._hear(internet, "ready")
        self._tell(host, "go")
        self._hear(host, "ready")

    def _spawn(self, role: str, *namespaces: str) -> subprocess.Popen[str]:
        program = [sys.executable, "-m", "tests.egress.services", role, str(self.directory)]
        with (self.directory / f"{role}.log").open("w") as log:
            one = subprocess.Popen(
                ["unshare", *namespaces, "--", *program], cwd=ROOT, env=_environ(), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self._processes.append(one)
        return one

    def _configure(self, process: subprocess.Popen[str], batch: str) -> None:
        enter = ["nsenter", f"--net=/proc/{process.pid}/ns/net", "ip", "-batch", "-"]
        done = subprocess.run(enter, input=batch, capture_output=True, text=True, env=_environ(), timeout=30)
        assert done.returncode == 0, done.stderr

    def _tell(self, process: subprocess.Popen[str], word: str) -> None:
        assert process.stdin is not None
        process.stdin.write(word + "\n")
        process.stdin.flush()

    def _hear(self, process: subprocess.Popen[str], word: str) -> None:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        assert said == word, f"the internet did not start:\n{self._journal()}"

    def _journal(self) -> str:
        """What the processes said, newest last."""
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(f"--- {one.name}\n{one.read_text(errors='replace')[-2000:]}" for one in logs)

    def close(self) -> None:
        """Ends every process, and with them both namespaces."""
        for one in reversed(self._processes):
            assert one.stdin is not None
            assert one.stdout is not None
            one.stdin.close()
            try:
                one.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
            one.stdout.close()
        self._processes.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- into the test host -----------------------------------------------------------------------

    @property
    def namespace(self) -> str:
        """The file of the test host's network namespace."""
        return f"/proc/{self._processes[1].pid}/ns/net"

    def processes(self) -> list[int]:
        """The processes that hold the internet's namespace and the test host's."""
        return [one.pid for one in self._processes]

    def prefix(self, caller: str = "root") -> list[str]:
        """What makes a command run in the test host, as root or as an ordinary user."""
        enter = [sys.executable, str(ENTER), self.namespace, str(self.directory / "etc")]
        if caller == "user":
            user = unprivileged_user()
            enter += ["--uid", str(user.pw_uid), "--gid", str(user.pw_gid)]
        return [*enter, "--"]

    def run(self, argv: list[str], caller: str = "root", **more: Any) -> subprocess.CompletedProcess[str]:
        """Runs a command in the test host to its end; text, captured, and given 30 seconds unless told."""
        usual: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 30, "cwd": "/"}
        if "stdout" in more or "stderr" in more:
            del usual["capture_output"]
        return subprocess.run([*self.prefix(caller), *argv], **(usual | more))

    def popen(self, argv: list[str], caller: str = "root", **more: Any) -> subprocess.Popen[Any]:
        """Starts a command in the test host."""
        return subprocess.Popen([*self.prefix(caller), *argv], **({"cwd": "/"} | more))

    # --- what came out ----------------------------------------------------------------------------

    def mark(self) -> Mark:
        """This moment: all that was sent before is in the logs when this returns, and before the mark."""
        word = services.MARK + secrets.token_hex(8)
        before = {name: self._written(name) for name in LOGS}
        self._tell(self._processes[1], word)
        ends = {name: self._find(name, start, word) for name, start in before.items()}
        number = max((line["n"] for line in self._lines("packets.jsonl", before, ends)), default=0)
        return Mark(ends, number)

    def _written(self, name: str) -> int:
        """Where the last whole line ends: of a long one the beginning may be there alone."""
        with (self.directory / name).open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start = file.seek(max(0, end - LONGEST))
            return start + file.read(end - start).rfind(b"\n") + 1

    def _find(self, name: str, start: int, word: str) -> int:
        """Where the last line with `word` ends, once it is there; the packets' log has it in hex."""
        sought = word.encode().hex().encode() if name in ("packets.jsonl", "sinks.jsonl") else word.encode()
        times = 3 if name == "packets.jsonl" else 1
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with (self.directory / name).open("rb") as file:
                file.seek(start)
                parts = file.read().split(sought)
            if len(parts) > times and b"\n" in parts[times]:
                return start + len(sought.join(parts[:times])) + len(sought) + parts[times].index(b"\n") + 1
            assert time.monotonic() < deadline, f"{name} has no mark:\n{self._journal()}"
            time.sleep(0.001)

    def begin(self) -> None:
        """From here on, what was before is not told."""
        self._since = self.mark()

    @property
    def since(self) -> Mark:
        """The moment that every answer begins at."""
        return self._since

    def _text(self, name: str, start: Mapping[str, int], end: Mapping[str, int]) -> str:
        with (self.directory / name).open("rb") as file:
            file.seek(start.get(name, 0))
            return file.read(end[name] - file.tell()).decode(errors="replace")

    def _lines(self, name: str, start: Mapping[str, int], end: Mapping[str, int]) -> Iterator[Line]:
        return map(json.loads, self._text(name, start, end).splitlines())

    def _said(self, name: str, since: Mark | None) -> list[Line]:
        start, end = (since or self._since).offsets, self.mark().offsets
        hexed = services.MARK.encode().hex()
        lines = self._lines(name, start, end)
        return [one for one in lines if "mark" not in one and hexed not in one.get("data", "")]

    def names_asked(self, since: Mark | None = None) -> list[str]:
        """The names that somebody asked the internet's name server for, in order."""
        lines = self._text("dns.log", (since or self._since).offsets, self.mark().offsets).splitlines()
        asked = [words for words in map(str.split, lines) if any(word.startswith("query[") for word in words)]
        names = [words[-3] for words in asked]
        return [name for name in names if not name.startswith(services.MARK)]

    def requests(self, since: Mark | None = None) -> list[Line]:
        """Requests that the web server read: port, peer, host, sni, method, path, headers, length, body."""
        return self._said("web.jsonl", since)

    def connections(self, since: Mark | None = None) -> list[Line]:
        """What came to the internet's sinks: proto, port, peer, data in hex; `open` for a connection."""
        return self._said("sinks.jsonl", since)

    def heard(self, since: Mark | None = None) -> bytes:
        """Every byte that came to the internet's sinks."""
        return b"".join(bytes.fromhex(one["data"]) for one in self.connections(since))

    def host_connections(self, since: Mark | None = None) -> list[Line]:
        """What came to the test host's own listeners, on loopback or on its address."""
        return self._said("host.jsonl", since)

    def host_heard(self, since: Mark | None = None) -> bytes:
        """Every byte that came to the test host's own listeners."""
        return b"".join(bytes.fromhex(one["data"]) for one in self.host_connections(since))

    def packets(self, since: Mark | None = None) -> list[Packet]:
        """Every packet that left the test host, whatever it was, but the marks."""
        start, end = (since or self._since).offsets, self.mark().offsets
        found = list(self._lines("packets.jsonl", start, end))
        assert not any(one["proto"] == "lost" for one in found), (
            "the packet log has a hole: this proves nothing"
        )
        hexed = services.MARK.encode().hex()
        return [one for one in found if hexed not in one["payload"]]

    def outside_packets(self, *expected: Flow, since: Mark | None = None) -> list[Packet]:
        """Packets that nobody accounts for: not the link's housekeeping, not expected, not an old goodbye."""
        start = (since or self._since).packet
        return [
            one for one in self.packets(since)
            if not _housekeeping(one) and not _goodbye(one, start)
            and not any(flow.takes(one) for flow in expected)
        ]  # fmt: skip

    # --- what it answers --------------------------------------------------------------------------

    def rename(self, name: str, *addresses: str) -> None:
        """From now on this name, which must not be of the zone, resolves to these; none: to nothing."""
        kept = [
            line for line in (self.directory / "renamed").read_text().splitlines() if line.split()[1] != name
        ]
        lines = [*kept, *(f"{address} {name}" for address in addresses)]
        at = self.mark().offsets["dns.log"]
        (self.directory / "renamed").write_text("".join(f"{line}\n" for line in lines))
        self._tell(self._processes[0], "names")
        self._find("dns.log", at, f"{self.directory / 'renamed'} - {len(lines)}")


def _environ() -> dict[str, str]:
    return {
        "PATH": f"{os.environ.get('PATH', '')}:{SBIN}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }


def _housekeeping(packet: Packet) -> bool:
    return packet["proto"] == "arp" or (packet["proto"] == "icmp6" and packet.get("type") in HOUSEKEEPING)


def _goodbye(packet: Packet, start: int) -> bool:
    """The empty end of a connection that was opened before: an earlier test's, whose process is gone."""
    return (packet.get("opened") or start) < start and not packet["payload"]
