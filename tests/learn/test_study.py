"""Who is asked about what, when the next run comes, and when there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbox.examine.conversation import Called
from sandbox.learn import study as studying
from sandbox.learn.exercise import NotLearnt, Run, chosen
from sandbox.learn.seen import Seen
from sandbox.learn.study import (
    MOST_RUNS,
    TRUSTED,
    Learnt,
    Order,
    base_of,
    require_answers,
    study,
    with_named_paths,
)
from sandbox.learn.wants import Want
from sandbox.policy.flags import Flags
from sandbox.prepare import prepare
from sandbox.prepared import Prepared, Wish


class World:
    """Runs that show what is written down for them, and a person with answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        self.runs: list[Seen | Callable[[Flags], Seen]] = []
        self.flags: list[Flags] = []
        self.waivers: list[tuple[str, ...]] = []
        self.asked: list[str] = []
        self.home = home
        monkeypatch.setattr(studying, "exercise", self._exercise)

    def _exercise(self, prepared: Prepared, *_: Any) -> Run:
        self.flags.append(prepared.wish.flags)
        self.waivers.append(prepared.spec.waivers)
        found = self.runs.pop(0) if len(self.runs) > 1 else self.runs[0]
        return Run(found if isinstance(found, Seen) else found(prepared.wish.flags), (), (), ("s", "1"))

    def learn(self, yes: Sequence[str] = (), *, trust: bool = False, flags: Flags = Flags()) -> Learnt:  # noqa: B008
        def ask(want: Want) -> bool:
            self.asked.append(want.value)
            return want.value in yes

        environ = {**os.environ, "HOME": str(self.home)}
        wish = Wish(("/bin/cat",), environ, "/", "base", flags)
        return study(Order(wish, chosen((), every=False), ask, str, str, trust_network=trust))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, own_home: Path, require: Callable[[str], None]) -> World:
    require("native")
    return World(monkeypatch, own_home)


def test_one_run_where_nothing_is_wanted(world: World) -> None:
    world.runs = [Seen()]
    assert (world.learn().runs, world.asked) == (1, [])


def test_a_yes_is_in_the_next_run_and_a_no_is_not_asked_again(world: World) -> None:
    both = Seen(wanted={"a.example.org": 1, "b.example.org": 1})
    world.runs = [both, Seen(reached={"a.example.org:443": 1}, wanted={"b.example.org": 1})]
    learnt = world.learn(yes=["a.example.org"])
    assert [one.allow_net for one in world.flags] == [(), ("a.example.org",)]
    assert world.asked == ["a.example.org", "b.example.org"]
    assert [one.value for one in learnt.granted] == ["a.example.org"]
    assert [one.value for one in learnt.declined] == ["b.example.org"]


def test_trust_takes_names_without_asking_and_says_so_in_every_run(world: World) -> None:
    wanted = Seen(wanted={"a.example.org": 1, "localhost:5432": 1, "203.0.113.7:443": 1})
    world.runs = [wanted, Seen()]
    world.learn(trust=True)
    assert world.flags[-1].allow_net == ("a.example.org",)
    assert world.asked == ["localhost:5432", "203.0.113.7:443"]
    assert all(TRUSTED in one for one in world.waivers)


def test_without_trust_there_is_no_waiver(world: World) -> None:
    world.runs = [Seen()]
    world.learn()
    assert world.waivers == [()]


def test_a_server_that_always_wants_another_name_is_not_followed_for_ever(world: World) -> None:
    world.runs = [lambda flags: Seen(wanted={f"n{len(flags.allow_net)}.example.org": 1})]
    assert world.learn(trust=True).runs == MOST_RUNS


def test_a_flood_of_wants_is_no_flood_of_questions(world: World) -> None:
    world.runs = [Seen(wanted={f"n{number}.example.org": 1 for number in range(60)})]
    learnt = world.learn()
    assert len(world.asked) == studying.MOST_QUESTIONS
    assert len(learnt.declined) == 60


@pytest.mark.parametrize("name", [".ssh/id_rsa", ".aws/credentials", ".config/gh/hosts.yml", ".ssh"])
def test_what_is_secret_is_asked_about_by_nobody(name: str, world: World) -> None:
    place = world.home / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()
    (world.home / "link").symlink_to(place)
    world.runs = [
        Seen(outside={str(place): "read", str(world.home / "link"): "read", str(world.home): "read"})
    ]
    learnt = world.learn(yes=[str(place)])
    assert (world.asked, learnt.granted) == ([], ())
    assert {one.value for one in learnt.left} == {str(place), str(world.home / "link"), str(world.home)}


def test_files_that_are_there_are_asked_about_and_others_are_not(world: World, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    outside = {str(tmp_path / "there"): "write", str(tmp_path / "not"): "read", "/etc/passwd-": "read"}
    world.runs = [Seen(outside=outside), Seen()]
    world.learn(yes=[str(tmp_path / "there")])
    assert world.asked == [str(tmp_path / "there")]
    assert world.flags[-1].allow_write == (str(tmp_path / "there"),)


def test_a_server_that_left_the_conversation_is_told_with_what_it_went_without() -> None:
    wish = Wish(("/bin/cat",), {"HOME": "/nonexistent"}, "/", "base")
    run = Run(Seen(), (), (), ("", ""), "the server has ended")
    declined = (Want("network.allow", "a.example.org", ""), Want("files.read", "/a b", ""))
    learnt = Learnt(prepare(wish, str), run, 1, (), declined)
    with pytest.raises(NotLearnt) as told:
        require_answers(learnt)
    assert told.value.hint == "--allow-net a.example.org --allow-read '/a b'"
    assert "it went without: network.allow a.example.org, files.read /a b" in told.value.what


# --- the beginning ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "base"),
    [
        pytest.param(("npx", "-y", "x"), "node", id="npx"),
        pytest.param(("uvx", "x"), "python", id="uvx"),
        pytest.param(("/usr/bin/python3", "-m", "x"), "python", id="python"),
        pytest.param(("node", "x.js"), "node", id="node"),
        pytest.param(("/opt/server",), "base", id="a program"),
    ],
)
def test_base(command: tuple[str, ...], base: str) -> None:
    assert base_of(command) == base


def test_the_paths_that_the_command_names_are_read(own_home: Path, tmp_path: Path) -> None:
    (own_home / ".ssh").mkdir()
    (tmp_path / "data").mkdir()
    words = ("npx", "-y", "x", f"--dir={tmp_path}/data", str(own_home / ".ssh"), str(tmp_path / "absent"))
    made = with_named_paths(Wish(words, {"HOME": str(own_home)}, "/"))
    assert made.flags.allow_read == (f"{tmp_path}/data",)
    written = Wish(words, {"HOME": str(own_home)}, "/", flags=Flags(allow_write=(str(tmp_path),)))
    assert with_named_paths(written).flags.allow_read == ()


# --- calls -----------------------------------------------------------------------------------------------

TOOLS = (
    {"name": "free", "inputSchema": {"type": "object"}},
    {"name": "delete_all", "inputSchema": {}, "annotations": {"destructiveHint": True}},
    {"name": "needs", "inputSchema": {"required": ["a"]}, "annotations": {"readOnlyHint": True}},
    {"name": 7},
)


def test_only_what_was_said_is_called() -> None:
    assert [*chosen([("needs", {"a": 1})], every=False)(TOOLS)] == [("needs", {"a": 1})]


def test_all_that_need_nothing_are_called_where_that_is_said() -> None:
    called = chosen([("free", {"b": 2})], every=True)(TOOLS)
    assert [*called] == [("free", {"b": 2}), ("delete_all", {})]


def test_two_runs_are_the_same_where_each_call_went_as_before() -> None:
    one = Run(Seen(), ("a",), (Called("a", "result"),), ("s", "1"))
    other = Run(Seen(wanted={"x.example.org": 1}), ("a",), (Called("a", "result", "said"),), ("s", "2"))
    failed = Run(Seen(), ("a",), (Called("a", "failure"),), ("s", "1"))
    assert one.outcome == other.outcome
    assert one.outcome != failed.outcome
