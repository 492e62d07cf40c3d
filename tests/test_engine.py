"""Which engine a caller means, decided by the caller's environment alone, and what is said when it fails."""

from __future__ import annotations

import gc
import json
import os
import socket
import socketserver
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from sandbox import contexts, engine
from sandbox.errors import SandboxError, SandboxNotBuilt
from sandbox.host import engine as remembered
from tests.conftest import Prefix
from tests.host.fake_engine import fake

Handler = Callable[[socket.socket], None]
# The SDK leaves the socket of a connection that failed to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """No such socket is found in another test, where it would be an error."""
    yield
    gc.collect()


# --- contexts ------------------------------------------------------------------------------------


def settings(folder: Path, text: str | dict[str, Any]) -> Path:
    """A folder of the docker command line's with these settings."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(text if isinstance(text, str) else json.dumps(text))
    return folder


def context(folder: Path, name: str, document: Any) -> None:
    """A context in it; a text is its address, else it is the document."""
    at = folder / "contexts" / "meta" / sha256(name.encode()).hexdigest()
    at.mkdir(parents=True)
    if isinstance(document, str):
        document = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": document}}}
    (at / "meta.json").write_text(json.dumps(document))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose settings name the context `far`."""
    folder = settings(tmp_path / ".docker", {"currentContext": "far"})
    context(folder, "far", "tcp://far:2375")
    context(folder, "other", "ssh://me@other")
    return tmp_path


CHOICES = [
    pytest.param({"DOCKER_HOST": "tcp://h:1", "DOCKER_CONTEXT": "other"}, "tcp://h:1", id="DOCKER_HOST wins"),
    pytest.param({"DOCKER_CONTEXT": "other"}, "ssh://me@other", id="then DOCKER_CONTEXT"),
    pytest.param({}, "tcp://far:2375", id="then the context of the settings"),
    pytest.param({"DOCKER_HOST": "", "DOCKER_CONTEXT": ""}, "tcp://far:2375", id="empty is unset"),
]


@pytest.mark.parametrize(("environ", "where"), CHOICES)
def test_the_callers_environment_names_the_engine(environ: dict[str, str], where: str, home: Path) -> None:
    assert engine.endpoint({"HOME": str(home), **environ}) == where


def test_a_folder_of_settings_of_its_own_is_the_one_that_counts(home: Path, tmp_path: Path) -> None:
    folder = settings(tmp_path / "own", {"currentContext": "near"})
    context(folder, "near", "tcp://near:2375")
    environ = {"HOME": str(home), "DOCKER_CONFIG": str(folder)}
    assert engine.endpoint(environ) == "tcp://near:2375"
    with pytest.raises(SandboxNotBuilt, match="does not exist"):
        engine.endpoint(environ | {"DOCKER_CONTEXT": "other"})


def test_this_processs_own_environment_decides_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    folder = settings(tmp_path / "settings", {"currentContext": "mine"})
    context(folder, "mine", "tcp://mine:1")
    other.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    monkeypatch.setenv("HOME", str(other))
    assert engine.endpoint({"HOME": str(home)}) == "tcp://far:2375"


@pytest.mark.threat("D1", proves="no file of the current directory chooses the container engine")
def test_the_current_directory_has_no_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context(tmp_path, "far", "tcp://evil:2375")
    context(tmp_path / ".docker", "far", "tcp://evil:2375")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SandboxNotBuilt, match="does not exist"):
        engine.endpoint({"HOME": str(tmp_path / "home"), "DOCKER_CONTEXT": "far"})


BROKEN = [
    pytest.param({"Endpoints": {"docker": {"Host": ""}}}, "names no engine", id="no address"),
    pytest.param({"Endpoints": {"docker": {"Host": 7}}}, "names no engine", id="an address that is none"),
    pytest.param({"Endpoints": {"docker": {}}}, "cannot be read", id="no host"),
    pytest.param({"Endpoints": {"kubernetes": {}}}, "cannot be read", id="another kind of endpoint"),
    pytest.param({"Endpoints": []}, "cannot be read", id="no endpoints"),
    pytest.param([], "cannot be read", id="no context"),
]


@pytest.mark.parametrize(("document", "says"), BROKEN)
def test_a_context_that_is_none_is_not_taken_for_the_usual_engine(
    document: Any, says: str, tmp_path: Path
) -> None:
    context(settings(tmp_path / ".docker", {"currentContext": "x"}), "x", document)
    with pytest.raises(SandboxNotBuilt, match=says) as caught:
        engine.endpoint({"HOME": str(tmp_path)})
    assert (caught.value.code, caught.value.hint) == ("engine-context", "docker context ls")


def test_a_context_that_does_not_exist_is_not_taken_for_the_usual_engine(tmp_path: Path) -> None:
    settings(tmp_path / ".docker", {"currentContext": "gone"})
    with pytest.raises(SandboxNotBuilt, match="`gone` does not exist"):
        engine.endpoint({"HOME": str(tmp_path)})


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "\0"])
def test_settings_that_cannot_be_read_are_an_error(text: str, tmp_path: Path) -> None:
    settings(tmp_path / ".docker", text)
    environ = {"HOME": str(tmp_path)}
    with pytest.raises(SandboxNotBuilt, match=r"config\.json` cannot be read"):
        engine.endpoint(environ)
    assert engine.endpoint(environ | {"DOCKER_HOST": "tcp://h:1"}) == "tcp://h:1"  # it does not ask them


def test_what_is_remembered_of_an_engine_hangs_on_its_context(home: Path) -> None:
    folder, environ = home / ".docker", {"HOME": str(home)}
    meta = folder / "contexts" / "meta" / sha256(b"far").hexdigest() / "meta.json"
    assert contexts.files(environ) == [str(folder / "config.json"), str(meta)]
    assert contexts.files(environ | {"DOCKER_HOST": "tcp://h:1"}) == [str(folder / "config.json")]
    before = remembered._where(environ, "tcp://far:2375")
    meta.write_text(meta.read_text().replace("far:2375", "farther:2375"))
    assert remembered._where(environ, "tcp://far:2375") != before


# --- the usual sockets ---------------------------------------------------------------------------

USUAL = [
    pytest.param({"auths": {}}, id="settings that name no context"),
    pytest.param({"currentContext": "default"}, id="the default context"),
    pytest.param({"currentContext": ""}, id="an empty one"),
    pytest.param(None, id="no settings"),
]


@pytest.mark.parametrize("text", USUAL)
def test_without_a_context_the_first_socket_that_is_there(
    text: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        settings(tmp_path / ".docker", text)
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": f"{tmp_path}/run"}
    places = [path for path in engine.sockets(environ) if path.startswith(str(tmp_path))]
    # The machine's own engines stay out of it.
    monkeypatch.setattr(engine, "sockets", lambda _: places)
    assert engine.endpoint(environ) == "unix:///var/run/docker.sock"
    for place in reversed(places):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Path(place).touch()
        assert engine.endpoint(environ) == f"unix://{place}"


def test_where_engines_listen() -> None:
    assert engine.sockets({"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/7"}) == [
        "/var/run/docker.sock",
        "/run/user/7/docker.sock",
        "/run/user/7/podman/podman.sock",
        "/home/u/.docker/run/docker.sock",
        "/home/u/.docker/desktop/docker.sock",
        "/run/podman/podman.sock",
    ]


@pytest.mark.parametrize("runtime", ["", ".", "run"])
def test_no_socket_is_looked_for_below_the_current_directory(runtime: str) -> None:
    found = engine.sockets({"HOME": "", "XDG_RUNTIME_DIR": runtime})
    assert found == ["/var/run/docker.sock", "/run/podman/podman.sock"]


# --- certificates --------------------------------------------------------------------------------


def test_a_certificate_that_is_asked_for_and_missing_is_an_error(tmp_path: Path) -> None:
    environ = {
        "DOCKER_HOST": "tcp://127.0.0.1:1",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(tmp_path),
    }
    with pytest.raises(SandboxNotBuilt, match="certificate"):
        engine.connect(environ, timeout=1)


@pytest.mark.parametrize("skip", [True, False], ids=["skipped", "checked"])
def test_a_contexts_certificates_are_its_own(skip: bool, tmp_path: Path) -> None:
    folder = settings(tmp_path / ".docker", {"currentContext": "far"})
    document = {"Endpoints": {"docker": {"Host": "tcp://far:2376", "SkipTLSVerify": skip}}}
    context(folder, "far", document)
    place = folder / "contexts" / "tls" / sha256(b"far").hexdigest() / "docker"
    place.mkdir(parents=True)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (place / name).touch()
    found = engine._tls({"HOME": str(tmp_path)}, "tcp://far:2376")
    assert (found.cert, found.ca_cert) == ((f"{place}/cert.pem", f"{place}/key.pem"), f"{place}/ca.pem")
    assert found.verify is not skip


# --- what is said when it fails ------------------------------------------------------------------


class Answering(socketserver.ThreadingUnixStreamServer):
    """Something on a unix socket that treats every caller in one way, and lets nobody go before its end."""

    def __init__(self, path: Path, answer: Handler) -> None:
        super().__init__(str(path), socketserver.BaseRequestHandler)
        self.answer, self.kept = answer, ExitStack()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Here and now: no answer takes long."""
        self.kept.enter_context(request)
        self.answer(request)


@contextmanager
def serving(path: Path, answer: Handler) -> Iterator[None]:
    """It is there, and then it is not."""
    with Answering(path, answer) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.kept.close()


def says(text: bytes) -> Handler:
    def answer(caller: socket.socket) -> None:
        caller.recv(1 << 16)
        caller.sendall(text)
        caller.shutdown(socket.SHUT_RDWR)

    return answer


def http(status: str, body: str) -> Handler:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return says((head + body).encode())


ANSWERS = [
    pytest.param(lambda _: None, "engine-hung", "does not answer", id="it says nothing"),
    pytest.param(says(b""), "no-engine", "no engine answers", id="it hangs up"),
    pytest.param(says(b"SSH-2.0-OpenSSH_9\r\n"), "no-engine", "no engine answers", id="it speaks no HTTP"),
    pytest.param(http("200 OK", "<html>"), "engine-failed", "is no engine", id="a web page"),
    pytest.param(http("200 OK", "[]"), "engine-failed", "is no engine", id="JSON of another shape"),
    pytest.param(http("200 OK", "{}"), "engine-failed", "is no engine", id="no version in it"),
    pytest.param(
        http("500 Internal Server Error", '{"message":"no space\\nleft"}'),
        "engine-refused",
        "refused: no space left",
        id="an error of its own",
    ),
    pytest.param(
        http("403 Forbidden", '{"message":"by policy"}'), "engine-refused", "by policy", id="a filter"
    ),
    pytest.param(
        http("502 Bad Gateway", "<html>"), "engine-refused", "refused: <html>", id="a proxy without an engine"
    ),
]


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path: a unix socket's has at most 107 bytes."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="engine-") as made:
        yield Path(made) / "s"


def failed(place: Path) -> SandboxError:
    with pytest.raises(SandboxError) as caught:
        engine.connect({"DOCKER_HOST": f"unix://{place}"}, timeout=0.5)
    assert f"unix://{place}" in caught.value.what
    assert "\n" not in caught.value.what
    assert caught.value.hint
    assert caught.value.exit_status == 125
    return caught.value


@pytest.mark.parametrize(("answer", "code", "what"), ANSWERS)
def test_what_answers_and_is_no_engine(answer: Handler, code: str, what: str, place: Path) -> None:
    with serving(place, answer):
        error = failed(place)
    assert (error.code, what in error.what) == (code, True), error.what


def test_nothing_is_there(place: Path) -> None:
    error = failed(place)
    assert (error.code, "No such file" in error.what) == ("no-engine", True)


def test_nobody_listens(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(place))
    error = failed(place)
    assert (error.code, "Connection refused" in error.what) == ("no-engine", True)


def test_an_engine_at_no_port(unused_port: int) -> None:
    with pytest.raises(SandboxNotBuilt, match="Connection refused") as caught:
        engine.connect({"DOCKER_HOST": f"tcp://127.0.0.1:{unused_port}"}, timeout=1)
    assert caught.value.code == "no-engine"


@pytest.fixture
def unused_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_who_may_not_speak_to_it_is_told_of_the_group(place: Path, as_user: Prefix) -> None:
    code = f"""
from sandbox import engine
from sandbox.errors import SandboxError
try:
    engine.connect({{"DOCKER_HOST": "unix://{place}"}}, timeout=1)
except SandboxError as error:
    print(error.code, error.hint)
"""
    with serving(place, says(b"")):
        place.parent.chmod(0o755)
        place.chmod(0)
        done = subprocess.run(
            as_user([sys.executable, "-c", code]),
            capture_output=True,
            text=True,
            timeout=60,
            cwd=os.path.dirname(os.path.dirname(engine.__file__)),
        )
    assert done.stdout.startswith("engine-denied sudo usermod -aG docker"), done.stderr


def test_an_address_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SandboxNotBuilt) as caught:
        engine.connect({"DOCKER_HOST": "gopher://x"}, timeout=1)
    assert "gopher://x" in caught.value.what
    assert caught.value.hint


def test_an_engine_that_answers_is_connected(tmp_path: Path) -> None:
    with fake(tmp_path) as one:
        assert engine.connect({"DOCKER_HOST": one.endpoint}).api_version == "1.41"


def test_what_is_not_there_can_be_told_from_what_failed(tmp_path: Path) -> None:
    with fake(tmp_path) as one:
        api = engine.connect({"DOCKER_HOST": one.endpoint})
        with pytest.raises(SandboxNotBuilt) as caught, engine.failures(one.endpoint):
            api.inspect_image("gone")
    assert caught.value.code == "engine-refused"
    assert isinstance(caught.value.__cause__, engine.NotFound)
