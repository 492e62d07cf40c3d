"""TLS: what is not verified is not spoken to; and once the bridge runs it needs no file of the library's."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from tests.bridge.driving import INITIALIZE, at, bridged, modern
from tests.bridge.scripted import SERVER, scripted

CA = trustme.CA()
OTHER = trustme.CA()
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def trusting(ca: trustme.CA = CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    return context


def test_a_server_that_is_verified_is_served() -> None:
    with (
        scripted(tls=serving(CA.issue_cert("127.0.0.1"))) as server,
        bridged(at(server.port, tls=trusting())) as client,
    ):
        assert client.open()["result"] == SERVER
        assert client.end() == 0


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        pytest.param(lambda: OTHER.issue_cert("127.0.0.1"), "not trusted", id="of another authority"),
        pytest.param(lambda: CA.issue_cert("elsewhere.example"), "not trusted", id="of another host"),
        pytest.param(
            lambda: CA.issue_cert("127.0.0.1", not_after=YESTERDAY), "expired", id="expired yesterday"
        ),
    ],
)
def test_a_server_that_is_not_is_sent_nothing(certificate: Callable[[], trustme.LeafCert], why: str) -> None:
    with (
        scripted(tls=serving(certificate())) as server,
        bridged(at(server.port, tls=trusting(), sent=[("Authorization", "secret")])) as client,
    ):
        said = client.ask(INITIALIZE)["error"]["message"]
        assert why in said
        assert client.ended() == 1
        assert why in client.notes()
        assert server.asked == []
        blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        with bridged(at(server.port, tls=blind, sent=[("Authorization", "secret")])) as careless:
            assert careless.open()["result"] == SERVER, "the control: who does not look is served"
        assert server.asked[0].headers["authorization"] == "secret"


def test_a_server_without_tls_is_sent_nothing() -> None:
    with (
        scripted() as server,
        bridged(at(server.port, tls=trusting())) as client,
    ):
        assert "no TLS" in client.ask(INITIALIZE)["error"]["message"]
        assert client.ended() == 1
        assert server.asked == []


# --- without files -------------------------------------------------------------------------------------

WITHOUT_FILES = """
import json, os, socket, ssl, sys
from sandbox.bridge.run import Target, load, run
from sandbox.plan.spec import Endpoint

host, port, tls, ca, dialled = json.loads(sys.argv[1])
context = ssl.create_default_context(cadata=ca) if tls else None

def dial():
    return socket.create_connection(("127.0.0.1", port))

load()

def forbid(event, arguments):
    if event in ("import", "open", "os.listdir", "os.scandir"):
        os.write(2, f"{event}: {arguments[0]}\\n".encode())
        os._exit(9)

sys.addaudithook(forbid)
ready = 0.1 if host.endswith(".invalid") else 5.0
endpoint = Endpoint(host, port, "/mcp", tls=tls, ready=ready)
target = Target(endpoint, (), context, dial if dialled else None)
status = run(target, 0, 1, 2)
os._exit(status)
"""


@pytest.mark.parametrize(
    ("host", "tls", "ca", "dialled", "status"),
    [
        pytest.param("127.0.0.1", False, CA, False, 0, id="by address"),
        pytest.param("127.0.0.2", False, CA, False, 0, id="by what may be a name"),
        pytest.param("127.0.0.1", False, CA, True, 0, id="by a dialler"),
        pytest.param("localhost", True, CA, True, 0, id="with tls"),
        pytest.param("localhost", True, OTHER, True, 1, id="with tls that is not trusted"),
        pytest.param("no-such-host.invalid", False, CA, False, 1, id="by a name that does not resolve"),
    ],
)
def test_nothing_is_imported_or_opened_once_it_runs(
    host: str, tls: bool, ca: trustme.CA, dialled: bool, status: int
) -> None:
    listening = "127.0.0.2" if host == "127.0.0.2" else "127.0.0.1"
    with scripted(tls=serving(CA.issue_cert("localhost")) if tls else None, host=listening) as server:
        arguments = json.dumps([host, server.port, tls, ca.cert_pem.bytes().decode(), dialled])
        lines = [INITIALIZE, modern(1, name="a"), modern(2, "tools/list")]
        ran = subprocess.run(
            [sys.executable, "-c", WITHOUT_FILES, arguments],
            input="".join(json.dumps(line) + "\n" for line in lines),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert ran.returncode == status, ran.stderr
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {answer["id"] for answer in answers if "id" in answer} == {0, 1, 2}
    assert all(("error" in answer) is bool(status) for answer in answers)
