"""The gateway's end of the channel: facts in order, answers in order, and nothing lost when it is full."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sandbox.egress import gateway
from sandbox.egress.budget import Excess
from sandbox.egress.decide import Denied
from sandbox.egress.report import Reporter
from sandbox.egress.words import SETTLE, WRITTEN
from tests.egress.inprocess import Targets, network, run, serving, turns

DENIED = Denied("evil.example", 443, "why", "rule", "evil.example")


class Channel:
    """A reporter, and the other end of its channel."""

    def __init__(self) -> None:
        self.there, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.looked = 0
        self.reporter = Reporter(ours, self._look)
        self._ours = ours
        self.reporter.start()

    def _look(self) -> None:
        self.looked += 1
        self.reporter.note("egress.deny", {"seen": self.looked})

    def heard(self) -> Any:
        """The next fact that is there."""
        return json.loads(self.there.recv(1 << 16, socket.MSG_DONTWAIT))

    def silent(self) -> bool:
        try:
            self.there.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        asyncio.get_running_loop().remove_writer(self._ours)
        self.there.close()
        self._ours.close()


@asynccontextmanager
async def channel() -> AsyncIterator[Channel]:
    made = Channel()
    try:
        yield made
    finally:
        made.close()


# --- facts ----------------------------------------------------------------------------------------------


def test_a_fact_is_said_whole_and_waited_for() -> None:
    async def work() -> None:
        async with channel() as one:
            written = one.reporter.say("egress.allow", {"host": "x"}, "rule", more=1)
            assert one.heard() == {"kind": "egress.allow", "detail": {"host": "x"}, "rule": "rule", "more": 1}
            await turns()
            assert not written.done()
            one.there.send(WRITTEN)
            await written

    run(work)


def test_what_is_said_of_each_kind_of_fact() -> None:
    async def work() -> None:
        async with channel() as one:
            one.reporter.deny("egress.deny", DENIED, protocol="tcp")
            detail = {"host": "evil.example", "port": 443, "reason": "why", "protocol": "tcp"}
            said = {"where": "evil.example:443", "grant": "evil.example"}
            assert one.heard() == {"kind": "egress.deny", "detail": detail, "rule": "rule", **said}
            one.reporter.exceeded(Excess("network.upload", "upload", "", 11, 10, "too much"))
            numbers = {"host": "", "used": 11, "limit": 10}
            assert one.heard() == {"breach": "network.upload", "why": "too much", "detail": numbers}
            one.reporter.activity("good.example:443")
            assert one.heard() == {"activity": "good.example:443"}
            one.reporter.note("egress.close", {"end": "closed"})
            assert one.heard()["quiet"] is True
            one.reporter.canary("aws", "base64", "good.example:443", "bytes")
            assert one.heard()["breach"] == "isolation.decoys"

    run(work)


def test_answers_belong_to_facts_in_their_order() -> None:
    async def work() -> None:
        async with channel() as one:
            written = [one.reporter.say("egress.allow", {"n": n}) for n in range(4)]
            for count in range(1, 5):
                one.there.send(WRITTEN)
                await written[count - 1]
                assert [future.done() for future in written] == [n < count for n in range(4)]

    run(work)


def test_several_answers_at_once_are_several() -> None:
    async def work() -> None:
        async with channel() as one:
            written = [one.reporter.say("egress.allow", {}) for _ in range(100)]
            for _ in range(100):
                one.there.send(WRITTEN)
            await asyncio.gather(*written)

    run(work)


def test_who_gave_up_waiting_keeps_the_order_of_the_answers() -> None:
    async def work() -> None:
        async with channel() as one:
            waits = [asyncio.ensure_future(one.reporter.say("egress.allow", {"n": n})) for n in range(4)]
            for given_up in (0, 2):
                waits[given_up].cancel()
            one.there.send(WRITTEN)
            one.there.send(WRITTEN)
            await waits[1]
            await turns()
            assert not waits[3].done()
            one.there.send(WRITTEN)
            one.there.send(WRITTEN)
            await waits[3]

    run(work)


def test_a_quiet_fact_takes_nobodys_answer() -> None:
    async def work() -> None:
        async with channel() as one:
            one.reporter.note("egress.close", {})
            written = one.reporter.say("egress.allow", {})
            one.reporter.note("egress.close", {})
            one.there.send(WRITTEN)
            await written

    run(work)


# --- asked for all so far ---------------------------------------------------------------------------------


def test_all_so_far_is_said_before_that_it_is() -> None:
    async def work() -> None:
        async with channel() as one:
            one.reporter.say("egress.allow", {"n": 1})
            one.there.send(SETTLE)
            asyncio.get_running_loop().call_soon(one.reporter.note, "egress.close", {"n": 2})
            await turns()
            assert [one.heard().get("detail", "settled") for _ in range(4)] == [
                {"n": 1}, {"n": 2}, {"seen": 1}, "settled",
            ]  # fmt: skip
            assert one.silent()

    run(work)


# --- a full channel ---------------------------------------------------------------------------------------


def test_a_full_channel_keeps_what_is_said_and_its_order() -> None:
    async def work() -> None:
        async with channel() as one:
            for n in range(5000):
                one.reporter.note("egress.close", {"n": n})
            numbers: list[int] = []
            while len(numbers) < 5000:
                if one.silent():
                    await asyncio.sleep(0)
                else:
                    numbers.append(one.heard()["detail"]["n"])
            assert numbers == list(range(5000))

    run(work)


def test_the_last_words_are_said_however_full_the_channel_is() -> None:
    async def work() -> None:
        async with channel() as one:
            for n in range(5000):
                one.reporter.note("egress.close", {"n": n})
            numbers: list[int] = []

            def read() -> None:
                while data := one.there.recv(1 << 16):
                    numbers.append(json.loads(data)["detail"]["n"])

            reader = threading.Thread(target=read)
            reader.start()
            one.reporter.finish()
            one._ours.shutdown(socket.SHUT_WR)
            reader.join()
            assert numbers == list(range(5000))

    run(work)


@pytest.mark.threat("S3", proves="while the log is slow nobody is let in without end")
def test_while_nothing_is_answered_connections_wait_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "MOST_CONNECTIONS", 4)
    monkeypatch.setattr(gateway, "MOST_TASKS", 8)
    monkeypatch.setattr(gateway, "_REST_S", 0.01)

    async def work() -> None:
        with Targets() as host:
            async with serving(network(host.port)) as running:
                running.wrapper.holds = True
                clients = [await running.connect(host.port) for _ in range(40)]
                await running.wrapper.fact("egress.deny")
                await turns()
                # The sweep and the sums are tasks as well.
                assert len(running.gateway._tasks) <= gateway.MOST_TASKS + 1
                assert len(running.wrapper.kinds("egress.allow")) == 4
                assert len(running.wrapper.kinds("egress.deny")) == 1
                running.wrapper.holds = False
                running.wrapper.answer()
                ends = [await client.end() for client in clients[4:]]
                assert ends == ["reset"] * 36
                assert [client.now() for client in clients[:4]] == [None] * 4

    run(work)


# --- its end ----------------------------------------------------------------------------------------------


def test_at_the_end_whoever_waits_is_cancelled() -> None:
    async def work() -> None:
        async with channel() as one:
            before = one.reporter.say("egress.allow", {})
            one.there.shutdown(socket.SHUT_WR)
            await one.reporter.over
            after = one.reporter.say("egress.allow", {})
            for written in (before, after):
                with pytest.raises(asyncio.CancelledError, match="session"):
                    await written
            one.reporter.note("egress.close", {"last": True})
            one.reporter.finish()
            assert [one.heard()["kind"] for _ in range(3)] == ["egress.allow", "egress.allow", "egress.close"]

    run(work)


def test_a_wrapper_that_is_gone_is_the_end() -> None:
    async def work() -> None:
        async with channel() as one:
            one.there.close()
            one.reporter.say("egress.allow", {})
            with pytest.raises(OSError, match="pipe"):
                await one.reporter.over

    run(work)


def test_an_answer_to_nothing_is_a_fault() -> None:
    async def work() -> None:
        async with serving(network()) as running:
            running.wrapper.channel.send(WRITTEN)
            with pytest.raises(IndexError):
                await running.task

    run(work)
