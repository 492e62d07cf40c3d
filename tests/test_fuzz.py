"""`scripts/fuzz` finds what it is for: each fault it looks for is found in an inspector that has it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sandbox.inspect.judged import Asked, Edit, Finding, Inspector, Judged, changed, found
from sandbox.verdict import Verdict
from sandbox.wire.jsonrpc import Frame
from tests.conftest import Require

ROOT = Path(__file__).resolve().parent.parent
FUZZ = ROOT / "scripts" / "fuzz"


@pytest.fixture(scope="module")
def fuzzing() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the fuzzer, which is no package of ours."""
    import importlib

    sys.path.insert(0, str(ROOT / "scripts"))
    yield lambda name: importlib.import_module(f"fuzzing.{name}")
    sys.path.remove(str(ROOT / "scripts"))


class Toy:
    """An inspector that does one thing with every message."""

    def __init__(self, judge: Callable[[Frame], Judged | None], name: str = "poison") -> None:
        self._judge = judge
        self.name = name

    def to_server(self, frame: Frame, asked: None = None) -> Judged | None:
        return self._judge(frame)

    def to_client(self, frame: Frame, asked: Asked | None) -> Judged | None:
        return self._judge(frame)


def _finding(rule: str = "poison.x", place: str = "", reason: str = "why", **more: Any) -> Finding:
    return Finding("poison", rule, place, reason, **more)


def _mutates(frame: Frame) -> None:
    frame.message["more"] = 1


def _waits(frame: Frame) -> None:
    until = time.thread_time() + 3
    while time.thread_time() < until:
        pass


def _secret(fuzzing: Callable[[str], ModuleType]) -> str:
    secret: str = fuzzing("conversations").SECRET
    return secret


FAULTS = [
    pytest.param(_mutates, "changed a message", id="changes what others see"),
    pytest.param(_waits, "took", id="is slow"),
    pytest.param(lambda frame: found(_finding(rule="x")), "no inspector's", id="a rule of nobody's"),
    pytest.param(lambda frame: found(_finding(place="a")), "no pointer", id="a place that is none"),
    pytest.param(lambda frame: found(_finding(reason="")), "says nothing", id="no reason"),
    pytest.param(lambda frame: found(_finding(shown="x" * 201)), "too long", id="shows too much"),
    pytest.param(lambda frame: found(_finding(shown="a\u200bb")), "raw", id="shows what is hidden as it is"),
    pytest.param(lambda frame: found(_finding(reason="\x1b[0m")), "raw", id="a terminal's escape"),
    pytest.param(lambda frame: found(_finding(score=11)), "scores", id="a score beyond ten"),
    pytest.param(lambda frame: changed([], _finding()), "0 edits", id="a change that changes nothing"),
    pytest.param(
        lambda frame: Judged(Verdict.allow("poison.x"), (), (Edit(("id",), 1),)), "1 edits", id="edits unsaid"
    ),
    pytest.param(
        lambda frame: changed([Edit(("method",), "other/method")], _finding()),
        "what a message is",
        id="another",
    ),
    pytest.param(
        lambda frame: changed([Edit(("jsonrpc",), "1")], _finding()), "none", id="an edit to no message"
    ),
    pytest.param(lambda frame: found(*[_finding()] * 1001), "1001 findings", id="too many findings"),
]


@pytest.mark.parametrize(("judge", "said"), FAULTS)
def test_a_broken_promise_is_found(
    fuzzing: Callable[[str], ModuleType], judge: Callable[[Frame], Judged | None], said: str
) -> None:
    with pytest.raises((AssertionError, ValueError), match=said):
        _play(fuzzing, Toy(judge))


def test_an_inspector_that_says_nothing_and_one_that_keeps_its_promises_pass(
    fuzzing: Callable[[str], ModuleType],
) -> None:
    assert len(_play(fuzzing, Toy(lambda frame: None))) > 30
    assert len(_play(fuzzing, Toy(lambda frame: found(_finding(score=3, place="/result", shown="a"))))) > 30


def test_a_secret_in_a_finding_is_found(fuzzing: Callable[[str], ModuleType]) -> None:
    told = found(_finding(reason=f"holds {_secret(fuzzing)}"))
    with pytest.raises(AssertionError, match="tells a secret"):
        _play(fuzzing, Toy(lambda frame: told, "secrets"))


def _play(fuzzing: Callable[[str], ModuleType], inspector: Inspector) -> list[Frame]:
    """The frames of every seed that pass this inspector."""
    stage, promises, conversations = (fuzzing(name) for name in ("stage", "promises", "conversations"))
    passed: list[Frame] = []
    for seed in conversations.SEEDS:
        passed += stage.Stage([promises.Watched(inspector)]).play(seed)
    return passed


# --- what is dear ----------------------------------------------------------------------------------------


def _squares(frame: Frame) -> None:
    for _ in range(len(frame.data) ** 2 // 250):
        pass


def _crashes(frame: Frame) -> None:
    if len(frame.data) > 10_000:
        raise ZeroDivisionError


def _takes_memory(frame: Frame) -> None:
    held = b"x" * (len(frame.data) * 1000)
    assert held


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        pytest.param(_squares, "times as long", id="superlinear"),
        pytest.param(_takes_memory, "memory", id="memory"),
        pytest.param(_crashes, "ZeroDivisionError", id="a crash"),
    ],
)
def test_what_is_dear_is_found(
    fuzzing: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, judge: Any, said: str
) -> None:
    costs = fuzzing("costs")
    monkeypatch.setattr(costs, "made", lambda: [Toy(judge)])
    measured = list(costs.costs("poison", [1 << 14, 1 << 16], only="plain words, result"))
    assert len(measured) == 2
    assert any(said in fault for fault in costs.faults(measured)), measured


def test_a_cheap_inspector_is_not_called_dear(
    fuzzing: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = fuzzing("costs")
    monkeypatch.setattr(costs, "made", lambda: [Toy(lambda frame: None)])
    assert list(costs.faults(list(costs.costs("poison", [1 << 14, 1 << 16], only="words")))) == []


def test_what_a_session_keeps_for_ever_is_found(
    fuzzing: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    growth, kept = fuzzing("growth"), list[bytes]()
    # What other tests have left: room between what is still held, which would take what is kept from now on.
    room = [bytes(4096) for _ in range(50_000)]
    _held = room[::100]
    del room
    monkeypatch.setattr(growth, "ALLOWED", 1 << 20)
    monkeypatch.setattr(growth, "made", lambda: [Toy(lambda frame: kept.append(bytes(frame.data) * 30))])
    assert any("are kept" in fault for fault in growth.grown("poison", 400).faults())
    monkeypatch.setattr(growth, "made", lambda: [Toy(lambda frame: None)])
    assert list(growth.grown("poison", 400).faults()) == []


def test_a_session_that_gets_slower_is_found(
    fuzzing: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    growth, seen = fuzzing("growth"), list[float]()

    def slower(frame: Frame) -> None:
        seen.append((seen[-1] if seen else 0) + len(seen) * 1e-5)

    # The clock is what the inspector says it took: what else the machine does changes nothing.
    monkeypatch.setattr(growth, "time", SimpleNamespace(process_time=lambda: seen[-1]))
    monkeypatch.setattr(growth, "made", lambda: [Toy(slower)])
    assert any("later" in fault for fault in growth.grown("poison", 400).faults())


# --- both SDKs -------------------------------------------------------------------------------------------


def test_every_seed_is_read_alike_by_us_and_the_python_sdk(fuzzing: Callable[[str], ModuleType]) -> None:
    sdks, differ, conversations = (fuzzing(name) for name in ("sdks", "differ", "conversations"))
    tally = differ.Tally()
    for seed in conversations.SEEDS:
        for line in filter(None, seed.split(b"\n")):
            (frame,) = differ.FrameReader().feed(line[1:] + b"\n")
            differ._compare("python", frame, sdks.python_line(line[1:]), line[1:], tally)
    assert not tally.seen


@pytest.mark.parametrize(
    ("line", "why"),
    [
        pytest.param(b'{"jsonrpc":"2.0","id":1.0,"method":"x"}', "python takes frame-id", id="two kinds"),
        pytest.param(
            b'{"jsonrpc":"2.0","error":{"code":1,"message":"m"}}',
            "python refuses an error without an id", id="no id",
        ),
        pytest.param(
            b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"a":2}}',
            "python takes frame-duplicate-key", id="two of a name",
        ),
    ],
)  # fmt: skip
def test_a_difference_is_named_and_explained(
    fuzzing: Callable[[str], ModuleType], line: bytes, why: str
) -> None:
    sdks, differ = fuzzing("sdks"), fuzzing("differ")
    tally = differ.Tally()
    (ours,) = differ.FrameReader().feed(line + b"\n")
    differ._compare("python", ours, sdks.python_line(line), line, tally)
    assert (list(tally.seen), tally.unexplained) == ([why], {})


def test_a_difference_that_no_table_explains_is_a_finding(fuzzing: Callable[[str], ModuleType]) -> None:
    sdks, differ = fuzzing("sdks"), fuzzing("differ")
    tally = differ.Tally()
    line = b'{"jsonrpc":"2.0","id":1,"method":"x"}'
    (ours,) = differ.FrameReader().feed(line + b"\n")
    differ._compare("npm", ours, sdks.REFUSED, line, tally)
    assert list(tally.unexplained) == ["npm refuses what we pass on"]


# --- the program -----------------------------------------------------------------------------------------


def fuzz(*words: str | Path, within_s: float = 110) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, FUZZ, *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=within_s, check=False)


def test_a_short_run_ends_in_time_and_says_what_it_did(tmp_path: Path) -> None:
    done = fuzz(
        "--seconds", "2", "--target", "frames", "--target", "splice", "--keep", tmp_path, "--seed", "1"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "2 targets, 0 findings"
    assert any((tmp_path / "corpus" / "frames").iterdir())


def test_every_target_is_listed_and_an_unknown_one_is_an_error() -> None:
    listed = fuzz("--list").stdout.split()
    assert {"frames", "splice", "sdks"} <= set(listed)
    assert fuzz("--target", "nothing").returncode == 2


UNTIMED = (
    "frames", "splice", "events", "headers", "requests", "tokens", "answers", "envelopes", "sdks", "all",
    "all-strict", "all-drawn",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_minute_of_fuzzing_finds_nothing(require: Require, tmp_path: Path) -> None:
    require("native")  # the session that is fuzzed is planned as `run` plans it
    # Without those that measure time, which a machine with other work spoils.
    chosen = [word for name in UNTIMED for word in ("--target", name)]
    done = fuzz("--seconds", "60", "--jobs", "1", "--keep", tmp_path, *chosen, within_s=560)
    assert (done.returncode, done.stdout.splitlines()[-1].split(", ")[1]) == (0, "0 findings"), done.stdout
