"""Whatever a file looks like: wrapped, its servers are contained or named; unwrapped, it is what it was."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.clients.changing import Plan, carry_out, to_unwrap, to_wrap
from sandbox.clients.gather import Around, contained, opened
from sandbox.clients.table import row
from sandbox.clients.words import ConfigError, Found
from tests.clients.written import Written, in_json, in_toml, in_yaml

PROGRAM = "/opt/mcp-sandbox/bin/mcp-sandbox"
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ANY = st.one_of(in_json(), in_toml(), in_yaml())


class Place:
    """One file of a client, in a home of its own."""

    def __init__(self, root: Path, written: Written) -> None:
        client = row(written.row)
        assert client is not None
        self.around = Around(str(root), "linux", {"HOME": str(root)}, str(root))
        self.path = root / "config"
        self.path.write_text(written.text, newline="")
        self.found = Found(client, str(self.path), str(self.path), written.format, "user")

    def change(self, plan: Plan) -> Plan:
        if plan.changes:
            carry_out(plan, self.around)
        return plan

    def wrap(self) -> Plan:
        return self.change(to_wrap(opened(self.found), self.around, PROGRAM, lambda _: True))

    def unwrap(self) -> Plan:
        return self.change(to_unwrap(opened(self.found), self.around, lambda _: True))

    def commands(self) -> list[tuple[str, str, tuple[str, ...], tuple[tuple[str, str], ...]]]:
        return [
            (one.name, one.command, one.args, tuple(sorted(one.env))) for one in opened(self.found).entries
        ]


def memory() -> str | None:
    """Where `fsync` costs nothing."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@FEW
@given(ANY)
def test_wrap_and_unwrap(written: Written) -> None:
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        place = Place(Path(folder), written)
        before = place.path.read_bytes()
        try:
            plan = place.wrap()
        except ConfigError:
            assert place.path.read_bytes() == before
            return
        left = {entry.path for entry, _ in plan.left}
        for entry in opened(place.found).entries:
            assert contained(entry, place.found, place.around) is (entry.path not in left)
        assert not place.wrap().changes
        place.unwrap()
        assert place.path.read_bytes() == before


@FEW
@given(ANY)
def test_unwrap_of_a_file_that_has_changed(written: Written) -> None:
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        place = Place(Path(folder), written)
        try:
            before = place.commands()
            place.wrap()
            with place.path.open("ab") as file:
                file.write(b"\n")
            commands = place.commands()
        except ConfigError:
            return
        place.unwrap()
        assert place.commands() == before or commands == before
