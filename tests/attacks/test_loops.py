"""A client that loops, servers that answer late or say nothing but blank lines; each beside its control."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.inside import RUN, SECONDS, Answer, Attacker, World


def profile(world: World, text: str) -> str:
    return str(world.file("loops.toml", world.base, f'schema = 1\nextends = "base"\n{text}\n'))


def looping(attacker: Attacker, times: int) -> list[Answer]:
    """The same harmless call, again and again."""
    answers = []
    for _ in range(times):
        attacker.ask("processes.parent")
        answers.append(attacker.message())
    return answers


def events(world: World) -> list[dict[str, Any]]:
    """What the last session's log says."""
    logs = Path(world.home, ".local/state/mcp-sandbox").rglob("*.jsonl")
    last = max(logs, key=lambda path: path.stat().st_mtime)
    whole, _, _ = last.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


@pytest.mark.threat("C4", proves="a runaway client is stopped at N, the sandbox ended with status 124")
@pytest.mark.backends(docker="user")
def test_a_client_that_loops_ends_the_session(world: World) -> None:
    rule = "tools.repeat"
    with world.inside("--profile", profile(world, "[tools]\nrepeat = 3")) as inside:
        answers = looping(inside, 4)
        status, said = inside.finish()
    assert ["got" in answer.get("result", {}) for answer in answers] == [True, True, True, False], said
    error = answers[-1]["error"]
    assert error["data"]["rule"] == rule
    assert error["data"]["measured"] > error["data"]["limit"]
    assert error["data"]["profile"] == "loops.toml:4"
    assert status == 124
    assert f"rule `{rule}`" in said
    logged = events(world)
    assert [event["rule"] for event in logged if event["kind"] == "tool.deny"] == [rule]
    passed = [event for event in logged if event["kind"] == "relay.request"]
    assert len(passed) == 3, "the fourth went nowhere"
    assert any(event["kind"] == "quota.breach" and event["rule"] == rule for event in logged)


@pytest.mark.threat("C4", proves="or, where the profile says so, refused alone: the model reads why")
def test_a_loop_that_is_denied_goes_on_with_other_calls(world: World) -> None:
    text = '[tools]\nrepeat = 3\n[breach]\ncalls = "deny"'
    with world.inside("--profile", profile(world, text)) as inside:
        answers = looping(inside, 5)
        other = inside.call("limits.burn", seconds=0.01)
        status, said = inside.finish()
    assert status == 0, said
    assert [answer["result"].get("isError", False) for answer in answers] == [False] * 3 + [True] * 2
    assert "`processes.parent` was called 4 times" in answers[3]["result"]["content"][0]["text"]
    assert "loops.toml:4" in answers[3]["result"]["content"][0]["text"]
    assert "got" in other


@pytest.mark.threat("C4", proves="or stopped with everything inside, until a person lets it go on")
def test_a_loop_that_freezes_goes_on_with_the_call_when_a_person_says_so(world: World) -> None:
    text = '[tools]\ncalls = 2\n[breach]\ncalls = "freeze"'
    with world.inside("--profile", profile(world, text)) as inside:
        assert all("result" in answer for answer in looping(inside, 2))
        number = inside.ask("processes.parent")
        frozen = waited_for(world, "quota.freeze")
        assert (frozen["rule"], frozen["detail"]["measured"]) == ("tools.calls", 3)
        with pytest.raises(TimeoutError):
            inside.message(0.3)
        argv = [*world.prefix(), sys.executable, "-c", RUN, "resume", frozen["session"]]
        done = subprocess.run(argv, env=world.environ, cwd="/", capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        answer = inside.message()
        assert (answer["id"], "result" in answer) == (number, True), "the very call that broke the limit"
        assert inside.finish()[0] == 0


def waited_for(world: World, kind: str) -> dict[str, Any]:
    """The first event of that kind in the last session's log, once it is there."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if found := [event for event in events(world) if event["kind"] == kind]:
            return found[0]
        time.sleep(0.02)
    raise AssertionError(f"no {kind}")


def test_without_a_limit_the_loop_goes_on(world: World) -> None:
    with world.inside() as inside:
        assert all("got" in answer["result"] for answer in looping(inside, 12))
        assert inside.finish()[0] == 0


@pytest.mark.threat("S3", proves="a call that is never answered ends at its time; the session goes on")
def test_a_late_answer(world: World) -> None:
    with world.inside("--profile", profile(world, '[traffic]\ntimeout = "500ms"')) as inside:
        inside.ask("bombs.deaf", most=0.8)
        late = inside.message()
        assert late["error"]["data"]["rule"] == "traffic.timeout", late
        assert waited_for(world, "relay.dropped")["rule"] == "traffic.timeout"
        inside.ask("processes.parent")
        again = inside.message()
        assert again["id"] == 2, "the answer to the first came in between, and nobody got it"
        status, said = inside.finish()
    assert status == 0, said
    with world.outside() as outside:
        assert outside.call("bombs.deaf", child=False, most=0.8) == {"got": 0.8}


BLANK = """
import sys
sys.stdin.readline()
for _ in range({}):
    sys.stdout.buffer.write(b"\\n" * 4096)
"""


@pytest.mark.threat("S3", proves="a flood of nothing is one too: it is ended, not read for ever")
def test_blank_lines(world: World) -> None:
    python = world.server()[0]
    with Attacker(world.command(server=(python, "-c", BLANK.format(10**9))), world.environ) as inside:
        inside.ask("anything")
        answer = inside.message()
        status, said = inside.finish()
    assert (status, answer["error"]["data"]["rule"]) == (124, "traffic.flood"), said
    text = '[traffic]\nflood = "1000000/s"'
    again = world.command("--profile", profile(world, text), server=(python, "-c", BLANK.format(4)))
    with Attacker(again, world.environ) as control:
        control.ask("anything")
        answer = control.message()
        status, said = control.finish()
    assert status == 0, said
    assert "the server ended" in answer["error"]["message"], "the control was read to its end"
