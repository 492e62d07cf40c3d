"""The controls: without a sandbox all of this works in the test host, so what fails, a sandbox stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.attacks.inside import Attacker, World
from tests.conftest import ROOT, Require
from tests.egress import services, sinks
from tests.egress.internet import RESOLVERS, Flow, Internet

PYTHON = os.path.realpath(sys.executable)
SAY = """
import socket, sys
kind, address, port, text = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
one = socket.socket(family, getattr(socket, f"SOCK_{kind}"))
one.settimeout(10)
one.connect((address, int(port)))
one.sendall(text.encode())
"""


def say(internet: Internet, caller: str, kind: str, address: str, port: int, text: str) -> None:
    """Sends a text from the test host."""
    done = internet.run([PYTHON, "-c", SAY, kind, address, str(port), text], caller)
    assert done.returncode == 0, done.stderr


WEBSOCKET = """
import os, socket
one = socket.create_connection(("allowed.test", 80), 10)
one.sendall(b"GET /chat HTTP/1.1\\r\\nHost: allowed.test\\r\\nConnection: Upgrade\\r\\n"
            b"Upgrade: websocket\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n")
file = one.makefile("rb")
while (line := file.readline()) != b"\\r\\n":
    print(line.decode().strip())
mask = os.urandom(4)
one.sendall(b"\\x81\\x85" + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(b"hello")))
print(file.read(7))
"""


# --- what is there --------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize(
    ("host", "port"),
    [("allowed.test", 80), ("www.allowed.test", 8080), ("allowed.test", 443), ("www.allowed.test", 8443)],
)
def test_a_name_leads_to_the_web_server(
    internet: Internet, caller: str, require: Require, host: str, port: int, family: str
) -> None:
    require("curl")
    scheme = "https" if port in (443, 8443) else "http"
    fetch = ["curl", f"-{family}", "-sS", "--cacert", str(internet.ca_file), "-d", "x" * 5000]
    done = internet.run([*fetch, f"{scheme}://{host}:{port}/a"], caller)
    assert done.stderr == ""
    assert done.stdout.startswith(f"hello {host}")
    (asked,) = internet.requests()
    assert (asked["port"], asked["method"], asked["path"], asked["length"]) == (port, "POST", "/a", 5000)
    assert asked["host"].split(":")[0] == host
    assert asked["sni"] == (host if scheme == "https" else None)
    assert asked["peer"] == ("10.77.0.1" if family == "4" else "fd77::1")
    assert set(internet.names_asked()) == {host}


def test_an_upload_is_counted_and_a_download_is_as_long_as_asked(
    internet: Internet, require: Require
) -> None:
    require("curl")
    chunked = ["-H", "Transfer-Encoding: chunked", "--data-binary", "@-"]
    sizes = ["-o", "/dev/null", "-w", "%{size_download}"]
    done = internet.run(["curl", "-sS", *chunked, *sizes, "http://allowed.test/big/3"], input="y" * (2 << 20))
    assert (done.stdout, done.stderr) == (str(3 << 20), "")
    assert [one["length"] for one in internet.requests()] == [2 << 20]


def test_a_websocket_echoes(internet: Internet, caller: str) -> None:
    done = internet.run([PYTHON, "-c", WEBSOCKET], caller)
    first, *headers, echo = done.stdout.splitlines()
    assert first == "HTTP/1.1 101 Switching Protocols"
    assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in headers  # RFC 6455, 1.3
    assert echo == repr(b"\x81\x05hello")


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize("server", [services.INTERNET, *RESOLVERS])
def test_every_resolver_answers_for_names(
    internet: Internet, caller: str, require: Require, server: str, transport: str
) -> None:
    require("dig")
    ask = ["dig", transport, f"@{server}"]
    assert internet.run([*ask, "+short", "other.test"], caller).stdout == "93.184.216.35\n"
    done = internet.run([*ask, "secret-word.elsewhere.example"], caller)
    assert "status: NXDOMAIN" in done.stdout
    assert internet.names_asked() == ["other.test", "secret-word.elsewhere.example"]


def test_the_zone_is_served_as_written(internet: Internet, require: Require) -> None:
    require("dig")
    wanted = [(name, kind) for name in services.ZONE for kind in ("A", "AAAA")]
    done = internet.run(["dig", "+noall", "+answer", *(word for pair in wanted for word in pair)])
    found: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        name, _, _, _, address = line.split()
        found.setdefault(name.rstrip("."), set()).add(address)
    assert found == {name: set(addresses) for name, addresses in services.ZONE.items()}


def test_a_name_can_change_its_address(internet: Internet, require: Require) -> None:
    require("dig")
    for address in ("93.184.216.34", "127.0.0.1"):
        internet.rename("flip.test", address)
        assert internet.run(["dig", "+short", "flip.test"]).stdout == f"{address}\n"
    internet.rename("flip.test")
    assert "NXDOMAIN" in internet.run(["dig", "flip.test"]).stdout


def test_postgres_wants_its_password_and_speaks_tls(
    internet: Internet, caller: str, require: Require
) -> None:
    require("psql")
    query = ["psql", "-XAtq", "-c", "select ssl from pg_stat_ssl where pid = pg_backend_pid()"]
    login = f"host=db.test user={services.POSTGRES_USER} dbname=postgres sslmode=verify-full"
    words = [*query, f"{login} sslrootcert={internet.ca_file}"]
    right = {"PATH": os.environ["PATH"], "PGPASSWORD": services.POSTGRES_PASSWORD}
    assert internet.run(words, caller, env=right).stdout == "t\n"
    done = internet.run(words, caller, env=right | {"PGPASSWORD": "wrong"})
    assert (done.returncode, "password authentication failed" in done.stderr) == (2, True)


def test_redis_answers(internet: Internet, caller: str, require: Require) -> None:
    require("redis-cli")
    assert internet.run(["redis-cli", "-h", "db.test", "echo", "hi"], caller).stdout == "hi\n"


def test_a_server_can_speak_first_and_echo(internet: Internet, caller: str) -> None:
    listen = (
        "import socket; s = socket.create_connection(('other.test', 2222), 10); print(s.recv(99).decode())"
    )
    done = internet.run([PYTHON, "-c", f"{listen}; s.sendall(b'x7'); print(s.recv(99).decode())"], caller)
    assert done.stdout.split() == [*sinks.BANNER.decode().split(), "x7"], done.stderr
    assert internet.heard() == b"x7"


def test_a_dead_address_says_nothing(internet: Internet, require: Require) -> None:
    require("curl")
    done = internet.run(["curl", "-sS", "--connect-timeout", "1", "http://silent.test/"])
    assert done.returncode == 28, done.stderr
    assert {one["dst"] for one in internet.outside_packets(Flow("udp", dport=53))} == {services.SILENT}


# --- what is heard --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["STREAM", "DGRAM"])
@pytest.mark.parametrize("address", ["203.0.113.77", "2001:db8::77", "169.254.169.254", "10.9.8.7"])
def test_the_sinks_hear_what_is_sent_to_any_address(
    internet: Internet, caller: str, kind: str, address: str
) -> None:
    say(internet, caller, kind, address, 4444, f"secret to {address}")
    assert internet.heard() == f"secret to {address}".encode()
    proto = "tcp" if kind == "STREAM" else "udp"
    sent = [bytes.fromhex(one["payload"]) for one in internet.packets() if one["proto"] == proto]
    assert b"".join(sent) == f"secret to {address}".encode()
    assert internet.outside_packets() != []
    assert internet.outside_packets(Flow(proto, address, 4444)) == []


@pytest.mark.parametrize("kind", ["STREAM", "DGRAM"])
@pytest.mark.parametrize("address", services.HOST_ADDRESSES)
def test_the_hosts_own_listeners_hear(internet: Internet, caller: str, kind: str, address: str) -> None:
    say(internet, caller, kind, address, services.HOST_PORTS[0], "secret to myself")
    assert internet.host_heard() == b"secret to myself"
    assert internet.outside_packets() == []


@pytest.mark.parametrize("name", ["rebind.test", "rebind6.test", "own.test", "mapped.test", "zero.test"])
def test_a_name_can_lead_to_the_hosts_own_listeners(internet: Internet, caller: str, name: str) -> None:
    word = f"secret by {name}"
    code = f"socket.create_connection(({name!r}, {services.HOST_PORTS[1]}), 10).sendall({word.encode()!r})"
    done = internet.run([PYTHON, "-c", f"import socket; {code}"], caller)
    assert done.returncode == 0, done.stderr
    assert internet.host_heard() == word.encode()


@pytest.mark.parametrize(
    ("address", "proto", "kind"), [("8.8.4.4", "icmp", 8), ("2001:4860:4860::8844", "icmp6", 128)]
)
def test_an_echo_request_is_on_record(
    internet: Internet, require: Require, address: str, proto: str, kind: int
) -> None:
    require("ping")
    pattern = b"cafe".hex()
    done = internet.run(["ping", "-c1", "-W10", "-p", pattern, address])
    assert done.returncode == 0, done.stdout
    (packet,) = internet.outside_packets()
    assert (packet["proto"], packet["dst"], packet["type"]) == (proto, address, kind)
    assert pattern * 4 in packet["payload"]


def test_a_refused_connection_and_an_unheard_datagram_are_on_record(internet: Internet, caller: str) -> None:
    refused = internet.run([PYTHON, "-c", SAY, "STREAM", "198.51.100.4", "31337", "x"], caller)
    assert "ConnectionRefusedError" in refused.stderr
    say(internet, caller, "DGRAM", "198.51.100.4", 31338, "tunnel")
    seen = [(one["proto"], one["dst"], one["dport"]) for one in internet.outside_packets()]
    assert seen == [("tcp", "198.51.100.4", 31337), ("udp", "198.51.100.4", 31338)]


def test_a_raw_packet_of_any_protocol_is_on_record(internet: Internet) -> None:
    code = "s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253); s.sendto(b'odd', ('192.0.2.8', 0))"
    assert internet.run([PYTHON, "-c", f"import socket; {code}"]).returncode == 0
    (packet,) = internet.outside_packets()
    assert (packet["proto"], packet["dst"], bytes.fromhex(packet["payload"])) == ("253", "192.0.2.8", b"odd")


def test_what_was_before_is_not_told(internet: Internet) -> None:
    code = f"{SAY}\nsys.stdin.read()"
    words = [PYTHON, "-c", code, "STREAM", "203.0.113.5", "9001", "early"]
    with internet.popen(words, stdin=subprocess.PIPE) as one:
        deadline = time.monotonic() + 30
        while internet.heard() != b"early":
            assert time.monotonic() < deadline
        before = internet.mark()
        internet.begin()
        assert (internet.heard(), internet.connections(), internet.packets()) == (b"", [], [])
        assert one.stdin is not None
        one.stdin.close()
    # The goodbye of that connection came after the mark: a packet, but nothing that this test must explain.
    assert [one["dport"] for one in internet.packets(since=before)][:1] == [9001]
    assert internet.outside_packets() == []


# --- what contains it -----------------------------------------------------------------------------


def test_the_test_host_is_joined_to_the_internet_only(internet: Internet) -> None:
    for process in internet.processes():
        enter = ["nsenter", f"--net=/proc/{process}/ns/net", "ip", "-br", "link", "show", "up"]
        shown = subprocess.run(enter, capture_output=True, text=True, timeout=30, check=True).stdout
        names = {line.split()[0].split("@")[0] for line in shown.splitlines()}
        assert names in ({"lo", "host0"}, {"lo", "inet0"})


def test_a_program_has_no_more_than_its_callers_rights(internet: Internet, caller: str) -> None:
    done = internet.run(["sh", "-c", "id -u; id -G; cat /etc/resolv.conf"], caller)
    uid = 0 if caller == "root" else int(done.stdout.split()[0])
    assert (uid == 0) == (caller == "root")
    assert done.stdout.splitlines()[-1] == "nameserver 10.77.0.2"
    assert len(done.stdout.splitlines()[1].split()) == 1 or caller == "root"
    assert Path("/etc/resolv.conf").read_text() != "nameserver 10.77.0.2\n"


def _users(inode: int) -> list[str]:
    """Processes whose network namespace that is."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if (one / "ns" / "net").stat().st_ino == inode:
                found.append(one.name)
        except OSError:
            continue
    return found


def test_nothing_remains_after_the_end(internet: Internet) -> None:
    with Internet() as other:
        inodes = [Path(f"/proc/{pid}/ns/net").stat().st_ino for pid in other.processes()]
        assert all(len(_users(inode)) > 0 for inode in inodes)
        assert len(_users(inodes[0])) > 5
    assert [_users(inode) for inode in inodes] == [[], []]
    assert not other.directory.exists()


HELD = """
import sys
from tests.egress.internet import Internet
with Internet() as one:
    print(one.directory, *one.processes(), flush=True)
    sys.stdin.read()
"""


def test_no_process_remains_when_the_tests_are_killed(internet: Internet) -> None:
    pipe = subprocess.PIPE
    held = [sys.executable, "-c", HELD]
    with subprocess.Popen(held, cwd=ROOT, text=True, stdin=pipe, stdout=pipe) as holder:
        assert holder.stdout is not None
        directory, *pids = holder.stdout.readline().split()
        inodes = [Path(f"/proc/{pid}/ns/net").stat().st_ino for pid in pids]
        holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(_users(inode) for inode in inodes):
        assert time.monotonic() < deadline, [_users(inode) for inode in inodes]
    shutil.rmtree(directory)


# --- and the sandbox ------------------------------------------------------------------------------


def test_a_sandbox_starts_in_the_test_host_and_sends_nothing(internet: Internet, world: World) -> None:
    command = world.command("--allow-read", str(world.program))
    with Attacker([*internet.prefix(), *command], world.environ) as server:
        assert server.call("processes.parent")["got"] > 0
        assert server.finish() == (0, "")
    assert internet.outside_packets() == []
    assert internet.host_connections() == []
