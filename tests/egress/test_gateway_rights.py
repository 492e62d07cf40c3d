"""What the gateway may do and what it holds: no more than the server, and nothing of the client's."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.backend.native.identity import FIRST_UID
from sandbox.egress.names import NO_ONES
from tests.attacks.inside import CALLERS, Attacker
from tests.conftest import ROOT, Require
from tests.e2e.remains import text
from tests.egress.loopback import Host, Place, gateway, place

UNUSED_PORT = 1


@pytest.fixture(scope="module", params=CALLERS)
def furnished(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A caller's world, made once."""
    with place(request.param) as made:
        yield made


@pytest.fixture
def world(furnished: Place, require: Require) -> Place:
    """A caller on a host that can build the sandbox."""
    require("native")
    return furnished


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as made:
        yield made


@pytest.fixture
def port(host: Host) -> int:
    return host.serve(host.echo)


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status, by name."""
    lines = text(f"/proc/{pid}/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def descriptors(pid: int) -> dict[int, str]:
    """What a process holds; a process that is not dumpable shows it to root alone."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        pytest.skip("the gateway's descriptors are root's to see: proved by the run as root")
    return {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in names}


def loaded(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except PermissionError:
        pytest.skip("the gateway's memory map is root's to see: proved by the run as root")


def tries(world: Place, attacker: Attacker, port: int) -> None:
    """One denied attempt, and one that is allowed where `port` is."""
    attacker.ask("tcp", port=UNUSED_PORT)
    assert attacker.message()["result"] == {"failed": "ECONNREFUSED", "isError": True}
    attacker.ask("tcp", port=port, say="hello\n")
    attacker.message()


ACTS = [
    pytest.param([], id="nothing is allowed"),
    pytest.param(["--allow-net", "localhost:{port}"], id="a port is allowed"),
]


@pytest.mark.threat("D3", proves="what reads a hostile server's bytes has no right, and no uid of anybody's")
@pytest.mark.parametrize("options", ACTS)
def test_the_gateway_has_no_rights(options: list[str], world: Place, port: int) -> None:
    with world.inside(*(one.format(port=port) for one in options)) as attacker:
        tries(world, attacker, port)
        found = status(gateway(attacker))
        wrapper = status(attacker.process.pid)
    own = FIRST_UID + int(found["Pid"]) if world.uid == 0 else world.uid
    group = own if world.uid == 0 else world.gid
    assert (found["Uid"].split(), found["Gid"].split()) == ([str(own)] * 4, [str(group)] * 4)
    # Its bounding set is what it was: without new privileges nothing is gained from there.
    assert {int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    assert found["Groups"] == "" if world.uid == 0 else found["Groups"] == wrapper["Groups"]
    assert wrapper["Seccomp"] == "0", "the control: it is not the wrapper's"


@pytest.mark.threat("D3", proves="what reads a hostile server's bytes holds no pipe of the client's")
@pytest.mark.parametrize("options", ACTS)
def test_the_gateway_holds_nothing_of_the_wrappers(options: list[str], world: Place, port: int) -> None:
    with world.inside(*(one.format(port=port) for one in options)) as attacker:
        world.call(attacker, "release")
        before = descriptors(gateway(attacker))
        tries(world, attacker, port)
        after = descriptors(gateway(attacker))
        client = {os.readlink(f"/proc/{attacker.process.pid}/fd/{fd}") for fd in (0, 1, 2)}
        wrapper = set(descriptors(attacker.process.pid).values())
        assert os.readlink(f"/proc/{gateway(attacker)}/cwd") == "/"
    for held in (before, after):
        assert {held[fd] for fd in (0, 1, 2)} == {"/dev/null"}
        others = {what for fd, what in held.items() if fd > 2}
        assert {what.partition(":")[0] for what in others} <= {"socket", "anon_inode"}
        assert not client & others
        # Of the wrapper's sockets it has the other end of the channel alone, which is not the same one.
        assert not {what for what in wrapper & others if what.startswith("socket")}


def test_the_gateway_holds_the_trap_and_its_channel_and_nothing_else(world: Place) -> None:
    with world.inside() as attacker:
        world.call(attacker, "release")
        held = descriptors(gateway(attacker))
    sockets = [what for what in held.values() if what.startswith("socket")]
    # The channel; for each family a listener and a datagram socket on 53; the observer.
    assert len(sockets) in (1 + 2 + 1, 1 + 4 + 1)
    assert len(held) == 3 + len(sockets)


def test_where_nothing_is_allowed_the_gateway_loads_nothing_before_the_first_attempt(world: Place) -> None:
    with world.inside() as attacker:
        assert world.call(attacker, "release") == 0
        pid = gateway(attacker)
        before = loaded(pid)
        attacker.ask("tcp", port=UNUSED_PORT)
        assert attacker.message()["result"]["failed"] == "ECONNREFUSED"
        after = loaded(pid)
    assert "_asyncio" not in before
    assert "_ssl" not in before
    assert "_asyncio" in after, "the control: it would be seen"


# --- a clone that only root can read --------------------------------------------------------------------


@pytest.fixture
def locked() -> Iterator[Path]:
    """Our packages, and what they need, where only root can read them."""
    made = Path(tempfile.mkdtemp(prefix="mcp-locked-", dir="/root"))
    try:
        shutil.copytree(ROOT / "sandbox", made / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "profiles", made / "profiles")
        site = next(Path(one) for one in sys.path if one.endswith("site-packages"))
        shutil.copytree(site, made / "site", ignore=shutil.ignore_patterns("mypy*", "*editable*", "*.pth"))
        made.chmod(0o700)
        yield made
    finally:
        shutil.rmtree(made)


LOCKED = """
import sys
sys.path = [one for one in sys.path if not one.endswith("site-packages")]
sys.path[:0] = [{here!r}, {here!r} + "/site"]
from sandbox.cli.main import main
import sandbox
assert sandbox.__path__[0].startswith({here!r}), sandbox.__path__
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.threat("D3", proves="behind the host's proxy a name is resolved there alone")
@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_the_hosts_own_proxy(scheme: str, world: Place, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    proxied(scheme, world, host, monkeypatch)


def proxied(scheme: str, world: Place, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody can resolve is reached through the proxy of the wrapper's environment."""
    at = host.serve(host.proxy if scheme == "http" else host.socks)
    variable = {"HTTPS_PROXY": f"{scheme}://clerk:horse-staple@127.0.0.1:{at}"}
    monkeypatch.setattr(Place, "environ", world.environ | variable)
    with world.inside("--allow-net", "service.invalid:5000") as attacker:
        address = world.call(attacker, "lookup", name="service.invalid")
        assert address.startswith(NO_ONES)
        assert world.call(attacker, "tcp", host=address, port=5000, say="hello\n") == "hello\n"
        assert world.call(attacker, "proxies") == []
        assert attacker.finish()[0] == 0
    assert b"service.invalid" in host.received
    (allowed,) = world.events("egress.allow")
    assert allowed["detail"]["proxy"] is True
    assert "horse-staple" not in str(world.events())


@pytest.mark.root
@pytest.mark.parametrize("options", ACTS)
def test_a_clone_that_only_root_can_read(
    options: list[str], locked: Path, require: Require, host: Host, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway gives up root: all that it will ever import has to be there by then."""
    require("native")
    monkeypatch.setattr("tests.attacks.inside.RUN", LOCKED.format(here=str(locked)))
    words = [one.format(port=port) for one in options]
    with place("root") as world:
        monkeypatch.setattr(Place, "environ", {**world.environ, "PYTHONPATH": "", "PYTHONSAFEPATH": "1"})
        with world.inside(*words) as attacker:
            tries(world, attacker, port)
            assert world.call(attacker, "lookup", name="nobody.example") == "EAI -2"
            attacker.ask("tcp", port=53, host="198.51.100.7", say="\0\1x")
            attacker.message()
            if options:
                assert world.call(attacker, "tcp", port=port, say="hello\n") == "hello\n"
            pid = gateway(attacker)
            assert status(pid)["Uid"].split()[0] != "0"
            assert attacker.finish()[0] == 0
        assert len(world.events("dns.deny")) >= 1
        assert len(world.events("egress.deny")) >= 1
        assert len(world.events("egress.allow")) == (2 if options else 0)
        for scheme in ("http", "socks5"):
            host.received.clear()
            proxied(scheme, world, host, monkeypatch)
