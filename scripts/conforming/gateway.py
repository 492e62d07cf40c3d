"""A stdio server behind HTTP, by npm's `supergateway` on a free port of the loopback."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from conforming.served import Subject, free_port
from conforming.toolchain import Toolchain

READY_S = 20.0


@contextmanager
def gateway(tools: Toolchain, command: Sequence[str], log: Path) -> Iterator[Subject]:
    """`command` as a server of Streamable HTTP; all is gone afterwards."""
    port = free_port()
    argv = [
        str(tools.node), str(tools.gateway), "--stdio", shlex.join(command),
        "--outputTransport", "streamableHttp", "--stateful",
        "--port", str(port), "--healthEndpoint", "/ready",
    ]  # fmt: skip
    with log.open("wb") as told:
        running = subprocess.Popen(  # noqa: S603 - our own words
            argv, stdin=subprocess.PIPE, stdout=told, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _wait(f"http://127.0.0.1:{port}/ready", running)
            yield Subject(f"http://127.0.0.1:{port}/mcp")
        finally:
            _end(running)


def _wait(address: str, running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_S
    while running.poll() is None and time.monotonic() < deadline:
        with suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(address, timeout=1).close()  # noqa: S310 - our own http address
            return
        time.sleep(0.05)
    raise RuntimeError("the gateway did not start")


def _end(running: subprocess.Popen[bytes]) -> None:
    """By SIGTERM, upon which it ends its servers, each in a group of its own."""
    running.terminate()
    try:
        running.wait(20)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
