"""Whom a breach is told: at most five seconds, no shell, none of the server's secrets, never in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox import notify
from sandbox.notify import Notifier, argv, without_secrets
from sandbox.policy.model import BreachPolicy, Policy, Secret

PROGRAM = str(Path(notify.__file__).with_name("notify_program.py"))
PATIENCE_S = 15.0
EVENT = {"event": "breach", "message": "ended `x`", "rule": "quota.pids"}


def told(
    place: Path, *wanted: str, environ: dict[str, str] | None = None
) -> tuple[dict[str, object], list[str]]:
    """What the command `tee` was given, and what a person was told."""
    notes: list[str] = []
    secrets = (Secret("TOKEN", "env"),)
    policy = Policy("web", breach=BreachPolicy(notify=wanted), secrets=secrets)
    Notifier(policy, "github", {**os.environ, **(environ or {})}, notes.append).tell(EVENT)
    return awaited(place), notes


def written(directory: Path, commands: str) -> Path:
    """A program that does them."""
    script = directory / "script"
    script.write_text(f"#!/bin/sh\n{commands}\n")
    script.chmod(0o755)
    return script


def awaited(place: Path) -> dict[str, object]:
    until = time.monotonic() + PATIENCE_S
    while not (place.exists() and place.read_text().endswith("\n")):
        assert time.monotonic() < until
        time.sleep(0.01)
    value: dict[str, object] = json.loads(place.read_text())
    return value


def test_a_command_reads_the_event(tmp_path: Path) -> None:
    place = tmp_path / "told"
    event, notes = told(place, f"command:tee '{place}'")
    assert event == {"schema": 1, "server": "github", **EVENT}
    assert notes == []


@pytest.mark.threat("S6", proves="what is started at a breach does not get the server's secrets")
def test_a_command_has_no_secret_of_the_servers(tmp_path: Path) -> None:
    place, dump = tmp_path / "told", tmp_path / "dump"
    script = written(tmp_path, f"env > {dump}; cat > {place}")
    told(place, f"command:{script}", environ={"TOKEN": "sesame", "COPY": "sesame", "PLAIN": "here"})
    seen = dump.read_text()
    assert "sesame" not in seen
    assert "PLAIN=here" in seen


@pytest.mark.threat("H2", proves="no shell reads what a notification is made of")
def test_no_shell_stands_between(tmp_path: Path) -> None:
    place, words = tmp_path / "told", tmp_path / "words"
    script = written(tmp_path, f"printf '%s\\n' \"$@\" > {words}; cat > {place}")
    told(place, f"command:{script} ; touch {tmp_path}/bad $(touch {tmp_path}/bad)")
    assert words.read_text().split() == [";", "touch", f"{tmp_path}/bad", "$(touch", f"{tmp_path}/bad)"]
    assert not (tmp_path / "bad").exists()


def test_what_is_not_there_is_a_note_and_no_failure() -> None:
    notes: list[str] = []
    policy = Policy("web", breach=BreachPolicy(notify=("command:no-such-program-here x", "desktop")))
    notifier = Notifier(policy, "web", {"PATH": "/nonexistent"}, notes.append)
    for _ in range(2):
        notifier.tell(EVENT)
    assert [note.split("\n")[0] for note in notes] == ["warning: not-notified"] * 2, "each once"
    assert "there is no program `no-such-program-here`" in notes[0]


@pytest.mark.parametrize("wanted", ["command:", "command:'", "command:  "])
def test_what_is_no_command_is_an_error(wanted: str) -> None:
    with pytest.raises(ValueError, match=r"program|quotation"):
        argv(wanted, "", {"PATH": "/usr/bin:/bin"})


def test_the_session_waits_for_nobody(tmp_path: Path) -> None:
    place = tmp_path / "started"
    script = written(tmp_path, f"echo '{{}}' > {place}; sleep 60")
    began = time.monotonic()
    told(place, f"command:{script}")
    assert time.monotonic() - began < PATIENCE_S


@pytest.mark.threat("T2", proves="a notification that hangs is ended in time, with all that it started")
def test_what_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hang = f"sleep 60 & echo $! >> {pids}; echo $$ >> {pids}; trap '' TERM HUP; wait"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-I", "-S", PROGRAM, "0.5", "/bin/sh", "-c", hang], timeout=20)
    assert time.monotonic() - began < PATIENCE_S
    assert done.returncode != 0
    numbers = [int(word) for word in pids.read_text().split()]
    assert len(numbers) == 2
    assert gone(numbers)


def test_what_is_left_in_the_background_is_ended_too(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    leave = f"sleep 60 & echo $! > {pids}"
    subprocess.run([sys.executable, "-I", "-S", PROGRAM, "5", "/bin/sh", "-c", leave], timeout=20, check=True)
    assert gone([int(pids.read_text())])


def gone(pids: list[int]) -> bool:
    """Whether all of them have ended; the kernel takes a moment for it."""
    until = time.monotonic() + 2.0
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.01)
    return not any(map(alive, pids))


def alive(pid: int) -> bool:
    """Whether it runs; a dead child of another's may wait to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def desktop(tmp_path: Path, name: str) -> dict[str, str]:
    program = tmp_path / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return {"PATH": str(tmp_path)}


HOSTILE = "quota `pids`, <a href='x'>& -e $(x)\" " + "x" * 1000


def test_a_desktop_gets_words_and_no_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    words = argv("desktop", HOSTILE, desktop(tmp_path, "notify-send"))
    assert words[:4] == [f"{tmp_path}/notify-send", "--app-name=mcp-sandbox", "--urgency=critical", "--"]
    assert words[5].startswith("quota `pids`, &lt;a href='x'&gt;&amp; -e ")
    assert len(words[5]) < 600


def test_a_mac_gets_words_and_no_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    words = argv("desktop", HOSTILE, desktop(tmp_path, "osascript"))
    assert words[:2] == [f"{tmp_path}/osascript", "-e"]
    assert "pids" not in words[2]
    assert words[3] == HOSTILE[:500]


def test_a_secret_goes_under_whatever_name() -> None:
    environ = {"A": "1", "TOKEN": "sesame", "COPY": "sesame", "EMPTY": ""}
    assert without_secrets(environ, ["TOKEN", "EMPTY", "ABSENT"]) == {"A": "1"}
