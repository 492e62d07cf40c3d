"""`top`: what a frame shows, lines for programs, and a terminal that is given back."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sandbox.cli import main
from sandbox.cli.frame import frame
from sandbox.cli.top import SORTS
from tests.attacks.inside import RUN
from tests.cli.running import SECONDS
from tests.conftest import ROOT

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
"""The terminal's other screen (xterm, ctlseqs)."""


def session(name: str, **more: Any) -> dict[str, Any]:
    plain = {"server": name, "session": f"s-{name}", "state": "running", "backend": "native", "pid": 7}
    return {**plain, "profile": "base", "uptime": 5.0, "container": None, **more}


def using(name: str, memory: int, limit: int = 100 << 20) -> dict[str, Any]:
    return session(name, use={"memory": memory, "share": 0.5, "pids": 3}, limits={"memory": limit, "pids": 4})


def drawn(sessions: list[dict[str, Any]], *, colours: bool = False, **more: Any) -> str:
    console = Console(
        file=io.StringIO(), width=160, force_terminal=colours, color_system="standard" if colours else None
    )
    console.print(frame(sessions, "12:00:00", **more))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_frame_has_the_sums_and_the_sessions() -> None:
    shown = drawn([using("files", 30 << 20), using("web", 20 << 20)])
    assert "2 sandboxes   memory 50M   cpu 100%" in shown
    assert "30M/100M ━━━━━━━━" in shown


def test_what_is_near_its_limit_is_red() -> None:
    assert "\x1b[31m━━━━━━━" in drawn([using("files", 95 << 20)], colours=True)
    assert "\x1b[31m" not in drawn([using("files", 50 << 20)], colours=True)


@pytest.mark.parametrize(
    "name", ["[red]x[/red]", "[/]", "[link=file:///etc]x", ":smile:", "\x1b[2Jx", "a\nb"]
)
def test_a_name_is_no_markup(name: str) -> None:
    shown = drawn([session(name)])
    assert name.replace("\x1b", "\\x1b").replace("\n", "\\n") in shown
    assert "\x1b" not in shown


def test_many_sessions_in_a_low_terminal() -> None:
    shown = drawn([session(f"n{number}") for number in range(40)], rows=12)
    assert len(shown.splitlines()) <= 12
    assert "and 34 more" in shown


def test_a_session_that_says_nothing_of_itself() -> None:
    line = next(line for line in drawn([session("old")]).splitlines() if "old" in line)
    assert line.split().count("-") == 6


@pytest.mark.parametrize(("by", "first"), [("memory", "hungry"), ("cpu", "busy"), ("up", "old")])
def test_the_order(by: str, first: str) -> None:
    found = [
        session("old", uptime=99.0, use={"memory": 2, "share": 0.1}),
        session("hungry", use={"memory": 3, "share": None}),
        session("busy", use={"memory": 1, "share": 0.9}),
        session("silent"),
    ]
    assert max(found, key=SORTS[by])["server"] == first


def test_nothing_runs(own_home: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["top"]) == 0, "without a terminal it is one frame"
    assert "no sandbox of yours is running" in capsys.readouterr().out


def test_lines_for_programs(own_home: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["top", "--json", "--count", "2", "--interval", "0.2"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith('{"schema": 1, ')
    assert json.loads(second)["at"] > json.loads(first)["at"]


@pytest.mark.parametrize(
    "words", [["--interval", "0"], ["--interval", "nan"], ["--count", "0"], ["--sort", "x"]]
)
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["top", *words])
    assert ended.value.code == 2


# --- a real terminal ----------------------------------------------------------------------------------


@contextmanager
def terminal() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`top` on a terminal of its own, and our end of it."""
    ours, theirs = pty.openpty()
    resize(ours, 30, 120)
    environ = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", RUN, "top", "--interval", "0.2"]
    with subprocess.Popen(argv, cwd="/", env=environ, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        try:
            yield process, ours
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)


def resize(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def read_until(fd: int, wanted: bytes) -> bytes:
    said, deadline = b"", time.monotonic() + SECONDS
    while wanted not in said:
        left = deadline - time.monotonic()
        assert left > 0, said
        if select.select([fd], [], [], left)[0]:
            said += os.read(fd, 1 << 16)
    return said


def press_q(_process: subprocess.Popen[bytes], fd: int) -> None:
    os.write(fd, b"q")


def interrupt(process: subprocess.Popen[bytes], _fd: int) -> None:
    process.send_signal(signal.SIGINT)  # it leads no session: the terminal itself would send nobody anything


def terminate(process: subprocess.Popen[bytes], _fd: int) -> None:
    process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize(("end", "status"), [(press_q, 0), (interrupt, 0), (terminate, 143)])
def test_a_terminal_is_given_back(
    end: Callable[[subprocess.Popen[bytes], int], None], status: int, own_home: Path
) -> None:
    with terminal() as (process, fd):
        before = termios.tcgetattr(fd)
        assert ENTER in read_until(fd, b"no sandbox of yours")
        for rows, columns in ((4, 20), (1, 1), (50, 200)):
            resize(fd, rows, columns)
            process.send_signal(signal.SIGWINCH)
            read_until(fd, b"\x1b[H")
        read_until(fd, b"no sandbox of yours")
        end(process, fd)
        assert LEAVE in read_until(fd, LEAVE)
        assert process.wait(SECONDS) == status
        assert termios.tcgetattr(fd)[3] == before[3]
