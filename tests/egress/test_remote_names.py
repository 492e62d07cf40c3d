"""`run URL` on the internet: a public name is reached, and none that leads where no URL may."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.inside import World
from tests.egress import proxies, services
from tests.egress.battery import V4, new_word
from tests.egress.extra_services import Extra
from tests.egress.internet import Internet

SERVER = Path(__file__).parent.parent / "e2e" / "remote_server.py"
PORT, HOSTS_OWN = 9443, 18001
LONG = pytest.mark.long
FLIPPED = "flip-remote.test"
HELLO = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
    },
}  # fmt: skip
CALL = {
    "jsonrpc": "2.0", "id": 2, "method": "tools/call",
    "params": {"name": "echo", "arguments": {"text": "from afar"}},
}  # fmt: skip


@pytest.fixture(scope="module")
def afar(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real server on the internet, at every address of it; the file with what it was asked."""
    directory = tmp_path_factory.mktemp("afar")
    (directory / "requests.jsonl").touch()
    enter = ["nsenter", f"--net=/proc/{internet.processes()[0]}/ns/net", "--", sys.executable, str(SERVER)]
    at = ["--host", "0.0.0.0", "--port", str(PORT), "--chain", str(internet.directory / "tls" / "chain.pem")]  # noqa: S104
    with subprocess.Popen([*enter, str(directory), *at], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{PORT}\n"
            yield directory / "requests.jsonl"
        finally:
            process.kill()


class Told:
    """What came of one conversation: the client's messages, what was said on stderr, the log's events."""

    def __init__(self, done: subprocess.CompletedProcess[str], log: Path) -> None:
        self.messages = [json.loads(line) for line in done.stdout.splitlines()]
        self.said = done.stderr
        self.events = [json.loads(line) for line in log.read_text().splitlines()]

    @property
    def echoed(self) -> bool:
        return any("from afar" in json.dumps(one.get("result", "")) for one in self.messages)

    def denials(self) -> list[Any]:
        return [one["detail"] for one in self.events if one["kind"] == "egress.deny"]


def converse(
    internet: Internet, world: World, url: str, *, word: str, network: str = "", **variables: str
) -> Told:
    """By `run`, with a profile that names the URL, and sends it a secret."""
    server = f'[server]\nurl = "{url}"\nready = "200ms"\nca = "{internet.ca_file}"\n'
    head = f'schema = 1\nextends = "base"\n{server}'
    text = f'{head}[server.headers]\nX-Key = "${{KEY}}"\n[secrets.KEY]\nfrom = "env"\n{network}'
    profile = world.file("remote.toml", world.scratch, text)
    log = world.scratch / f"{word}.jsonl"
    argv = world.command("--profile", str(profile), "--audit", str(log), server=("-",))
    assert argv[-2:] == ["--", "-"]
    argv = argv[:-2]  # the profile says where the server is
    lines = "".join(json.dumps(one) + "\n" for one in (HELLO, CALL))
    done = subprocess.run(
        [*internet.prefix(), *argv], env={**world.environ, "KEY": word, **variables}, cwd="/", input=lines,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert log.exists(), done.stderr
    return Told(done, log)


def test_a_public_name_is_reached(internet: Internet, world: World, afar: Path) -> None:
    word, before = new_word(), afar.stat().st_size
    told = converse(internet, world, f"https://allowed.test:{PORT}/mcp", word=word)
    assert told.echoed, told.said
    asked = [json.loads(line) for line in afar.read_text()[before:].splitlines()]
    assert {one["headers"]["x-key"] for one in asked} == {word}
    assert told.denials() == []
    assert word not in json.dumps(told.events)


@pytest.mark.parametrize(
    ("name", "port", "kind"),
    [
        pytest.param("rebind.test", HOSTS_OWN, "loopback", id="rebinding: this machine"),
        pytest.param("rebind6.test", HOSTS_OWN, "loopback", id="rebinding: this machine, IPv6", marks=LONG),
        pytest.param("own.test", HOSTS_OWN, "own", id="this machine's own address", marks=LONG),
        pytest.param("meta.test", PORT, "metadata", id="a cloud's metadata", marks=LONG),
        pytest.param("private.test", PORT, "private", id="a private address"),
    ],
)
def test_a_name_that_leads_where_no_url_may(
    name: str, port: int, kind: str, internet: Internet, world: World, afar: Path
) -> None:
    word, before = new_word(), afar.stat().st_size
    told = converse(internet, world, f"https://{name}:{port}/mcp", word=word)
    assert afar.stat().st_size == before
    assert internet.host_connections() == []
    denied = told.denials()
    assert denied, told.said
    assert f"({kind})" in denied[0]["reason"]
    assert not told.echoed
    assert any("error" in one for one in told.messages), "the client is told"
    assert f"({kind})" in told.said, "a person is told why"
    # Without us the name leads there.
    script = f"import socket; socket.create_connection(('{name}', {port}), 5).sendall(b'{word}')"
    internet.run([sys.executable, "-c", script], check=True)
    assert port == PORT or internet.host_connections() != []


@LONG
def test_a_private_name_that_is_listed(internet: Internet, world: World, afar: Path) -> None:
    listed = f'[network]\nprivate = ["private.test:{PORT}"]\n'
    url = f"https://private.test:{PORT}/mcp"
    assert converse(internet, world, url, word=new_word(), network=listed).echoed


@LONG
def test_a_name_that_was_public_before(internet: Internet, world: World, afar: Path) -> None:
    url = f"https://{FLIPPED}:{PORT}/mcp"
    internet.rename(FLIPPED, V4)
    first = converse(internet, world, url, word=new_word())
    # Reached, though its certificate is for other names: the bridge refuses that by itself.
    assert first.denials() == []
    assert "not valid for" in first.said
    internet.rename(FLIPPED, "127.0.0.1")
    second = converse(internet, world, url, word=new_word())
    assert "(loopback)" in second.denials()[0]["reason"]
    assert internet.host_connections() == []


@LONG
def test_by_the_hosts_own_proxy(internet: Internet, world: World, afar: Path) -> None:
    """It is asked for the host and port, and carries what it cannot read."""
    word = new_word()
    url = f"https://allowed.test:{PORT}/mcp"
    with Extra(internet) as extra:
        proxy = f"http://{proxies.USER}:{proxies.PASSWORD}@{services.INTERNET}:{proxies.CONNECT}"
        told = converse(internet, world, url, word=word, HTTPS_PROXY=proxy)
        asked = {(one["host"], one["port"]) for one in extra.proxied()}
    assert told.echoed, told.said
    assert asked == {("allowed.test", PORT)}
    assert proxies.PASSWORD not in told.said + json.dumps(told.events)
