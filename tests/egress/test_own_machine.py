"""What this machine's own addresses, search domains and proxies must not do to an allowed name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.attacks.inside import World
from tests.conftest import ROOT
from tests.egress import services
from tests.egress.internet import Internet

# Interfaces of a namespace that ends with the program; nothing is sent.
CONFIGURED = """
set -e
ip link set lo up
ip link add inner type veth peer name outer
for one in 93.184.216.98/24 93.184.216.99/24 2606:2800:220:1::98/64; do ip addr add $one dev inner nodad; done
ip link set inner up
ip link set outer up
ip route add default via 93.184.216.1
ip route add local 93.184.218.0/24 dev lo src 93.184.216.98
ip -6 route add local 2606:2800:220:7::/64 dev lo
exec "$@"
"""
ASK = """
import json, sys
from ipaddress import ip_address
from sandbox.egress.dial import _is_own
json.dump([one for one in sys.argv[1:] if _is_own(ip_address(one))], sys.stdout)
"""
OWN = [
    "127.0.0.1", "127.9.9.9", "::1", "93.184.216.98", "93.184.216.99", "93.184.216.255", "93.184.218.7",
    "2606:2800:220:1::98", "2606:2800:220:7::1", "224.0.0.1",
]  # fmt: skip
OTHERS = ["93.184.216.1", "93.184.217.1", "8.8.8.8", "2606:2800:220:1::99", "2001:4860:4860::8888"]


@pytest.mark.root
@pytest.mark.threat(
    "D3", proves="an address of this machine's, of any interface or route, is told as its own"
)
def test_own_addresses_are_what_the_kernel_routes_to_itself() -> None:
    shell = ["unshare", "--net", "sh", "-c", CONFIGURED, "sh"]
    ask = [sys.executable, "-c", ASK, *OWN, *OTHERS]
    done = subprocess.run(
        [*shell, *ask],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == OWN


def test_without_a_route_an_address_is_nobodys() -> None:
    ask = [sys.executable, "-c", ASK, "93.184.216.34"]
    done = subprocess.run(
        ["unshare", "--user", "--net", *ask],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("[]", "")


FETCH = "curl -sS -m8 http://missing.test/x; cat >/dev/null"
SEARCHING = 'mount --bind "$1" /etc/resolv.conf; shift; exec "$@"'


@pytest.mark.threat("D3", proves="a search domain of the host's makes no other host of an allowed name")
def test_no_search_domain_is_appended(internet: Internet, world: World, tmp_path: Path) -> None:
    internet.rename("missing.test.corp.test", services.V4)
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {services.INTERNET}\nsearch corp.test\n")
    place = [*internet.prefix(), "unshare", "--mount", "sh", "-c", SEARCHING, "sh", str(resolv)]
    command = world.command("--allow-net", "missing.test:80", server=["sh", "-c", f"({FETCH}) >&2"])
    done = subprocess.run(
        [*place, *command], env=world.environ, cwd="/", input="", capture_output=True, text=True, timeout=40
    )
    assert "hello" not in done.stderr
    assert set(internet.names_asked()) == {"missing.test"}
    assert internet.requests() == []
    outside = ["sh", "-c", FETCH]
    done = subprocess.run([*place, *outside], cwd="/", input="", capture_output=True, text=True, timeout=40)
    assert "hello missing.test" in done.stdout, "the control failed"


ALIASED = "curl -sS -m8 http://inner/x; cat >/dev/null"


@pytest.fixture
def aliases() -> Iterator[Path]:
    """A file that the gateway could read, whoever it is: `tmp_path` is its owner's alone."""
    with TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        found = Path(place, "aliases")
        found.write_text("inner evil.test\n")
        found.chmod(0o644)
        yield found


@pytest.mark.threat("D3", proves="a file of aliases makes no other host of an allowed name")
def test_no_alias_is_another_host(internet: Internet, world: World, aliases: Path, tmp_path: Path) -> None:
    internet.rename("evil.test", services.V4)
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {services.INTERNET}\n")
    place = [*internet.prefix(), "unshare", "--mount", "sh", "-c", SEARCHING, "sh", str(resolv)]
    command = world.command("--allow-net", "inner:80", server=["sh", "-c", f"({ALIASED}) >&2"])
    environ = {**world.environ, "HOSTALIASES": str(aliases)}
    done = subprocess.run(
        [*place, *command], env=environ, cwd="/", input="", capture_output=True, text=True, timeout=40
    )
    assert "hello" not in done.stderr
    assert set(internet.names_asked()) == {"inner"}
    assert internet.requests() == []
    outside = ["sh", "-c", ALIASED]
    done = subprocess.run(
        [*place, *outside], env=environ, cwd="/", input="", capture_output=True, text=True, timeout=40
    )
    assert "hello" in done.stdout, "the control failed"


def test_a_proxy_is_told_as_a_waiver(world: World) -> None:
    environ = {**world.environ, "HTTPS_PROXY": "http://user:hunter2222@127.0.0.1:9"}
    done = subprocess.run(
        world.command("--allow-net", "allowed.test", server=["/bin/true"]),
        env=environ, cwd="/", input="", capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.stderr.startswith("mcp-sandbox: waived: the host's own proxy resolves the allowed names")
    logs = (world.home / ".local/state/mcp-sandbox").rglob(f"*{world.name}*.jsonl")
    text = max(logs, key=lambda log: log.stat().st_mtime_ns).read_text()
    assert '"rule":"HTTPS_PROXY, HTTP_PROXY, ALL_PROXY"' in text
    assert "hunter2222" not in text + done.stderr
