"""`profile`, `check` and `trust` as a person or a program meets them."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from sandbox.cli.main import main

Out = pytest.CaptureFixture[str]
PROFILES = Path(__file__).parents[2] / "profiles"


@pytest.fixture
def project(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = own_home / "project"
    (made / ".git").mkdir(parents=True)
    (made / ".mcp-sandbox").mkdir()
    monkeypatch.chdir(made)
    # A cache of its own: what these commands show must not come from another test.
    monkeypatch.setenv("XDG_CACHE_HOME", str(own_home / ".cache"))
    return made


def _ours(project: Path, text: str, name: str = "ours") -> Path:
    path = project / ".mcp-sandbox" / f"{name}.toml"
    path.write_text(f"schema = 1\n{text}\n")
    return path


def test_list_shows_name_place_and_purpose(project: Path, capsys: Out) -> None:
    _ours(project, "description = 'what the project needs'")
    _ours(project, "nonsense = 1", "broken")
    assert main(["profile", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert next(iter(document)) == "schema"
    rows = {row["name"]: row for row in document["profiles"]}
    assert rows["ours"]["from"] == "project"
    assert rows["ours"]["description"] == "what the project needs"
    assert rows["git"]["from"] == "shipped"
    assert "mcp-sandbox check broken" in rows["broken"]["fault"]
    assert main(["profile", "list"]) == 0
    assert "filesystem" in capsys.readouterr().out


def test_show_gives_every_key_with_its_origin(project: Path, capsys: Out) -> None:
    path = _ours(project, "extends = 'python'\n[quota]\nmemory = '64M'")
    assert main(["profile", "show", "ours", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    keys = {row["key"]: row for row in document["keys"]}
    assert keys["quota.memory"] == {"key": "quota.memory", "value": 64 << 20, "file": str(path), "line": 4}
    assert keys["env.pass.TZ"]["file"].endswith("/python.toml")
    assert keys["quota.wall"]["file"] == "default"
    assert main(["profile", "show", "ours"]) == 0
    assert "64M" in capsys.readouterr().out


def test_show_gives_every_key_of_an_argument_rule(project: Path, capsys: Out) -> None:
    rule = (
        "pattern = 'a', enum = ['a'], within = ['/tmp'], hosts = ['a.example'], min = 0, max = 2, "
        "min_length = 0, max_length = 3, optional = true"
    )
    _ours(project, f"[tools.arguments.t]\na = {{ {rule} }}")
    assert main(["profile", "show", "ours", "--json"]) == 0
    keys = {row["key"]: row for row in json.loads(capsys.readouterr().out)["keys"]}
    shown = {key.rpartition(".")[2]: row["value"] for key, row in keys.items() if ".arguments." in key}
    assert shown == {
        "pattern": "a", "enum": ["a"], "within": ["/tmp"], "hosts": ["a.example"], "min": 0, "max": 2,
        "min_length": 0, "max_length": 3, "optional": True,
    }  # fmt: skip
    assert keys["tools.arguments.t.a.optional"]["line"] == 3


def test_show_covers_every_field_of_the_policy() -> None:
    from dataclasses import fields

    from sandbox.cli.profile import rows
    from sandbox.policy.model import Policy

    policy = Policy(name="x")
    shown = {key for key, _, _ in rows(policy)}
    shown |= {key.rpartition(".")[0] for key in shown}
    tables = {
        name: getattr(policy, name)
        for name in "server files network quota traffic tools inspect client breach".split()
    }
    for table, value in tables.items():
        for field in fields(value):
            # The first are shown key by key; the last is an option's, and in no profile.
            others = ("arguments", "budgets", "cost", "headers", "only")
            assert f"{table}.{field.name}" in shown or field.name in others


def test_show_spells_hosts_budgets_and_behaviour_as_the_file_does(project: Path, capsys: Out) -> None:
    _ours(
        project,
        "[network]\nallow = ['A.example', 'git.corp.example']\nopaque = ['a.example']\n"
        "private = ['*.corp.example']\nupload = '10M'\n"
        "[network.budget.'A.example']\ndownload = '1M'\n[network.behaviour]\nidle = 'breach'",
    )
    assert main(["profile", "show", "ours"]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("network.")]
    written = [row for row in shown if row[2] != "default"]
    assert written == [
        ["network.allow", "a.example:443", "ours.toml:3"],
        ["network.allow", "git.corp.example:443", "ours.toml:3"],
        ["network.opaque", "a.example:443", "ours.toml:4"],
        ["network.private", "*.corp.example:443", "ours.toml:5"],
        ["network.upload", "10M", "ours.toml:6"],
        ['network.budget."a.example:443".download', "1M", "ours.toml:8"],
        ["network.behaviour.idle", "breach", "ours.toml:10"],
    ]
    assert ["network.behaviour.denied_streak", "20", "default"] in shown


def test_the_schema_accepts_every_shipped_profile_and_no_misspelling(capsys: Out) -> None:
    import tomllib

    assert main(["profile", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "null" not in json.dumps(schema)
    for path in PROFILES.glob("*.toml"):
        jsonschema.validate(tomllib.loads(path.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 1, "qouta": {}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 1, "quota": {"memory": "much"}}, schema)


def test_check_passes_every_shipped_profile(project: Path, capsys: Out) -> None:
    (project / "out").mkdir()  # the folder that `workspace` writes
    assert main(["check", *sorted(path.stem for path in PROFILES.glob("*.toml"))]) == 0
    assert capsys.readouterr().out.count(": ok\n") == len(list(PROFILES.glob("*.toml")))


FINDINGS = [
    pytest.param("[quota]\nmemory = 0", "invalid-profile", id="impossible quota"),
    pytest.param("[files]\nraed = ['.']", "invalid-profile", id="unknown key"),
    pytest.param("[files]\nread = ['.'", "invalid-profile", id="not TOML"),
    pytest.param(
        "[server]\ntransport = 'http'\nport = 53\npath = '/mcp'",
        "cannot-enforce",
        id="a port of our own",
    ),
    pytest.param(
        "[network]\nallow = ['a.example']\n[syscalls]\ntier = 'strict'",
        "cannot-enforce",
        id="no socket for it",
    ),
    pytest.param("[network]\nopaque = ['*.a.example']", "invalid-profile", id="opaque wildcard"),
    pytest.param(
        "[network.budget.'a.example']\nupload = 1", "invalid-profile", id="a budget of a host not allowed"
    ),
    pytest.param("extends = 'gone'", "profile-not-found", id="missing parent"),
    pytest.param("[files]\nread = ['./gone']", "mount-missing", id="a mount that does not exist"),
    pytest.param("[files]\nread = ['$NOT_SET_ANYWHERE']", "path-malformed", id="undefined variable"),
    pytest.param("[files]\nread = ['~']", "secret-place", id="home itself"),
    pytest.param("[files]\nread = ['/']", "secret-place", id="everything"),
    pytest.param("[files]\nwrite = ['/proc']", "secret-place", id="the host's processes"),
    pytest.param("[files]\nread = ['~/link']", "secret-place", id="a link to a secret"),
    pytest.param("[files]\nexpose = ['~/.ssh']", "waiver-idle", id="a waiver of nothing"),
]


@pytest.mark.parametrize(("text", "code"), FINDINGS)
@pytest.mark.threat("K7", proves="an unsound profile is a finding and exit 1")
def test_check_finds(project: Path, own_home: Path, capsys: Out, text: str, code: str) -> None:
    (own_home / ".ssh").mkdir()
    (own_home / "link").symlink_to(".ssh")
    _ours(project, text)
    assert main(["check", "ours", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["profiles"][0]["findings"]
    assert [one["code"] for one in found] == [code]
    assert main(["check", "base", "ours"]) == 1
    assert code in capsys.readouterr().out


def test_check_accepts_a_waiver_by_name(project: Path, own_home: Path) -> None:
    (own_home / ".ssh").mkdir()
    _ours(project, "[files]\nread = ['~/.ssh']\nexpose = ['~/.ssh']")
    assert main(["check", "ours"]) == 0


WAIVERS = [
    pytest.param("~/.ssh/sub", ".ssh/sub", id="what lies in a secret place, not the whole place"),
    pytest.param("~/.ssh", ".ssh", id="the place itself"),
    pytest.param("/", None, id="nothing short of everything"),
    pytest.param("/var", None, id="one of several places would not do"),
]


@pytest.mark.parametrize(("mount", "waived"), WAIVERS)
def test_the_hint_of_check_grants_no_more_than_was_refused(
    project: Path, own_home: Path, capsys: Out, mount: str, waived: str | None
) -> None:
    (own_home / ".ssh" / "sub").mkdir(parents=True)
    _ours(project, f"[files]\nread = ['{mount}']")
    assert main(["check", "ours"]) == 1
    hint = capsys.readouterr().out.partition("hint: ")[2]
    assert hint.partition("expose = ")[2].strip() == (f'["{own_home / waived}"]`' if waived else "")


def test_check_of_no_profile_is_a_usage_error(project: Path, capsys: Out) -> None:
    assert main(["check", "nod"]) == 2
    assert "did you mean `node`?" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["profile", "check", "trust"])
def test_help_fits_a_screen_and_shows_an_example(command: str, capsys: Out) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 24
    assert f"  mcp-sandbox {command}" in text


# --- trust ---------------------------------------------------------------------------------------

CLI = [sys.executable, "-c", "import sys; from sandbox.cli.main import main; sys.exit(main())"]


def test_trust_refuses_a_pipe_whatever_it_says(project: Path) -> None:
    _ours(project, "")
    done = subprocess.run([*CLI, "trust"], input="yes\n", text=True, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert "no-terminal" in done.stderr
    assert not (Path(os.environ["HOME"]) / ".config").exists()


def _at_terminal(answer: str) -> tuple[int, str]:
    """Runs `trust` at a pseudo terminal, answers its question, and returns status and screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(CLI[0], [*CLI, "trust"])  # noqa: S606 - a fixed program
    screen, until = b"", time.monotonic() + 30
    try:
        while time.monotonic() < until:
            if not select.select([terminal], [], [], until - time.monotonic())[0]:
                break
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # EIO: the other side has closed
                break
            if not piece:
                break
            screen += piece
            if answer and screen.endswith(b"type `yes`: "):
                os.write(terminal, f"{answer}\n".encode())
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    return os.waitstatus_to_exitcode(status), screen.decode()


def test_trust_shows_the_profile_and_takes_yes_for_an_answer(project: Path, capsys: Out) -> None:
    _ours(project, "[files]\nwrite = ['.']")
    assert main(["check", "ours"]) == 0
    status, screen = _at_terminal("yes")
    assert status == 0, screen
    assert "write = ['.']" in screen
    capsys.readouterr()
    assert main(["trust", "--list"]) == 0
    assert "ours.toml" in capsys.readouterr().out
    assert main(["trust"]) == 0


@pytest.mark.parametrize("answer", ["no", "y", "YES please"])
def test_trust_takes_nothing_else_for_yes(project: Path, answer: str) -> None:
    _ours(project, "")
    status, _ = _at_terminal(answer)
    assert status == 1
    assert not (Path(os.environ["HOME"]) / ".config/mcp-sandbox/trust.json").exists()


def test_trust_shows_a_hostile_file_without_obeying_it(project: Path) -> None:
    _ours(project, "# \x1b[2J\x1b[1;1Hharmless \u202e")
    _, screen = _at_terminal("no")
    assert "\x1b[2J" not in screen
    assert "\\x1b[2J" in screen
    assert "\\u202e" in screen


def test_trust_has_nothing_to_do_where_a_project_brings_nothing(project: Path, capsys: Out) -> None:
    assert main(["trust"]) == 2
    assert "nothing-to-trust" in capsys.readouterr().err
    (project / "web.toml").write_text("schema = 1")
    assert main(["trust", "web.toml"]) == 2
    assert "needs trust" in capsys.readouterr().err
