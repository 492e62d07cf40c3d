"""A server at a URL, real and over TLS: what the client gets, and whom nothing is said to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from sandbox.bridge.trust import fingerprint
from tests.e2e.caller import Caller
from tests.e2e.remains import adopted_orphans, descendants, memory, named, processes, text
from tests.e2e.small_remote import Remote, small_remote

LONG = pytest.mark.long
SERVER = Path(__file__).with_name("remote_server.py")
TOKEN = "tok-" + "5b1c9e7d" * 4
CALL = [
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/call",
     "params": {"name": "echo", "arguments": {"text": "hi"}}},
]  # fmt: skip


class Real:
    """A real server's process, where it is, and what it was asked."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        assert process.stdout is not None
        self.port = int(process.stdout.readline())
        self.url = f"https://localhost:{self.port}/mcp"
        self._log = directory / "requests.jsonl"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Every request that came, in order."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]


class Ground:
    """A caller with a certificate authority of its own, and servers that end with the test."""

    def __init__(self, caller: Caller, stack: ExitStack, tmp: Path) -> None:
        self.caller = caller
        self.authority = trustme.CA()
        self.home = caller.directory()
        self._stack, self._tmp = stack, tmp
        self.ca = self.put("ca.pem", self.authority.cert_pem.bytes().decode())

    def put(self, name: str, text: str) -> Path:
        """A file that this caller can read."""
        path = self.home / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    def certificate(self, *names: str, authority: trustme.CA | None = None, **more: Any) -> trustme.LeafCert:
        """For `localhost`, unless said otherwise."""
        return (authority or self.authority).issue_cert(*(names or ("localhost",)), **more)

    def real(self, certificate: trustme.LeafCert, *words: str) -> Real:
        """The Python SDK's server with this certificate."""
        (self._tmp / "requests.jsonl").touch()
        certificate.private_key_and_cert_chain_pem.write_to_path(str(self._tmp / "chain.pem"))
        argv = [sys.executable, str(SERVER), str(self._tmp), "--chain", str(self._tmp / "chain.pem"), *words]
        return Real(self._stack.enter_context(running(argv)), self._tmp)

    def serve(self, certificate: trustme.LeafCert | None, **more: Any) -> Remote:
        """A small server with this certificate; None: without TLS."""
        return self._stack.enter_context(small_remote(certificate, **more))

    def profile(self, url: str, text: str = "") -> Path:
        """One for this URL, which trusts this authority."""
        trusted = f'ca = "{self.ca}"\n' if url.startswith("https") else ""
        port = url.split(":")[2].partition("/")[0]
        head = f'schema = 1\nextends = "base"\n[network]\nallow = ["localhost:{port}"]\n'
        return self.put("remote.toml", f'{head}[server]\nurl = "{url}"\n{trusted}{text}')

    def converse(self, *words: str, environ: dict[str, str] | None = None) -> Answers:
        """A short conversation by `mcp-sandbox run WORDS`."""
        text = "".join(json.dumps(message) + "\n" for message in CALL)
        argv = self.caller.argv(*self.caller.sandboxed(*words))
        done = subprocess.run(
            argv, cwd=self.home, env={**self.caller.environ, **(environ or {})}, input=text,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return Answers(done)


class Answers:
    """What came of a conversation."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.status, self.said, self.out = done.returncode, done.stderr, done.stdout
        self.messages = [json.loads(line) for line in done.stdout.splitlines()]

    @property
    def echoed(self) -> str:
        """What the tool answered; empty where nothing was."""
        found = [one["result"] for one in self.messages if one.get("id") == 2 and "result" in one]
        return str(found[0]["content"][0]["text"]) if found else ""

    @property
    def errors(self) -> str:
        """What the client is told of what it did not get."""
        return "\n".join(one["error"]["message"] for one in self.messages if "error" in one)


@contextmanager
def running(argv: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def ground(caller: Caller, tmp_path: Path) -> Iterator[Ground]:
    with ExitStack() as stack:
        yield Ground(caller, stack, tmp_path)


def granted(remote: Remote) -> tuple[str, str]:
    return ("--allow-net", f"localhost:{remote.port}")


# --- what is carried ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [pytest.param([], id="streams"), pytest.param(["--json"], id="JSON", marks=LONG)]
)
def test_a_server_at_a_url_answers_as_one_on_stdio(words: list[str], ground: Ground) -> None:
    remote = ground.real(ground.certificate(), *words)
    profile = ground.profile(
        remote.url, '[server.headers]\nAuthorization = "Bearer ${TOKEN}"\n[secrets.TOKEN]\nfrom = "env"\n'
    )
    got = ground.converse("--profile", str(profile), environ={"TOKEN": TOKEN})
    assert (got.echoed, got.status) == ("hi", 0), got.said
    assert {one["headers"]["authorization"] for one in remote.requests} == {f"Bearer {TOKEN}"}
    assert {one["headers"]["host"] for one in remote.requests} == {f"localhost:{remote.port}"}
    assert TOKEN not in got.said + got.out
    assert TOKEN not in log_of(ground)


def log_of(ground: Ground) -> str:
    """All that was kept of all sessions: logs, leases, pins."""
    state = ground.caller.run(
        "sh", "-c", 'cat $(find "${XDG_STATE_HOME:-$HOME/.local/state}" -type f)', cwd=ground.home
    )
    assert "session.start" in state.stdout
    return state.stdout


def test_the_url_on_the_command_line(ground: Ground) -> None:
    remote = ground.serve(None)
    got = ground.converse(*granted(remote), f"{remote.url}?key=some-key-4711")
    assert (got.echoed, got.status) == ("hi", 0), got.said
    assert remote.requests[0]["query"] == "key=some-key-4711"
    assert "some-key-4711" not in log_of(ground) + got.said
    assert not any("authorization" in one["headers"] for one in remote.requests)


def test_a_secret_in_the_url_and_one_that_is_not_set(ground: Ground) -> None:
    remote = ground.serve(None)
    words = [*granted(remote), "--secret", "KEY", "--secret", "MAYBE?", "--header", "X-Maybe: ${MAYBE}"]
    got = ground.converse(*words, f"{remote.url}?key=${{KEY}}", environ={"KEY": "a b&c=d"})
    assert got.echoed == "hi", got.said
    assert remote.requests[0]["query"] == "key=a%20b%26c%3Dd"
    assert not any("x-maybe" in one["headers"] for one in remote.requests)


# --- whom nothing is said to -------------------------------------------------------------------------


def hour(hours: int) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def altered(ground: Ground) -> trustme.LeafCert:
    return ground.certificate(authority=trustme.CA())


def expired(ground: Ground) -> trustme.LeafCert:
    return ground.certificate(not_before=hour(-48), not_after=hour(-24))


def not_yet(ground: Ground) -> trustme.LeafCert:
    return ground.certificate(not_before=hour(24), not_after=hour(48))


def anothers(ground: Ground) -> trustme.LeafCert:
    return ground.certificate("elsewhere.test")


@pytest.mark.threat("S4", proves="a remote server with an altered or expired certificate is sent nothing")
@pytest.mark.parametrize(
    ("made", "why"),
    [
        pytest.param(altered, "unable to get local issuer certificate", id="altered: another authority's"),
        pytest.param(expired, "certificate has expired", id="expired"),
        pytest.param(not_yet, "certificate is not yet valid", id="not yet valid", marks=LONG),
        pytest.param(anothers, "not valid for 'localhost'", id="for another host", marks=LONG),
    ],
)
def test_a_certificate_that_is_not_the_servers(made: Any, why: str, ground: Ground) -> None:
    remote = ground.serve(made(ground))
    headers = '[server.headers]\nAuthorization = "Bearer ${TOKEN}"\n[secrets.TOKEN]\nfrom = "env"\n'
    got = ground.converse("--profile", str(ground.profile(remote.url, headers)), environ={"TOKEN": TOKEN})
    assert remote.requests == [], "not even a head is sent"
    assert why in got.errors, got.out + got.said
    assert why in got.said
    assert got.status != 0
    # The same client, and the very same server but for its certificate.
    good = ground.serve(ground.certificate())
    assert (
        ground.converse("--profile", str(ground.profile(good.url, headers)), environ={"TOKEN": TOKEN}).echoed
        == "hi"
    )


@LONG
def test_a_certificate_for_an_address(ground: Ground) -> None:
    remote = ground.serve(ground.certificate("127.0.0.1"))
    url = remote.url.replace("localhost", "127.0.0.1")
    assert ground.converse("--profile", str(ground.profile(url))).echoed == "hi"
    assert "not valid for" in ground.converse("--profile", str(ground.profile(remote.url))).errors


@LONG
def test_without_the_private_authority_nothing_is_trusted(ground: Ground) -> None:
    remote = ground.serve(ground.certificate())
    got = ground.converse(*granted(remote), remote.url)
    assert remote.requests == []
    assert "local issuer" in got.errors, got.out + got.said


def key_of(certificate: trustme.LeafCert) -> str:
    from ssl import PEM_cert_to_DER_cert

    return fingerprint(PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode()))


@pytest.mark.threat("S4", proves="a remote server with another key than the pinned one is sent nothing")
def test_a_key_that_is_not_pinned(ground: Ground) -> None:
    pinned, other = ground.certificate(), ground.certificate()
    text = f'pin = ["{key_of(pinned)}"]\n'
    remote = ground.serve(other)
    got = ground.converse("--profile", str(ground.profile(remote.url, text)))
    assert remote.requests == []
    assert f"the server's key is {key_of(other)}, which is not pinned" in got.errors, got.out + got.said
    right = ground.serve(pinned)
    assert ground.converse("--profile", str(ground.profile(right.url, text))).echoed == "hi"


@pytest.mark.threat("S4", proves="a redirect to another origin takes no secret along")
@pytest.mark.parametrize(
    "status", [307, *(pytest.param(status, marks=LONG) for status in (301, 302, 303, 308))]
)
def test_a_redirect_to_another_origin(status: int, ground: Ground) -> None:
    thief = ground.serve(ground.certificate())
    remote = ground.serve(ground.certificate(), redirect=thief.url, status=status)
    text = '[server.headers]\nX-Api-Key = "${TOKEN}"\n[secrets.TOKEN]\nfrom = "env"\n'
    # Both are allowed and trusted: it is the bridge that does not go there.
    profile = ground.profile(remote.url, text)
    words = ["--profile", str(profile), *granted(thief)]
    got = ground.converse(*words, environ={"TOKEN": TOKEN})
    assert len(remote.requests) >= 1
    assert thief.requests == []
    assert "redirect" in got.errors, got.out + got.said


@LONG
def test_a_redirect_within_the_origin_is_followed(ground: Ground) -> None:
    remote = ground.serve(ground.certificate(), redirect="/moved")
    assert ground.converse("--profile", str(ground.profile(remote.url))).echoed == "hi"
    assert "/moved" in {one["path"] for one in remote.requests}


def test_a_server_that_wants_a_login(ground: Ground) -> None:
    remote = ground.serve(None, token=TOKEN)
    got = ground.converse(*granted(remote), remote.url)
    assert "401" in got.errors, got.out + got.said
    assert f"mcp-sandbox login {remote.url}" in got.said
    words = ["--secret", "TOKEN", "--header", "Authorization: Bearer ${TOKEN}", *granted(remote)]
    assert ground.converse(*words, remote.url, environ={"TOKEN": TOKEN}).echoed == "hi"


# --- what does not start -----------------------------------------------------------------------------


PUBLIC = "https://example.com/mcp"


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        pytest.param("http://example.com/mcp", "invalid-url", "", id="without TLS"),
        pytest.param("http://localhost:1/mcp", "egress-denied", "--allow-net localhost:1", id="loopback"),
        pytest.param(
            "https://127.0.0.1/", "egress-denied", "--allow-net localhost:443", id="loopback, TLS", marks=LONG
        ),
        pytest.param(
            "https://10.1.2.3/", "egress-denied", "--allow-net 10.1.2.3:443", id="private", marks=LONG
        ),
        pytest.param("https://169.254.169.254/", "egress-denied", "", id="metadata", marks=LONG),
        pytest.param("https://user:pw@example.com/", "invalid-url", "", id="a login in it", marks=LONG),
        pytest.param(f"{PUBLIC} more", "unknown-option", "", id="arguments", marks=LONG),
        pytest.param(f"--backend docker {PUBLIC}", "cannot-enforce", "", id="docker"),
        pytest.param(
            f"--header X-Key:${{NONE}} {PUBLIC}",
            "secret-missing",
            "--secret NONE",
            id="no secret",
            marks=LONG,
        ),
        pytest.param(
            f"--header Authorization:abc {PUBLIC}",
            "invalid-option",
            "",
            id="a literal credential",
            marks=LONG,
        ),
        pytest.param("--header X-A:1 -- cat", "cannot-enforce", "", id="a header for a command", marks=LONG),
    ],
)
def test_what_does_not_start(words: str, code: str, hint: str, ground: Ground) -> None:
    got = ground.converse(*words.split())
    assert code in got.said, got.said
    assert hint in got.said
    assert got.status in (2, 125)
    assert code in got.errors
    assert "abc" not in got.said
    assert "pw@" not in got.said


# --- while it runs -----------------------------------------------------------------------------------


@contextmanager
def held(ground: Ground, *words: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A session that has answered once, and goes on."""
    argv = ground.caller.argv(*ground.caller.sandboxed(*words))
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environ = {**ground.caller.environ, **more}
    with subprocess.Popen(argv, cwd=ground.home, env=environ, **pipes) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(CALL[0]) + "\n")
            process.stdin.flush()
            assert "result" in json.loads(process.stdout.readline())
            yield process
        finally:
            process.kill()


def test_nothing_is_left_of_a_wrapper_that_is_killed(ground: Ground) -> None:
    remote = ground.serve(None)
    with adopted_orphans(), held(ground, *granted(remote), remote.url) as process:
        pids = descendants(process.pid)
        assert {"mcp-bridge", "mcp-init", "mcp-keeper"} <= {text(f"/proc/{pid}/comm").strip() for pid in pids}
        process.kill()
        process.wait()
        until = time.monotonic() + 2
        while alive := [pid for pid in pids if pid in {one for one, _, state in processes() if state != "Z"}]:
            assert time.monotonic() < until, alive
            time.sleep(0.01)


def test_what_the_caller_has_besides_is_not_in_the_bridges_memory(ground: Ground) -> None:
    if os.geteuid() != 0:
        pytest.skip("root alone reads another process's memory")
    remote = ground.serve(None)
    others, own = "canary-of-another-server-51c2", "canary-of-this-server-93ab"
    words = (*granted(remote), "--header-from", "X-Key=OWN_TOKEN", remote.url)
    with held(ground, *words, OTHER_TOKEN=others, OWN_TOKEN=own) as process:
        wrapper, bridge = process.pid, named("mcp-bridge", process.pid)
        assert others.encode() in memory(named("mcp-init", wrapper)), "what it was forked from"
        found = memory(bridge)
        assert remote.requests[0]["headers"]["x-key"] == own
        assert own.encode() in found, "what it is to send"
        assert others.encode() not in found
