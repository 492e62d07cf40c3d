"""The attack program of this directory, on both sides of the wall, and the questions that a proof asks.

Inside first, then a look at the world: nothing of the attack's word may be anywhere, no packet may have
left that an allowed host does not explain, and the log must hold the attempt. Then the control: the same
attack by the same caller from the same test host, without a sandbox, must be heard.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.inside import PATIENT, PYTHON, Answer, Attacker, World
from tests.egress.internet import LOGS, Flow, Internet, Packet

PROGRAM = Path(__file__).with_name("program")
PATIENCE_S = 10.0
HEAD = 'schema = 1\nextends = "base"\ndescription = "attacked"\n'
V4, V6 = "93.184.216.34", "2606:2800:220:1::1"
# What allowed names lead to; a test says which of it a proof may leave in the world.
_SENT = re.compile(rb'"(?:data|payload)": "([0-9a-f]*)"')
LOOKUPS = Flow("udp", "10.77.0.2", 53)


def new_word() -> str:
    """A word that is nowhere else, and may be the label of a name."""
    return f"w{secrets.token_hex(8)}"


def placed(world: World) -> Path:
    """The attack program where this caller can read it."""
    target = world.base / "network"
    if not target.exists():
        shutil.copytree(PROGRAM, target, ignore=shutil.ignore_patterns("__pycache__"))
        target.chmod(0o755)
        world.own(target)
    return target


class Sandboxed:
    """The attack program in a sandbox with its own profile and log, in the test host."""

    def __init__(
        self, internet: Internet, world: World, profile: str, *options: str, behind: Sequence[str] = ()
    ) -> None:
        """`behind`: what stands before the command, in the test host."""
        program = placed(world)
        name = secrets.token_hex(6)
        self.profile = world.file(f"attack-{name}.toml", world.scratch, HEAD + profile + PATIENT)
        self.log = world.scratch / f"{name}.jsonl"
        grants = ["--profile", str(self.profile), "--audit", str(self.log), "--allow-read", str(program)]
        command = world.command(*grants, *options, server=(PYTHON, str(program / "server.py")))
        self.attacker = Attacker([*internet.prefix(), *behind, *command], world.environ)
        self.call, self.ask, self.message = self.attacker.call, self.attacker.ask, self.attacker.message

    def rows(self, kind: str = "", start: int = 0) -> list[Answer]:
        """The log's events from byte `start` on, of one kind where one is given."""
        with self.log.open("rb") as file:
            file.seek(start)
            lines = file.read().split(b"\n")[:-1]
        events = [json.loads(line) for line in lines]
        return [one for one in events if not kind or one["kind"] == kind]

    def position(self) -> int:
        """Where the log ends now."""
        return self.log.stat().st_size

    def finished(self, seconds: float = 15.0) -> tuple[int, str]:
        """Waits for an end that is not of our doing; the exit status and what was said on stderr."""
        process = self.attacker.process
        process.wait(seconds)
        return self.attacker.finish()

    def close(self) -> None:
        """Ends it."""
        self.attacker.close()


def outside(internet: Internet, world: World, *, behind: Sequence[str] = ()) -> Attacker:
    """The same program under the same caller, in the same test host, without a sandbox."""
    plain = ["env", "-u", "CANARY_TOKEN", "-u", "AWS_SECRET_ACCESS_KEY"]
    server = [PYTHON, str(placed(world) / "server.py")]
    return Attacker([*internet.prefix(), *behind, *world.prefix(), *plain, *server], world.environ)


class Sides:
    """One world with the attack program on both sides of the wall; the sandbox outlives many attacks."""

    def __init__(self, internet: Internet, world: World, profile: str) -> None:
        self.internet = internet
        self.world = world
        self.outside = outside(internet, world)
        self.inside = Sandboxed(internet, world, profile)
        self._at = 0
        try:
            for one in (self.outside, self.inside):
                one.call("own.heard")
        except BaseException:
            self.close()
            raise

    def attack(self, name: str, /, **asked: Any) -> Answer:
        """Makes the attack inside; whatever it gave, for `failed`, `silent` and `denied` to judge."""
        self._at = self.inside.position()
        return self.inside.call(name, **asked)

    def refused(self, name: str, /, **asked: Any) -> None:
        """The attack inside fails, as far as it can tell."""
        result = self.attack(name, **asked)
        assert "failed" in result, f"{name}{asked} inside: {result}"

    def silent(self, word: str, *expected: Flow) -> None:
        """Nothing of `word` is anywhere, and of packets there are none but `expected`."""
        left = self.internet.outside_packets(*expected)
        assert {(one["proto"], one.get("dst"), one.get("dport")) for one in left} == set()
        assert not heard(self.internet, word)

    def denied(self, kind: str, reason: str = "", start: int | None = None, **wanted: Any) -> Answer:
        """The attempt in the log: a row since `attack`, or byte `start`, whose detail has these values."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            rows = self.inside.rows(kind, self._at if start is None else start)
            found = [one for one in rows if _fits(one["detail"], reason, wanted)]
            if found:
                return found[0]
            assert time.monotonic() < deadline, f"no {kind} with {reason!r} {wanted} among {rows}"
            time.sleep(0.01)

    def control(self, word: str, name: str, /, **asked: Any) -> None:
        """The attack outside; its word must be heard."""
        result = self.outside.call(name, **asked)
        where = heard(self.internet, word)
        assert where, f"the control of {name}{asked} was heard nowhere, so this proves nothing: {result}"

    def alive(self) -> bool:
        """Whether both can be asked again."""
        return all(one.process.poll() is None for one in (self.outside, self.inside.attacker))

    def close(self) -> None:
        self.inside.close()
        self.outside.close()


def _fits(detail: Answer, reason: str, wanted: dict[str, Any]) -> bool:
    return reason in str(detail.get("reason", "")) and all(
        detail.get(name) == value for name, value in wanted.items()
    )


def heard(internet: Internet, word: str) -> list[str]:
    """Every log of the world that has `word` in it, in whatever case, as text or as bytes that were sent."""
    start, end = internet.since.offsets, internet.mark().offsets
    sought, found = word.lower().encode(), []
    for name in LOGS:
        with (internet.directory / name).open("rb") as file:
            file.seek(start[name])
            text = file.read(end[name] - start[name])
        # Joined: of what was sent byte by byte, each packet holds one.
        sent = bytes.fromhex(b"".join(_SENT.findall(text)).decode())
        if sought in text.lower() or sought in sent.lower():
            found.append(name)
    return found


def payload(packet: Packet) -> bytes:
    """What a packet carries."""
    return bytes.fromhex(packet["payload"])


def carried(internet: Internet, *flows: Flow) -> bytes:
    """All that was sent in these flows, over TCP or UDP."""
    return b"".join(payload(one) for one in internet.packets() if any(flow.takes(one) for flow in flows))


Fixture = Callable[..., Any]


def fixtures(profile: str) -> tuple[Fixture, Fixture]:
    """What a test module names `standing` and `sides`: one pair of programs a world, behind `profile`."""

    @pytest.fixture(scope="module")
    def standing() -> Iterator[dict[str, Sides]]:
        made: dict[str, Sides] = {}
        yield made
        for one in made.values():
            one.close()

    @pytest.fixture
    def sides(internet: Internet, world: World, standing: dict[str, Sides]) -> Sides:
        """The attack program, outside and inside; started once, and again after a test that ended it."""
        key = f"{world.caller} {world.backend}"
        found = standing.get(key)
        if found is not None and not found.alive():
            found.close()
        if found is None or not found.alive():
            standing[key] = Sides(internet, world, profile)
            internet.begin()
        return standing[key]

    return standing, sides
