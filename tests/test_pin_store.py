"""Pins on disk: private, whole or not at all, shared by sessions that run at once, never believed blindly."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from sandbox import pins
from sandbox.audit.redact import Redactor
from sandbox.errors import SandboxNotBuilt
from sandbox.event import Event
from sandbox.inspect.judged import Asked
from sandbox.inspect.pinned import Item, Pinned
from sandbox.inspect.pins import Pins
from sandbox.pin_telling import Elsewhere, Telling, alike, likenesses
from sandbox.policy.load import load
from sandbox.policy.model import Policy
from sandbox.prepared import Wish
from sandbox.supply.request import parse
from tests.inspect.pinning import frame

ONE, TWO = Item("1" * 64, '{"name":"one"}'), Item("2" * 64, '{"name":"two"}')


def opened(name: str = "srv") -> pins.Store:
    made = pins.Store(name, "srv", os.environ)
    made.open()
    return made


def path(name: str = "srv") -> Path:
    return Path(pins.path_of(name, os.environ))


def test_a_file_of_the_users_own() -> None:
    opened().first("tool", {"one": ONE})
    assert stat.S_IMODE(path().stat().st_mode) == 0o600
    assert stat.S_IMODE(path().parent.stat().st_mode) == 0o700
    assert opened().read().holds("tool") == {"one": ONE}
    assert [*path().parent.iterdir()] == [path().parent / "lock", path()] or len(
        os.listdir(path().parent)
    ) == 2


def test_the_first_session_decides() -> None:
    one, other = opened(), opened()
    one.first("tool", {"one": ONE})
    assert other.first("tool", {"one": TWO, "two": TWO}).holds("tool") == {"one": ONE, "two": TWO}


def test_what_another_process_does_is_seen() -> None:
    session, person = opened(), opened()
    session.first("tool", {"one": ONE})
    session.hold("tool", {"one": TWO})
    person.read()
    person.approve({"tool": {"one": TWO.digest}})
    assert session.read().holds("tool") == {"one": TWO}
    assert not session.read().waits("tool")
    assert session.decisions() == [("approve", "tool", "one")]
    person.forget()
    assert session.read() == Pinned("srv", decided=[("forget", "", "")])


def test_what_was_shown_is_what_is_approved() -> None:
    store = opened()
    store.hold("tool", {"one": ONE})
    store.hold("tool", {"one": TWO})
    with pytest.raises(pins.FileChanged):
        store.approve({"tool": {"one": ONE.digest}})
    with pytest.raises(pins.FileChanged):
        store.approve({"prompt": {"one": ONE.digest}})
    assert not opened().read().holds("tool")


def test_many_at_once_lose_nothing() -> None:
    def pin(at: int) -> None:
        store = opened()
        for each in range(10):
            store.first("tool", {f"{at}-{each}": ONE})

    threads = [threading.Thread(target=pin, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(opened().read().holds("tool")) == 40


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        pytest.param(b"", 0o600, "cannot be used", id="empty"),
        pytest.param(b"{}", 0o600, "cannot be used", id="no pins"),
        pytest.param(b'{"server":"s","approved":{"tool":{"a":5}}}', 0o600, "cannot be used", id="no item"),
        pytest.param(b'{"server":"s","schema":2}', 0o600, "another version", id="another schema"),
        pytest.param(b'{"server":"s","begun":["x"]}', 0o600, "another version", id="another kind"),
        pytest.param(b'{"server":"s"}', 0o622, "others can write it", id="others may write"),
    ],
)
def test_a_file_that_cannot_be_trusted_stops_the_start(content: bytes, mode: int, why: str) -> None:
    path().parent.mkdir(parents=True, mode=0o700)
    path().write_bytes(content)
    path().chmod(mode)
    with pytest.raises(SandboxNotBuilt, match=why):
        opened()


def test_a_link_is_no_file_of_pins(tmp_path: Path) -> None:
    path().parent.mkdir(parents=True, mode=0o700)
    (tmp_path / "elsewhere").write_bytes(b'{"server":"s"}')
    path().symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SandboxNotBuilt):
        opened()


def test_a_file_that_is_spoilt_meanwhile_changes_nothing() -> None:
    store = opened()
    store.first("tool", {"one": ONE})
    path().write_bytes(b"spoilt")
    assert store.read().holds("tool") == {"one": ONE}
    with pytest.raises(OSError, match="malformed"):
        store.first("tool", {"two": TWO})
    assert store.hold("tool", {"two": TWO}).holds("tool") == {"one": ONE}


def test_where_nothing_can_be_written_nothing_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened()

    def full(_path: str, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pins, "replace_private", full)
    with pytest.raises(OSError, match="No space"):
        store.first("tool", {"one": ONE})
    store.hold("tool", {"one": ONE})
    store.withdraw("tool", ["one"])
    monkeypatch.undo()
    assert not store.read().holds("tool")


def test_sections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.inspect.pinned.MOST_ITEMS", 3)
    monkeypatch.setattr("sandbox.inspect.pinned.MOST_WAITING", 2)
    monkeypatch.setattr("sandbox.inspect.pinned.MOST_TEXT", 30)
    pinned = Pinned("srv")
    pinned.first("tool", {str(at): ONE for at in range(10)})
    assert [item.text for item in pinned.holds("tool").values()] == [ONE.text, ONE.text, ""]
    pinned.hold("tool", {str(at): ONE for at in range(10)})
    assert len(pinned.waits("tool")) == 2


def test_no_secret_is_kept() -> None:
    value = "s3cr3t-value-0123456789"
    store = pins.Store("srv", "srv", os.environ, Redactor([value]).uncut)
    shown = store.conceal({f"a {value}": [value, {"b": f"x {value} y"}], "c": 5})
    assert value not in repr(shown)
    assert shown["c"] == 5
    assert "many to be searched" in store.conceal("x" * 70_000)


def test_no_secret_is_in_a_name() -> None:
    value = "s3cr3t-value-0123456789"
    uri = f"postgres://u:{value}@host/db"
    store = pins.Store("srv", "srv", os.environ, Redactor([value]).uncut)
    events: list[Event] = []
    use = frame({"id": 2, "method": "resources/read", "params": {"uri": uri}})
    for text, allowed in (("one", True), ("other", False)):
        inspector = Pins("srv", store, Telling("srv", "srv", os.environ, events.append, print), locked=False)
        answer = frame({"id": 1, "result": {"resources": [{"uri": uri, "name": value, "description": text}]}})
        judged = inspector.to_client(answer, Asked("resources/list", params={}))
        assert (judged is None) is allowed
        assert (inspector.to_server(use) is None) is allowed
        assert value not in repr(judged.findings if judged else ())
    assert store.read().waits("resource").keys() == store.read().holds("resource").keys()
    assert value not in path().read_text() + repr(events)
    assert store.known_as(f"a {value}") != store.known_as(f"b {value}")


# --- names -------------------------------------------------------------------------------------------


class Planned:
    """What of a prepared session names its pins."""

    def __init__(
        self, command: str, profile: str | None = None, name: str | None = None, cwd: str = "/"
    ) -> None:
        words = tuple(command.split())
        self.wish = Wish(words, os.environ, cwd, profile, name=name)
        self.policy: Policy = load(profile, environ=os.environ, cwd="/")
        self.request = parse(words or self.policy.server.command)
        self.spec = type("Spec", (), {"server": name or "server"})


def named(*words: Any, **more: Any) -> str:
    return pins.name_of(Planned(*words, **more), os.environ)  # type: ignore[arg-type]


def test_a_profile_names_its_server() -> None:
    assert named("", "git") == "git"
    assert named("/bin/cat", "git").startswith("server-")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param("npx -y a@1.0 /x", "npx -y a@2.0 /x", True, id="an update"),
        pytest.param("npx -y @s/a@1.0", "npx -y @s/a", True, id="a scope"),
        pytest.param("uvx a==1.0", "uvx a==2.0", True, id="an update from PyPI"),
        pytest.param("npx -y a@1.0 /x", "npx -y a@1.0 /y", False, id="other arguments"),
        pytest.param("npx -y a@1.0", "npx -y b@1.0", False, id="another package"),
        pytest.param("/bin/cat a@1", "/bin/cat a@2", False, id="no package"),
    ],
)
def test_a_command_names_its_server(one: str, other: str, *, same: bool) -> None:
    assert (named(one) == named(other)) is same


@pytest.mark.parametrize(
    ("command", "same"),
    [
        pytest.param("python3 server.py", False, id="a file of the directory"),
        pytest.param("node dist/index.js", False, id="a file below it"),
        pytest.param("./server.py", False, id="a program of the directory"),
        pytest.param("uv run serve", False, id="a program that runs what the directory holds"),
        pytest.param("npx -y dist@1.0", True, id="a package"),
        pytest.param("uvx serve", True, id="a package from PyPI"),
        pytest.param("/bin/cat", True, id="a program of the system"),
    ],
)
def test_what_a_command_names_is_where_it_was_started(tmp_path: Path, command: str, *, same: bool) -> None:
    places = [tmp_path / "a", tmp_path / "b"]
    for place in places:
        (place / "dist").mkdir(parents=True)
        (place / "server.py").touch()
        (place / "dist" / "index.js").touch()
    one, other = (named(command, cwd=str(place)) for place in places)
    assert (one == other) is same


def test_a_profile_from_elsewhere_is_another(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "git.toml").write_text('schema = 1\n[server]\ncommand = ["/bin/cat"]\n')
    found = {named("", str(tmp_path / place / "git.toml")) for place in ("a", "b")} | {named("", "git")}
    assert len(found) == 3


@pytest.mark.parametrize("name", ["../../x", ".x", "a/b", "x" * 500, "", "-rf", "a\nb"])
def test_a_name_is_a_safe_file_name(name: str) -> None:
    made = named("/bin/cat", name=name)
    assert "/" not in made
    assert made[0] not in ".-"
    assert len(made) < 100
    assert made.isprintable()


# --- other servers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "does"),
    [
        pytest.param("github", "github", True, id="the same"),
        pytest.param("github", "GitHub", True, id="case"),
        pytest.param("github", "g1thub", True, id="a digit"),
        pytest.param("github", "git-hub", True, id="a separator"),
        pytest.param("github", "githud", True, id="a letter"),
        pytest.param("github", "gihtub", True, id="two swapped"),
        pytest.param("modern", "modem", True, id="rn"),
        pytest.param("github", "\uff47ithub", True, id="another width"),
        pytest.param("github", "gitlab", False, id="another name"),
        pytest.param("git", "get", False, id="short ones"),
        pytest.param("files-1", "files-2", False, id="numbered"),
    ],
)
def test_names_that_look_alike(one: str, other: str, *, does: bool) -> None:
    assert alike(one, other) is does
    assert alike(other, one) is does


def test_other_servers_that_are_like_this_one() -> None:
    pins.Store("github", "github", os.environ).first("tool", {"push": ONE, "pull": ONE})
    pins.Store("notes", "notes", os.environ).first("tool", {"pull": ONE})
    pins.Store("githud", "githud", os.environ).first("tool", {"else": ONE})
    found = [
        (one.other, one.alike, one.tools) for one in likenesses("githud", "githud", ["pull"], os.environ)
    ]
    assert found == [("github", True, ()), ("github", False, ("pull",)), ("notes", False, ("pull",))]


def test_tools_that_only_other_servers_have() -> None:
    pins.Store("github", "github", os.environ).first("tool", {"push": ONE, "pull": ONE})
    store = opened()
    store.first("tool", {"pull": ONE})
    assert Elsewhere(store, os.environ)() == {"push": "github"}


def test_what_is_told_of_the_first_use() -> None:
    pins.Store("github", "github", os.environ).first("tool", {"push": ONE})
    events: list[Event] = []
    notes: list[str] = []
    telling = Telling("githud", "githud", os.environ, events.append, notes.append)
    telling.pinned("tool", ["push", "x\u202e"])
    assert [event.rule for event in events] == ["tools.pin", "pins.alike", "pins.shared"]
    assert "RIGHT-TO-LEFT" in repr(events[0].detail)
    assert len(notes) == 2


def test_what_a_person_decided_is_logged_once() -> None:
    person = opened()
    person.hold("tool", {"one": ONE, "two": TWO})
    person.approve({"tool": {"one": ONE.digest, "two": TWO.digest}}, ["resource"])
    events: list[Event] = []
    for _session in range(2):
        Telling("srv", "srv", os.environ, events.append, print).decided(opened().decisions())
    assert [(event.kind, event.detail["decision"], event.detail["count"]) for event in events] == [
        ("pin.approved", "approve", 2),
        ("pin.approved", "grow", 1),
    ]


def test_few_lines_are_said() -> None:
    notes: list[str] = []
    telling = Telling("srv", "srv", os.environ, lambda _: None, notes.append)
    for at in range(50):
        telling.withheld("tool", f"t{at}", "is new")
    assert len(notes) == 5
    assert "mcp-sandbox approve srv" in notes[0]
