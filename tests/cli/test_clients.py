"""`mcp-sandbox clients`: what is shown, asked, done and said by the status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.cli.main import main
from sandbox.clients.table import row
from sandbox.clients.words import Found
from sandbox.clients.wrapping import ours
from sandbox.errors import USAGE
from sandbox.inspect.pinned import Item
from sandbox.pins import Store
from tests.cli.cursor import PROGRAM, TOKEN, commands, document, wrap
from tests.terminal import at_terminal


def test_list(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clients", "list"]) == 0
    shown = capsys.readouterr().out
    assert "Cursor  3        0          user   ~/.cursor/mcp.json" in shown
    assert "0 of 3 servers contained" in shown
    assert main(["clients", "list", "--json"]) == 0
    servers = document(capsys)["files"][0]["servers"]
    assert [(one["name"], one["kind"], one["contained"]) for one in servers] == [
        ("time", "stdio", False),
        ("odd", "stdio", False),
        ("far", "http", False),
    ]


def test_wrap_and_unwrap(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = home / ".cursor" / "mcp.json"
    before = config.read_bytes()
    assert wrap("--yes") == 0
    assert commands(home) == {"time": PROGRAM, "odd": PROGRAM, "far": PROGRAM}
    shown = capsys.readouterr().out
    assert "- uvx mcp-server-time" in shown
    assert f"+ {PROGRAM} run --name time --profile time -- uvx mcp-server-time" in shown
    assert f"+ {PROGRAM} run --name far -- https://x.example/mcp" in shown
    wrapped = config.read_bytes()
    assert wrap("--yes") == 0
    assert "nothing to change" in capsys.readouterr().out
    assert config.read_bytes() == wrapped
    assert main(["clients", "unwrap", "--yes"]) == 0
    assert config.read_bytes() == before


def test_no_secret_is_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["list"], ["scan"], ["scan", "--json"], ["scan", "--sarif"], ["wrap", "--dry-run"]):
        main(["clients", *words, *(["--program", PROGRAM] if words[0] == "wrap" else [])])
    wrap("--yes", "--json")
    main(["clients", "unwrap", "--yes"])
    out, err = capsys.readouterr()
    assert TOKEN not in out + err
    assert "--token •••" in out


def test_what_is_kept_is_private(home: Path) -> None:
    assert wrap("--yes") == 0
    kept = list((home / ".local" / "state" / "mcp-sandbox" / "clients").iterdir())
    assert len(kept) == 3
    assert {path.stat().st_mode & 0o077 for path in kept} == {0}


def test_one_client_one_server(home: Path) -> None:
    assert wrap("cursor", "odd", "--yes") == 0
    assert commands(home) == {"time": "uvx", "odd": PROGRAM, "far": ""}
    assert wrap("Cursor", "time", "--yes") == 0
    assert main(["clients", "unwrap", "cursor", "odd", "--yes"]) == 0
    assert commands(home) == {"time": PROGRAM, "odd": "my-server", "far": ""}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        pytest.param(["list", "curser"], "did you mean `cursor`?", id="a client"),
        pytest.param(["wrap", "cursor", "nothing", "--yes"], "there are: far, odd, time", id="a server"),
        pytest.param(["wrap"], "mcp-sandbox clients wrap --yes", id="nobody to ask"),
    ],
)
def test_usage(home: Path, capsys: pytest.CaptureFixture[str], words: list[str], hint: str) -> None:
    assert main(["clients", *words, *(["--program", PROGRAM] if words[0] == "wrap" else [])]) == USAGE
    assert hint in capsys.readouterr().err
    assert commands(home)["time"] == "uvx"


@pytest.mark.parametrize(("typed", "status"), [("yes", 0), ("no", 1), ("", 1)])
def test_a_person_is_asked(home: Path, typed: str, status: int) -> None:
    script = "import sys; from sandbox.cli.main import main; sys.exit(main(sys.argv[1:]))"
    argv = [sys.executable, "-c", script, "clients", "wrap", "--program", PROGRAM]
    environ = {**os.environ, "TERM": "xterm"}
    found, shown = at_terminal(argv, environ, typed or " ", cwd=str(home))
    assert found == status, shown
    assert "contain 3 servers? type `yes`:" in shown
    assert "\033[32m  + /opt/mcp-sandbox" in shown
    assert commands(home)["time"] == (PROGRAM if typed == "yes" else "uvx")


def test_scan(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clients", "scan"]) == 1
    shown = capsys.readouterr()
    assert "time  not contained, exposure 10.0; profile `time` fits:" in shown.out
    assert "[secret-in-config]" in shown.out
    assert "in its sandbox it is given the secrets `API_KEY`" in shown.out
    assert "hint: mcp-sandbox clients wrap" in shown.err
    wrap("cursor", "time", "--yes")
    capsys.readouterr()
    assert main(["clients", "scan", "cursor", "time"]) == 1  # PROGRAM is not there
    assert "[missing-program]" in capsys.readouterr().out


def test_scan_knows_the_tools_of_earlier_sessions(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, tools in (("time-0123abcd", ["now"]), ("odd-89abcdef", ["now", "then"])):
        Store(name, name, os.environ).first("tool", {tool: Item("sha256:0") for tool in tools})
    assert main(["clients", "scan"]) == 1
    assert "its tool `now` is also one of `odd` [same-tool]" in capsys.readouterr().out


def test_scan_of_what_is_well(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "bin" / "mcp-sandbox"
    program.parent.mkdir()
    program.touch(0o755)
    assert main(["clients", "wrap", "cursor", "time", "--program", str(program), "--yes"]) == 0
    capsys.readouterr()
    assert main(["clients", "scan", "cursor", "time", "--json"]) == 0
    found = document(capsys)
    assert [one["rule"] for one in found["findings"]] == ["unpinned-contained"]
    server = found["servers"][0]
    assert server["contained"] is True
    assert 0 < server["exposure"] == server["exposure_contained"] < 3
    assert list(server["reach_contained"]) == ["variables"]


def test_a_malformed_file_is_no_end_of_the_others(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = home / ".gemini" / "settings.json"
    broken.parent.mkdir()
    broken.write_text('{"mcpServers": {')
    assert wrap("--yes") == 1
    assert "settings.json:1:" in capsys.readouterr().err
    assert broken.read_text() == '{"mcpServers": {'
    assert commands(home)["time"] == PROGRAM


def test_an_images_profile_comes_and_goes(home: Path) -> None:
    entry = {"command": "docker", "args": ["run", "-i", "--rm", "mcp/time"]}
    config = home / ".cursor" / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"t": entry}}))
    before = config.read_bytes()
    assert wrap("--yes") == 0
    profiles = home / ".config" / "mcp-sandbox" / "profiles"
    (profile,) = profiles.iterdir()
    server = json.loads(config.read_text())["mcpServers"]["t"]
    options = ours(server["command"], tuple(server["args"]))
    assert options == ("--name", "t", "--backend", "docker", "--profile", profile.stem)
    assert main(["check", profile.stem]) == 0
    assert main(["clients", "unwrap", "--yes"]) == 0
    assert config.read_bytes() == before
    assert not list(profiles.iterdir())


def test_a_profile_that_was_changed_stays(home: Path) -> None:
    entry = {"command": "docker", "args": ["run", "-i", "--rm", "mcp/time"]}
    (home / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": {"t": entry}}))
    assert wrap("--yes") == 0
    (profile,) = (home / ".config" / "mcp-sandbox" / "profiles").iterdir()
    profile.write_text(profile.read_text() + "# mine\n")
    assert main(["clients", "unwrap", "--yes"]) == 0
    assert profile.exists()


def test_list_counts_what_is_wrapped(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrap("--yes")
    capsys.readouterr()
    assert main(["clients", "list"]) == 0
    assert "3 of 3 servers contained" in capsys.readouterr().out


def test_a_profile_elsewhere_is_named_by_its_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "elsewhere"))
    entry = {"command": "docker", "args": ["run", "-i", "mcp/time"]}
    (home / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": {"t": entry}}))
    assert wrap("--yes") == 0
    args = json.loads((home / ".cursor" / "mcp.json").read_text())["mcpServers"]["t"]["args"]
    named = Path(args[args.index("--profile") + 1])
    assert named.parent == home / "elsewhere" / "mcp-sandbox" / "profiles"
    assert named.exists()


@pytest.mark.parametrize("action", ["wrap", "unwrap"])
def test_many_at_once(home: Path, action: str) -> None:
    """Each waits for the others, finds what they left, and has nothing to add."""
    config = home / ".cursor" / "mcp.json"
    before = config.read_bytes()
    if action == "unwrap":
        assert wrap("--yes") == 0
    script = "import sys; from sandbox.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["--program", PROGRAM] if action == "wrap" else []
    argv = [sys.executable, "-c", script, "clients", action, "--yes", *words]
    running = [subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(4)]
    ended = [(one.communicate(timeout=60)[1], one.returncode) for one in running]
    assert [status for _, status in ended] == [0] * 4, ended
    if action == "wrap":
        assert commands(home) == {"time": PROGRAM, "odd": PROGRAM, "far": PROGRAM}
        assert main(["clients", "unwrap", "--yes"]) == 0
    assert config.read_bytes() == before


def test_an_administrators_file_is_changed_on_request(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = row("cursor")
    assert cursor is not None
    managed = tmp_path / "managed.json"
    managed.write_text(json.dumps({"mcpServers": {"a": {"command": "x"}}}))
    found = [Found(cursor, str(managed), str(managed), "json", "system")]
    monkeypatch.setattr("sandbox.clients.find.find", lambda *_: found)
    assert wrap("--yes") == 0
    assert PROGRAM not in managed.read_text()
    assert wrap("--yes", "--scope", "system") == 0
    assert PROGRAM in managed.read_text()


def test_build_says_what_would_not_start(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    servers = {"cat": {"command": "/bin/cat"}, "none": {"command": "no-such-server"}}
    (home / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    assert wrap("--yes", "--build") == 1
    told = capfd.readouterr().err
    assert "none: it would not start here" in told
    assert "cat: it would not" not in told
    assert wrap("cursor", "cat", "--yes", "--build") == 0


@pytest.mark.parametrize(
    ("named", "running", "why"),
    [
        pytest.param("bin/mcp-sandbox", "", "neither the whole path", id="a relative path"),
        pytest.param("/opt/sandbox", "", "neither the whole path", id="another name"),
        pytest.param("", "HOME/.cache/uv/archive-v0/x/bin/mcp-sandbox", "lies in a cache", id="by uvx"),
        pytest.param("", "HOME/none/mcp-sandbox", "is not there", id="nothing there"),
    ],
)
def test_what_clients_start_has_to_stay(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], named: str, running: str,
    why: str,
) -> None:  # fmt: skip
    path = Path(running.replace("HOME", str(home)))
    if ".cache" in running:
        path.parent.mkdir(parents=True)
        path.touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(path)])
    words = ["--program", named] if named else []
    assert main(["clients", "wrap", "--yes", *words]) == USAGE
    assert why in capsys.readouterr().err
    assert commands(home)["time"] == "uvx"


def test_what_was_contained_before_stays_so(home: Path) -> None:
    """Somebody wrote the one entry by hand: it is theirs, and comes out where it is named."""
    by_hand = {"command": "mcp-sandbox", "args": ["run", "--profile", "time", "--", "uvx", "mcp-server-time"]}
    servers = {"hand": by_hand, "odd": {"command": "my-server"}, "more": {"command": "other"}}
    config = home / ".cursor" / "mcp.json"
    config.write_text(before := json.dumps({"mcpServers": servers}, indent=3))
    assert wrap("--yes") == 0
    assert commands(home) == {"hand": "mcp-sandbox", "odd": PROGRAM, "more": PROGRAM}
    assert main(["clients", "unwrap", "cursor", "more", "--yes"]) == 0
    assert main(["clients", "unwrap", "--yes"]) == 0
    assert config.read_text() == before
    assert wrap("--yes") == 0
    config.write_text(config.read_text() + "\n")
    assert main(["clients", "unwrap", "--yes"]) == 0
    assert config.read_text() == before + "\n"
    assert wrap("--yes") == 0
    assert main(["clients", "unwrap", "cursor", "hand", "--yes"]) == 0
    assert commands(home) == {"hand": "uvx", "odd": PROGRAM, "more": PROGRAM}
    assert main(["clients", "unwrap", "--yes"]) == 0
    assert commands(home) == {"hand": "uvx", "odd": "my-server", "more": "other"}


SHARED = """\
base: &b
  type: stdio
  cmd: npx
  args: [-y, foo]
extensions:
  one: *b
  two:
    type: stdio
    cmd: uvx  # by hand
    args:
      - mcp-server-time
  three:
    type: stdio
    cmd: &c uvx
    args: &d [mcp-server-git]
  four:
    type: stdio
    cmd: *c
    args: *d
"""


def test_an_entry_that_cannot_be_edited_is_no_end_of_the_others(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = home / ".config" / "goose" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(SHARED)
    assert wrap("goose", "--yes") == 0
    shown = capsys.readouterr().out
    assert "one: left as it is: " in shown
    assert f"cmd: {PROGRAM}  # by hand" in config.read_text()
    assert main(["clients", "unwrap", "goose", "--yes"]) == 0
    assert config.read_text() == SHARED


def test_scan_says_no_more_of_a_url_than_its_host(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "https://ann:pa55word@host.example:8443/mcp/s/hidden?api_key=hidden#hidden"
    (tmp_path / ".mcp.json").write_text(json.dumps({"mcpServers": {"far": {"url": url}}}))
    main(["clients", "scan", "--scope", "project"])
    out = capsys.readouterr().out
    assert "https://host.example:8443/…\n" in out
    assert "hidden" not in out
    assert "pa55word" not in out


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_scan_prints_its_own_words_alone(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    entry = {"command": "mcp-sandbox", "args": ["run", option]}
    (tmp_path / ".mcp.json").write_text(json.dumps({"mcpServers": {"help": entry}}))
    main(["clients", "scan", "--scope", "project", "--json"])
    assert json.loads(capsys.readouterr().out)["schema"] == 1
