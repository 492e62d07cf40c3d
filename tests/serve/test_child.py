"""A child's end, however it resists, and what it says beside its messages."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from sandbox.serve import child
from sandbox.serve.child import STDERR_LINE, Child
from sandbox.serve.heard import Heard
from sandbox.serve.words import Refused
from tests.serve.asking import request, world

READY = "import os, signal, sys, time\n"
HELLO = 'print(\'{"jsonrpc":"2.0","method":"ready"}\', flush=True)\n'
STUBBORN = READY + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + HELLO + "while True: time.sleep(60)\n"
DEAF = READY + HELLO + "while True: time.sleep(60)\n"
GOOD = READY + HELLO + "sys.stdin.read()\n"
SILENT = READY + HELLO + "os.close(1)\nsys.stdin.read()\n"


class Ear:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard = asyncio.Queue[Heard]()
        self.ends: list[str] = []
        self.over = asyncio.Event()

    def delivered(self, heard: Heard) -> None:
        self.heard.put_nowait(heard)

    def ended_with(self, why: str) -> None:
        self.ends.append(why)
        self.over.set()


def _gone(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


@pytest.mark.parametrize(
    ("program", "signals"),
    [
        pytest.param(GOOD, 0, id="at the end of its input"),
        pytest.param(SILENT, 0, id="whose output has ended before"),
        pytest.param(DEAF, 1, id="by SIGTERM"),
        pytest.param(STUBBORN, 2, id="by SIGKILL"),
    ],
)
def test_close_returns_when_it_is_gone(program: str, signals: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Who needs no signal is given as long as it takes.
    monkeypatch.setattr(child, "EOF_S", 0.1 if signals else 10.0)
    monkeypatch.setattr(child, "TERM_S", 0.1 if signals > 1 else 10.0)

    async def whole() -> None:
        ear = Ear()
        one = Child(ear, lambda line: None)
        await one.start([sys.executable, "-I", "-S", "-c", program])
        async with asyncio.timeout(10):
            assert (await ear.heard.get()).method == "ready"
            await one.close()
        assert _gone(one.pid)
        assert len(ear.ends) == 1

    asyncio.run(whole())


def test_what_is_sent_while_it_starts_arrives_in_order() -> None:
    async def whole() -> None:
        ear = Ear()
        one = Child(ear, lambda line: None)
        starting = asyncio.create_task(
            one.start([sys.executable, "-I", "-S", "-c", READY + "os.execlp('cat', 'cat')"])
        )
        lines = [b'{"jsonrpc":"2.0","method":"m%d"}\n' % n for n in range(5)]
        for line in lines:
            one.send(line)
            await asyncio.sleep(0)
        await starting
        async with asyncio.timeout(10):
            assert [(await ear.heard.get()).data for _ in lines] == lines
            await one.close()
        one.send(b"too late\n")

    asyncio.run(whole())


def test_its_stderr_is_told_line_by_line_and_a_long_one_in_pieces() -> None:
    async def whole() -> None:
        told: list[str] = []
        one = Child(Ear(), told.append)
        text = f"sys.stderr.write('a\\nb' + 'x' * {2 * STDERR_LINE} + '\\n\\xff last')\n"
        await one.start([sys.executable, "-I", "-S", "-c", READY + text])
        async with asyncio.timeout(10):
            while not told or not told[-1].endswith("last"):  # noqa: ASYNC110 - what the world shows
                await asyncio.sleep(0.01)
            await one.close()
        assert told[0] == "a"
        assert all(len(line) <= STDERR_LINE for line in told)
        assert "".join(told[1:-1]) == "b" + "x" * 2 * STDERR_LINE

    asyncio.run(whole())


def test_a_program_that_cannot_be_started_is_503_and_leaves_nothing(tmp_path: Path) -> None:
    async def whole() -> None:
        async with world(program=(str(tmp_path / "absent"),)) as made:
            reply = await made.ask("POST", request("initialize", 0, protocolVersion="2025-11-25"))
            assert isinstance(reply, Refused)
            assert (reply.status, dict(reply.headers)["Retry-After"]) == (503, "5")
            assert (await made.modern("server/discover", 1)).status == 503

    asyncio.run(whole())
