"""`login URL` on the internet: a server names issuers, and none is asked that lies inside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.egress.internet import Internet

PROGRAM = Path(__file__).with_name("far_login.py")
PORT, HOSTS_OWN = 9444, 18001
LONG = pytest.mark.long
RUN = "import sys; from sandbox.cli.main import main; sys.exit(main())"


@pytest.fixture(scope="module")
def afar(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The server on the internet; the file with what it was asked."""
    asked = tmp_path_factory.mktemp("afar") / "asked"
    chain = str(internet.directory / "tls" / "chain.pem")
    enter = ["nsenter", f"--net=/proc/{internet.processes()[0]}/ns/net", "--", sys.executable, str(PROGRAM)]
    with asked.open("w") as log, subprocess.Popen([*enter, chain, str(PORT)], stdout=log) as process:
        try:
            while not asked.read_text().startswith("ready"):
                assert process.poll() is None
            yield asked
        finally:
            process.kill()


def login(internet: Internet, issuer: str) -> str:
    """What a login at a server with that issuer comes to."""
    words = ["login", f"https://allowed.test:{PORT}/{issuer}", "--ca", str(internet.ca_file), "--no-browser"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = internet.run([sys.executable, "-c", RUN, *words], env=environ)
    assert done.returncode == 1
    return str(done.stderr)


@pytest.mark.root
def test_an_issuer_at_a_public_name_is_asked(internet: Internet, afar: Path) -> None:
    assert "`https://evil.test:9444` makes no clients on request" in login(internet, f"evil.test:{PORT}")
    assert f"evil.test:{PORT} /.well-known/oauth-authorization-server" in afar.read_text().splitlines()


@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("rebind.test", "loopback", id="this machine"),
        pytest.param("rebind6.test", "loopback", id="this machine by IPv6", marks=LONG),
        pytest.param("own.test", "private|own", id="an address of this machine's"),
        pytest.param("mapped.test", "embedding", id="IPv4 in IPv6", marks=LONG),
        pytest.param("zero.test", "reserved", id="no address at all", marks=LONG),
    ],
)
def test_an_issuer_on_this_machine_is_not_asked(name: str, kind: str, internet: Internet, afar: Path) -> None:
    said = login(internet, f"{name}:{HOSTS_OWN}")
    assert f"`https://{name}:{HOSTS_OWN}` is not asked" in said
    assert any(word in said for word in kind.split("|"))
    assert internet.host_connections() == []
    internet.run(["curl", "-sk", "-m", "0.3", f"https://{name}:{HOSTS_OWN}/"])
    assert internet.host_connections(), "who does not check gets there"


@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("private.test", "private", id="the network behind"),
        pytest.param("meta.test", "metadata", id="a cloud's credentials"),
    ],
)
def test_an_issuer_in_the_network_behind_is_not_asked(
    name: str, kind: str, internet: Internet, afar: Path
) -> None:
    before = len(afar.read_text())
    said = login(internet, f"{name}:{PORT}")
    assert "is not asked: the name resolves to" in said
    assert f"({kind})" in said
    assert f"\n{name}" not in afar.read_text()[before:]
    internet.run(["curl", "-sk", "-m", "5", f"https://{name}:{PORT}/x"])
    assert f"\n{name}:{PORT} /x" in afar.read_text()[before - 1 :], "who does not check gets there"
