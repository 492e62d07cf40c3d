"""`mcp-sandbox learn` as a user runs it, over a server that wants what it is told to want."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.terminal import at_terminal

SERVER = Path(__file__).resolve().parent.parent / "fixtures" / "wanting.py"
PYTHON = sys._base_executable  # type: ignore[attr-defined]  # every user can execute it
CODE = "import sys; from sandbox.cli.main import main; sys.exit(main(sys.argv[1:]))"
CANARY = "the canary sings"

pytestmark = pytest.mark.usefixtures("native")


@pytest.fixture
def native(require: Callable[[str], None]) -> None:
    require("native")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The server's own directory, which it sees whatever is granted."""
    (tmp_path / "server.py").write_text(SERVER.read_text())
    return tmp_path


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that nobody grants, with a file."""
    made = tmp_path_factory.mktemp("elsewhere")
    (made / "canary").write_text(CANARY)
    return made


def words(here: Path, *options: str, wants: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, "-c", CODE, "learn", *options, "--", PYTHON, str(here / "server.py"), *wants]


def learn(here: Path, *options: str, wants: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    argv = words(here, *options, wants=wants)
    return subprocess.run(
        argv, cwd=here, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90
    )


def call(how: str, what: object) -> tuple[str, str, str]:
    return "--call", "want", json.dumps({"how": how, "what": str(what)})


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def granted(text: str) -> dict[str, Any]:
    """What a profile grants: the comments are no part of it."""
    made = tomllib.loads(text)
    files, network = made.get("files", {}), made.get("network", {})
    return {name: value for name, value in {**files, **network}.items() if value}


@pytest.mark.long
def test_a_server_that_wants_nothing_gets_nothing(here: Path) -> None:
    done = learn(here, "--call-all")
    assert done.returncode == 0, done.stderr
    made = tomllib.loads(done.stdout)
    assert made["extends"] == "python"
    assert granted(done.stdout) == {}
    assert made["syscalls"]["tier"] == "strict"
    assert "# Called: free (result)." in done.stdout
    assert "mcp-sandbox: learnt: exposure 0." in done.stderr


@pytest.mark.parametrize("how", ["read", pytest.param("look", marks=pytest.mark.long)])
def test_what_nobody_granted_is_not_read_and_not_in_the_profile(
    how: str, here: Path, elsewhere: Path
) -> None:
    canary = elsewhere / "canary"
    outside = json.dumps({"how": how, "what": str(canary)})
    argv = [
        PYTHON,
        "-c",
        f"import sys; sys.path[:0] = [{str(here)!r}]; import server; print(server.called({outside}))",
    ]
    bare = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout
    assert "'isError': False" in bare  # outside it succeeds

    found = told(learn(here, "--json", *call(how, canary)))
    assert [(one["tool"], one["how"]) for one in found["called"]] == [("want", "failure")]
    assert "FileNotFoundError" in found["called"][0]["said"]
    assert granted(found["profile"]) == {}
    assert [(one["key"], one["value"]) for one in found["declined"]] == [("files.read", str(canary))]
    assert "# Not granted: files.read " in found["profile"]


@pytest.mark.long
def test_a_person_says_yes_and_the_next_run_has_it(here: Path, elsewhere: Path) -> None:
    canary, out = elsewhere / "canary", here / "learnt.toml"
    argv = words(here, "--out", str(out), *call("read", canary))
    status, shown = at_terminal(argv, os.environ, "y", until="let it read that? [y/N] ", cwd=str(here))
    assert status == 0, shown
    assert granted(out.read_text()) == {"read": [str(canary)]}
    assert "# Called: want (result)." in out.read_text()


@pytest.mark.long
def test_what_may_be_changed_is_said_by_name_and_what_is_not_changed_is_only_read(
    here: Path, elsewhere: Path
) -> None:
    for name in ("used", "idle"):
        (elsewhere / name).mkdir()
    grants = [f"--allow-write={elsewhere}/{name}" for name in ("used", "idle")]
    calls = (*call("write", elsewhere / "used" / "new"), *call("look", elsewhere / "idle"))
    found = told(learn(here, "--json", *grants, *calls))
    assert granted(found["profile"]) == {
        "read": [str(elsewhere / "idle")],
        "write": [str(elsewhere / "used")],
    }
    assert found["works"]


def test_no_file_is_made_setuid_while_its_calls_are_observed(here: Path, elsewhere: Path) -> None:
    """What `learn` lets go on is what the filter makes anyway: a setuid bit is refused as ever."""
    place = elsewhere / "writable"
    place.mkdir()
    bare = subprocess.run(
        [PYTHON, "-c", f"import os; os.close(os.open({str(place / 'outside')!r}, os.O_CREAT, 0o4755))"],
        timeout=20, check=True,
    )  # fmt: skip
    assert bare.returncode == 0
    assert (place / "outside").stat().st_mode & 0o4000
    found = told(learn(here, "--json", "--allow-write", str(place), *call("setuid", place / "inside")))
    assert "PermissionError" in found["called"][0]["said"]
    assert not (place / "inside").exists()


@pytest.mark.long
def test_a_secret_place_is_granted_by_nobody(here: Path, own_home: Path) -> None:
    key = own_home / ".ssh" / "id_ed25519"
    key.parent.mkdir()
    key.write_text(CANARY)
    argv = words(here, "--json", *call("read", key))
    # A person who would say yes to anything is not asked.
    status, shown = at_terminal(argv, os.environ, "", cwd=str(here))
    assert (status, "[y/N]" in shown, CANARY in shown) == (0, False, False), shown
    assert "private keys and credentials" in shown


# --- the network -----------------------------------------------------------------------------------------


@contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """The host's own proxy, which every name leads to: what it was asked for."""
    import socket
    import threading

    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    asked.append(client.recv(4096).split(b"\r\n")[0].decode())
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    client.recv(4096)
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@pytest.mark.long
def test_a_name_is_reached_only_by_a_yes_or_trust(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy() as (url, asked):
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("HTTPS_PROXY", url)
        refused = told(learn(here, "--json", *call("connect", "api.example.com:80")))
        assert (asked, refused["called"][0]["how"]) == ([], "failure")
        assert [one["value"] for one in refused["declined"]] == ["api.example.com"]
        assert "allow" not in granted(refused["profile"])

        done = learn(here, "--json", "--trust-network", *call("connect", "api.example.com:80"))
        assert "waived: `--trust-network`" in done.stderr
        trusted = told(done)
        assert asked
        assert (trusted["called"][0]["how"], trusted["works"]) == ("result", True)
        assert granted(trusted["profile"])["allow"] == ["api.example.com:80"]


@pytest.mark.long
def test_trust_is_in_names_and_not_in_this_machine_s_own_ports(here: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        port = listener.getsockname()[1]
        found = told(learn(here, "--json", "--trust-network", *call("connect", f"127.0.0.1:{port}")))
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert [one["value"] for one in found["declined"]] == [f"localhost:{port}"]


# --- usage -----------------------------------------------------------------------------------------------


def test_a_server_that_cannot_start_says_what_it_went_without(here: Path) -> None:
    done = learn(here, wants=("lookup", "api.example.com"))
    assert done.returncode == 1
    assert "hint: --allow-net api.example.com" in done.stderr
    assert "error: not-learnt" in done.stderr


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        pytest.param(("--call", "want", "[1]"), 2, "no JSON object", id="arguments that are no object"),
        pytest.param(("--call", "want", "{"), 2, "no JSON object", id="arguments that are no JSON"),
        pytest.param(("--out", "server.py"), 2, "is there already", id="a file that is there"),
    ],
)
def test_usage(options: tuple[str, ...], status: int, said: str, here: Path) -> None:
    done = learn(here, *options)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


@pytest.mark.long
def test_the_difference_to_a_profile(here: Path, elsewhere: Path) -> None:
    profile = here / "old.toml"
    profile.write_text(
        f'schema = 1\nextends = "python"\n[files]\nread = ["{elsewhere}"]\n'
        '[network]\nallow = ["old.example.com"]\n'
    )
    same = learn(here, "--diff", str(profile), "--call-all")
    assert same.returncode == 0, same.stderr
    assert same.stdout.splitlines() == [
        "- network.allow `old.example.com:443`: no connection was made",
        f"- files.read `{elsewhere}`: it was not used",
    ]
    done = learn(here, "--diff", str(profile), *call("lookup", "new.example.com"))
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "+ network.allow `new.example.com`: asked for once"
