"""Every file of the corpus, wrapped and unwrapped by the commands' own code: the same bytes again."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sandbox.clients.changing import Plan, carry_out, to_unwrap, to_wrap
from sandbox.clients.find import find
from sandbox.clients.gather import Around, opened
from sandbox.clients.keep import NotChanged
from sandbox.clients.record import recall
from sandbox.clients.words import ConfigError, Entry, Found
from sandbox.clients.wrapping import is_wrapped
from tests.clients.configs import CONFIGS, Config

PROGRAM = "/opt/mcp-sandbox/bin/mcp-sandbox"
GOOD = [one for one in CONFIGS if not one.error]
BAD = [one for one in CONFIGS if one.error]


class Machine:
    """A user's home and a project, with one file of the corpus where its client looks for it."""

    def __init__(self, root: Path, config: Config) -> None:
        self.home, self.project, self.config = root / "home", root / "project", config
        environ = {
            "HOME": str(self.home),
            "APPDATA": str(self.home / "AppData" / "Roaming"),
            "LOCALAPPDATA": str(self.home / "AppData" / "Local"),
        }
        self.around = Around(str(self.home), config.platform, environ, str(self.project))
        self.path = self._placed(root)

    def _placed(self, root: Path) -> Path:
        place = self.config.place
        for name in ("appdata", "localappdata"):
            place = place.replace(f"{{{name}}}", self.around.environ[name.upper()])
        for folder in (self.home, self.project):
            folder.mkdir(parents=True)
        path = self.home / place[2:] if place.startswith("~/") else self.project / place
        path.parent.mkdir(parents=True, exist_ok=True)
        file = root / "elsewhere" / path.name if self.config.linked else path
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_bytes(self.config.content)
        file.chmod(self.config.mode)
        if self.config.linked:
            path.symlink_to(file)
        return path

    def found(self) -> Found:
        here = self.around
        every = find(here.home, here.platform, here.environ, here.cwd)
        return next(one for one in every if one.row.id == self.config.row and one.path == str(self.path))

    def wrap(self) -> Plan:
        plan = to_wrap(opened(self.found()), self.around, PROGRAM, lambda _: True)
        if plan.changes:
            carry_out(plan, self.around)
        return plan

    def unwrap(self, name: str | None = None) -> Plan:
        plan = to_unwrap(opened(self.found()), self.around, lambda entry: name in (None, entry.name))
        if plan.changes:
            carry_out(plan, self.around)
        return plan

    def entries(self) -> tuple[Entry, ...]:
        return opened(self.found()).entries


@pytest.fixture
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Machine:
    return Machine(tmp_path, request.param)


def each(configs: list[Config]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("machine", configs, ids=[one.id for one in configs], indirect=True)


@each(GOOD)
def test_wrap_and_unwrap_give_the_same_bytes(machine: Machine) -> None:
    before = machine.config.content
    plan = machine.wrap()
    wanted = {entry.name for entry in plan.config.entries} - {entry.name for entry, _ in plan.left}
    assert {entry.name for entry in machine.entries() if is_wrapped(entry)} == wanted
    assert (machine.path.read_bytes() == before) is (not plan.changes)
    assert not machine.wrap().changes, "wrapping what is wrapped"
    assert stat.S_IMODE(machine.path.stat().st_mode) == machine.config.mode
    assert machine.path.is_symlink() is machine.config.linked
    machine.unwrap()
    assert machine.path.read_bytes() == before
    assert recall(os.path.realpath(machine.path), machine.around.environ) is None
    assert sorted(path.name for path in machine.path.parent.iterdir() if path.is_file()) == [
        machine.path.name
    ]


@each(GOOD)
def test_what_was_written_since_stays(machine: Machine) -> None:
    """The file is not what we left: only ours is taken back, and all else is as it was.

    Of a URL's entry the members that were taken out come back in the plain form.
    """
    before = machine.config.content
    plan = machine.wrap()
    if not plan.changes:
        return
    machine.path.chmod(0o600)
    with machine.path.open("ab") as file:
        file.write(b"\n")
    machine.unwrap()
    if any(change.entry.url for change in plan.changes):
        assert opened(machine.found()).document.data() == plan.config.document.data()
    else:
        assert machine.path.read_bytes() == before + b"\n"


@each(GOOD)
def test_without_our_record(machine: Machine) -> None:
    """The state directory is lost: what each entry started stands in the entry itself."""
    commands = [(one.name, one.command, one.args) for one in machine.entries()]
    plan = machine.wrap()
    os.rename(machine.home / ".local", machine.home / "lost") if plan.changes else None
    left = {entry.name for entry, _ in machine.unwrap().left}
    now = [(one.name, one.command, one.args) for one in machine.entries()]
    assert [one for one in now if one[0] not in left] == [one for one in commands if one[0] not in left]


@each([one for one in GOOD if len(one.servers) > 1])
def test_one_server_at_a_time(machine: Machine) -> None:
    plan = machine.wrap()
    if not plan.changes:
        return
    for change in plan.changes:
        machine.unwrap(change.entry.name)
    assert machine.path.read_bytes() == machine.config.content


@each(BAD)
def test_what_cannot_be_read_is_left_alone(machine: Machine) -> None:
    with pytest.raises((ConfigError, NotChanged)):
        machine.wrap()
    assert machine.path.read_bytes() == machine.config.content
