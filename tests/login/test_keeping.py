"""Where a login is kept, who else may have had a hand in it, and how it is renewed and ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox.errors import SandboxNotBuilt
from sandbox.login import flow, keeping, renewal, ring
from sandbox.login.refused import LoginRefused
from sandbox.login.tokens import token_for
from tests.conftest import ROOT
from tests.login.conftest import Login
from tests.login.sites import Issuer, Server, Told

REAL_KEYRING = ring._keyring  # as it was before any fixture


def file_of(server: Server) -> Path:
    return Path(keeping.path_of(server.url, os.environ))


def changed(server: Server, **more: object) -> None:
    path = file_of(server)
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def grown_old(server: Server) -> None:
    """The token has run out."""
    body = json.loads(file_of(server).read_text())
    changed(server, secrets=body["secrets"] | {"expires": int(time.time())})


# --- the file ----------------------------------------------------------------------------------------


def test_without_a_login_there_is_no_token(server: Server) -> None:
    assert token_for(server.url, os.environ) is None
    assert not Path(os.environ["HOME"], ".local").exists()


@pytest.mark.parametrize("url", ["https://h.example/a$b", "https://h.example/(x)", "http://h.example/mcp"])
def test_a_url_at_which_there_is_no_login_is_not_held_up(url: str, login: Login) -> None:
    login()
    assert token_for(url, os.environ) is None


def _readable(path: Path) -> None:
    path.chmod(0o640)


def _a_link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _no_json(path: Path) -> None:
    path.write_text("{")


def _huge(path: Path) -> None:
    path.write_text(" " * (keeping.LARGEST + 1))


def _of_another(path: Path) -> None:
    path.write_text(path.read_text().replace("/mcp", "/other"))


def _newer(path: Path) -> None:
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))


def _more(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"unheard": 1}))


def _a_list(path: Path) -> None:
    path.write_text("[]")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_readable, id="others can read it"),
        pytest.param(_a_link, id="a link"),
        pytest.param(_a_pipe, id="a pipe"),
        pytest.param(_no_json, id="cut"),
        pytest.param(_huge, id="huge"),
        pytest.param(_of_another, id="the login at another server"),
        pytest.param(_newer, id="of another version"),
        pytest.param(_more, id="with what nobody knows"),
        pytest.param(_a_list, id="no record"),
    ],
)
def test_a_file_that_cannot_be_trusted_stops_the_start(
    spoil: Callable[[Path], None], login: Login, server: Server
) -> None:
    login()
    spoil(file_of(server))
    with pytest.raises(SandboxNotBuilt, match="cannot be used"):
        token_for(server.url, os.environ)
    flow.logout(server.url, os.environ)
    assert token_for(server.url, os.environ) is None
    login()


def test_a_folder_that_others_write_keeps_nothing(login: Login, server: Server) -> None:
    file_of(server).parent.mkdir(parents=True)
    file_of(server).parent.chmod(0o777)
    with pytest.raises(LoginRefused, match="cannot be kept"):
        login()


def test_logins_are_listed_without_their_secrets(login: Login, server: Server, issuer: Issuer) -> None:
    kept = login()
    (file_of(server).parent / "spoilt.json").write_text("{")
    (listed,) = keeping.every(os.environ)
    assert (listed.url, listed.issuer) == (server.url, issuer.origin)
    assert kept.secrets.access not in repr(listed)


# --- renewing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotates", [True, False])
def test_a_token_that_has_run_out_is_renewed(
    rotates: bool, login: Login, server: Server, issuer: Issuer
) -> None:
    issuer.rotates = rotates
    first = login()
    grown_old(server)
    second = token_for(server.url, os.environ)
    assert second != first.secrets.access
    assert second in issuer.accesses
    assert token_for(server.url, os.environ) == second
    form = issuer.seen[-1].form
    assert (form["grant_type"], form["resource"]) == ("refresh_token", server.url)


def test_who_gives_no_new_refresh_token_leaves_the_old_one(
    login: Login, server: Server, issuer: Issuer
) -> None:
    first = login()
    issuer.routes["POST", "/token"] = lambda _: Told(body={"access_token": "new", "token_type": "Bearer"})
    grown_old(server)
    assert token_for(server.url, os.environ) == "new"
    kept = keeping.load(server.url, os.environ)
    assert kept is not None
    assert kept.secrets.refresh == first.secrets.refresh


@pytest.mark.parametrize(
    ("told", "code", "said"),
    [
        pytest.param(Told(400, {"error": "invalid_grant"}), "login-ended", "invalid_grant", id="refused"),
        pytest.param(
            Told(400, {"error": "x\x1b[2J"}), "login-ended", "x\\x1b[2J", id="refused with a control"
        ),
        pytest.param(Told(302, "", {"Location": "/x"}), "login-ended", "status 302", id="a redirect"),
        pytest.param(Told(200, "<html>"), "login-ended", "token of the kind", id="a page"),
        pytest.param(Told(503, ""), "login-unreachable", "503", id="not now"),
        pytest.param(Told(429, ""), "login-unreachable", "429", id="too often"),
    ],
)
def test_a_token_that_cannot_be_renewed_stops_the_start(
    told: Told, code: str, said: str, login: Login, server: Server, issuer: Issuer
) -> None:
    login()
    before = file_of(server).read_text()
    issuer.routes["POST", "/token"] = lambda _: told
    grown_old(server)
    with pytest.raises(SandboxNotBuilt) as refused:
        token_for(server.url, os.environ)
    assert refused.value.code == code
    assert said in refused.value.what
    assert json.loads(before)["secrets"]["refresh"] in file_of(server).read_text()


def test_without_a_refresh_token_a_person_logs_in_again(login: Login, server: Server, issuer: Issuer) -> None:
    issuer.routes["POST", "/token"] = lambda _: Told(
        body={"access_token": "short", "token_type": "Bearer", "expires_in": 1}
    )
    login()
    with pytest.raises(SandboxNotBuilt, match="gave none to renew it with") as refused:
        token_for(server.url, os.environ)
    assert refused.value.hint == f"mcp-sandbox login '{server.url}'"


ASK = "import os, sys; from sandbox.login.tokens import token_for; print(token_for(sys.argv[1], os.environ))"


def test_many_sessions_renew_a_token_once(login: Login, server: Server, issuer: Issuer) -> None:
    """A refresh token of one use that two sessions use ends the login with careful issuers."""
    login()
    grown_old(server)
    issuer.seen.clear()
    command = [sys.executable, "-c", ASK, server.url]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [one.communicate(timeout=60) for one in running]
    assert len({out for out, _ in said}) == 1, said
    assert said[0][0].strip() in issuer.accesses
    assert issuer.paths() == ["POST /token"]


def test_without_the_lock_they_would_spoil_it(
    login: Login, server: Server, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    login()
    grown_old(server)
    both = threading.Barrier(2)
    renew = renewal.renew

    def at_once(*args: Any) -> Any:
        both.wait(10)
        return renew(*args)

    monkeypatch.setattr(renewal, "renew", at_once)
    monkeypatch.setattr(keeping, "alone", lambda *_: nullcontext())
    outcomes: list[object] = []

    def ask() -> None:
        try:
            outcomes.append(token_for(server.url, os.environ))
        except SandboxNotBuilt as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert "login-ended" in outcomes


def test_a_lock_that_is_held_for_ever_is_given_up(server: Server, login: Login) -> None:
    login()
    with keeping.alone(server.url, os.environ), pytest.raises(OSError, match="held its lock"):
        with keeping.alone(server.url, os.environ, seconds=0.1):
            pass


# --- ending ----------------------------------------------------------------------------------------------


def test_a_logout_ends_it_here_and_there(login: Login, server: Server, issuer: Issuer) -> None:
    kept = login()
    assert flow.logout(server.url, os.environ)
    assert issuer.revoked == [kept.secrets.refresh]
    assert not file_of(server).exists()
    with pytest.raises(LoginRefused, match="there is no login"):
        flow.logout(server.url, os.environ)


@pytest.mark.parametrize("without", [True, False])
def test_a_logout_does_not_depend_on_the_issuer(
    without: bool, login: Login, server: Server, issuer: Issuer
) -> None:
    issuer.without = ("revocation_endpoint",) if without else ()
    login()
    issuer.routes["POST", "/revoke"] = lambda _: Told(500)
    assert not flow.logout(server.url, os.environ)
    assert not file_of(server).exists()


# --- the keyring -------------------------------------------------------------------------------------------


class Ring:
    """A keyring that works, or does what a test wants."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}
        self.trouble: Callable[[], None] = lambda: None

    def get_password(self, service: str, name: str) -> str | None:
        self.trouble()
        return self.held.get((service, name))

    def set_password(self, service: str, name: str, secret: str) -> None:
        self.trouble()
        self.held[service, name] = secret

    def delete_password(self, service: str, name: str) -> None:
        self.trouble()
        del self.held[service, name]


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Ring:
    """A keyring that answers."""
    made = Ring()
    monkeypatch.setattr(ring, "_keyring", lambda: made)
    monkeypatch.setattr(ring, "SECONDS", 1.0)
    return made


def test_secrets_are_in_the_keyring_where_one_answers(
    keyring: Ring, login: Login, server: Server, issuer: Issuer
) -> None:
    kept = login()
    assert kept.kept == "keyring"
    text = file_of(server).read_text()
    assert kept.secrets.access not in text
    assert kept.secrets.refresh not in text
    assert list(keyring.held) == [(ring.SERVICE, server.url)]
    assert token_for(server.url, os.environ) == kept.secrets.access
    flow.logout(server.url, os.environ)
    assert not keyring.held
    assert issuer.revoked == [kept.secrets.refresh]


def test_what_is_renewed_goes_back_into_the_keyring(keyring: Ring, login: Login, server: Server) -> None:
    first = login()
    ((place, text),) = keyring.held.items()
    keyring.held[place] = json.dumps(json.loads(text) | {"expires": 1})
    second = token_for(server.url, os.environ)
    assert second not in (None, first.secrets.access)
    assert str(second) in keyring.held[place]
    assert str(second) not in file_of(server).read_text()


def _fails() -> None:
    raise RuntimeError("locked, and a secret in the message")


@contextmanager
def _hanging(keyring: Ring) -> Iterator[None]:
    """It answers when the test is over."""
    over = threading.Event()

    def wait() -> None:
        over.wait(10)

    keyring.trouble = wait
    yield
    over.set()


def test_a_keyring_that_fails_is_none(keyring: Ring, login: Login, server: Server) -> None:
    keyring.trouble = _fails
    assert login().kept == "file"
    assert token_for(server.url, os.environ) is not None


def test_a_keyring_that_says_nothing_holds_nobody_up(
    keyring: Ring, login: Login, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "SECONDS", 0.2)
    with _hanging(keyring):
        assert login().kept == "file"


def test_a_keyring_that_is_gone_stops_the_start(keyring: Ring, login: Login, server: Server) -> None:
    login()
    keyring.trouble = _fails
    with pytest.raises(SandboxNotBuilt, match="the keyring fails: RuntimeError") as refused:
        token_for(server.url, os.environ)
    assert "a secret" not in str(refused.value)
    keyring.trouble, keyring.held = (lambda: None), {}
    with pytest.raises(SandboxNotBuilt, match="cannot be used"):
        token_for(server.url, os.environ)


def test_a_secret_that_stays_in_the_keyring_is_told_of(keyring: Ring, login: Login, server: Server) -> None:
    login()
    keyring.trouble = _fails
    with pytest.raises(LoginRefused, match="a secret of it is left"):
        flow.logout(server.url, os.environ)
    assert token_for(server.url, os.environ) is None


@pytest.mark.parametrize(
    ("module", "counts"),
    [
        pytest.param("keyring.backends.SecretService", True, id="a desktop's"),
        pytest.param("keyring.backends.fail", False, id="none"),
        pytest.param("keyring.backends.null", False, id="one that forgets"),
        pytest.param("keyrings.alt.file", False, id="a file of somebody else's"),
    ],
)
def test_which_keyrings_count(module: str, counts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = type("Keyring", (Ring,), {"__module__": module})()
    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_keyring=lambda: made))
    monkeypatch.setattr(ring, "_keyring", REAL_KEYRING)
    assert ring.answers() is counts
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert not ring.answers(), "the extra is not installed"
