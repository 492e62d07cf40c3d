"""`mcp-sandbox serve` before it serves: what it is given, and what it says of what it cannot do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sandbox.cli import fronting, main, run, serve
from sandbox.errors import UsageError


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["serve", "--listen", "0.0.0.0:0", "base"], 2, "no-tls"),
        (["serve", "--listen", "example.org:80", "base"], 2, "bad-address"),
        (["serve", "--tls-cert", "/nonexistent", "base"], 2, "tls"),
        (["serve", "--tls-cert", "/nonexistent", "--tls-key", "/nonexistent", "a=base"], 2, "tls"),
        (["serve", "no-such-profile"], 2, "profile-not-found"),
        (["serve", "base"], 2, "no-command"),
        (["serve", "a=base", "a=node"], 2, "two-of-a-name"),
        (["serve", "./a b.toml"], 2, "bad-name"),
        (["serve", "--idle", "soon", "base"], 2, "bad-time"),
        (["serve", "--allow-origin", "*", "base"], 2, "bad-origin"),
        (["run", "--token-file", "x", "--", "/bin/cat"], 2, "no-listen"),
        (["run", "--listen", "nowhere", "--", "/bin/cat"], 2, "bad-address"),
        (["run", "--listen", "127.0.0.1:0", "--", "no-such-command-anywhere"], 127, "not-found"),
        (["run", "--listen", "127.0.0.1:0", "--token-file", "/dev/null", "--", "/bin/cat"], 2, "token-file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_served_is_said_before_anything_listens(
    words: list[str], status: int, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == status
    assert code in capsys.readouterr().err


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main.main(["run", "--listen", where, "--", "/bin/cat"]) == 125
    assert "in use" in capsys.readouterr().err


def test_the_hint_about_two_of_a_name_can_be_typed() -> None:
    with pytest.raises(UsageError) as caught:
        serve.named(["red=p.toml", "red=q.toml"])
    assert caught.value.hint == "red-2=q.toml"


@pytest.mark.parametrize(
    ("option", "name"),
    [
        pytest.param("--token-file", "tokens", id="tokens"),
        pytest.param("--listen", "socket", id="a socket that is not there yet"),
    ],
)
@pytest.mark.parametrize("linked", [False, True])
def test_no_server_sees_what_is_the_front_s_own(
    option: str, name: str, linked: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir(mode=0o700)
    named = folder
    if linked:
        named = tmp_path / "link"
        named.symlink_to(folder)
    value = f"unix:{named / name}" if option == "--listen" else str(named / name)
    where = () if option == "--listen" else ("--listen", "127.0.0.1:0")
    words = ["run", *where, option, value, "--allow-read", str(folder), "--", "/bin/cat"]
    assert main.main(words) == 2
    said = capsys.readouterr().err
    assert "front-shown" in said
    assert f"name another place for `{option}`" in said
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["github"], {"github": "github"}),
        (["./x/notes.toml"], {"notes": "./x/notes.toml"}),
        (["a=github", "b=github"], {"a": "github", "b": "github"}),
        (["a=./x=y.toml"], {"a": "./x=y.toml"}),
    ],
)
def test_a_profile_and_its_name_in_the_url(given: list[str], named: dict[str, str]) -> None:
    assert serve.named(given) == named


@pytest.mark.parametrize("given", ["", "a/b/.hidden", "../..", "a b", "=x", "x" * 65, "a%2fb", "caf\u00e9"])
def test_no_name(given: str) -> None:
    with pytest.raises(UsageError):
        serve.named([given])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--listen", ":1", "--", "x", "--listen", "y"], ["--", "x", "--listen", "y"]),
        (["--listen=:1", "--token-file", "t", "--allow-host", "h", "--insecure-http", "x"], ["--", "x"]),
        (
            [
                "-q",
                "--allow-read",
                "a b",
                "--allow-read=-c",
                "--backend",
                "docker",
                "--listen",
                ":1",
                "--",
                "x",
            ],
            ["--backend=docker", "--quiet", "--allow-read=a b", "--allow-read=-c", "--", "x"],
        ),
        (["--prof", "p", "--list", ":1"], ["--profile=p"]),
        (["--set-env", "A=--listen", "--listen", ":1", "x"], ["--set-env=A=--listen", "--", "x"]),
    ],
)
def test_what_each_sandbox_is_started_with(words: list[str], expected: list[str]) -> None:
    """Everything but what is the front's; and read again it says the same."""
    parser = run.parser()
    args = parser.parse_args(words)
    again = list(fronting.again(parser, args))
    assert sorted(again) == sorted(expected)
    read = vars(parser.parse_args(again))
    assert {name for name, value in vars(args).items() if read[name] != value} <= {*fronting.OWN, "command"}


def test_what_is_asked_of_sessions() -> None:
    args = serve.parser().parse_args(["--sessions", "3", "--each", "2", "--idle", "90s", "base"])
    capacity = serve._capacity(args)
    assert (capacity.sessions, capacity.each, capacity.idle_s) == (3, 2, 90.0)


@pytest.mark.parametrize("number", ["0", "-1", "x", "99999999", "\u0663"])
def test_no_number(number: str) -> None:
    with pytest.raises(SystemExit):
        serve.parser().parse_args(["--sessions", number, "base"])
