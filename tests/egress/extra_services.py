"""More services for the private internet and its test host, for the tests that ask for them.

`python -m tests.egress.extra_services internet|host DIRECTORY` runs in the namespace that it was put in, says
`ready`, and ends with everything it started when stdin does.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.conftest import ROOT
from tests.egress import proxies, services, web
from tests.egress.internet import SBIN, Internet

HTTP2, HTTP2_PLAIN = 50051, 50052
LOCAL = 18080
"""The test host's own web server, on its loopback alone."""
HALF, DEAD = "half.test", "93.184.216.99"
"""A name whose first address says nothing, as `services.SILENT` does, but is one that a name may lead to."""
LOGS = ("h2.jsonl", "proxies.jsonl", "local.jsonl")
H2 = Path(__file__).with_name("h2.cjs")


class Extra:
    """HTTP/2 and gRPC (TLS and plain), proxies, and a web server on the test host's loopback."""

    def __init__(self, internet: Internet) -> None:
        self._internet = internet
        self._stack = ExitStack()
        self._begun = dict.fromkeys(LOGS, 0)

    def __enter__(self) -> Extra:
        for name in LOGS:
            (self._internet.directory / name).touch()
        with self._stack:
            self._bury()
            for role, process in zip(("internet", "host"), self._internet.processes(), strict=True):
                self._start(role, process)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _bury(self) -> None:
        """`HALF` is there: an IPv4 address, which is tried first, without an answer, and an IPv6 address."""
        namespace = f"--net=/proc/{self._internet.processes()[0]}/ns/net"
        words = ["nsenter", namespace, "ip", "route", "replace", "blackhole", DEAD]
        environ = {"PATH": f"{os.environ.get('PATH', '')}:{SBIN}"}
        subprocess.run(words, check=True, env=environ, timeout=30)
        self._internet.rename(HALF, DEAD, services.V6)

    def _start(self, role: str, process: int) -> None:
        enter = ["nsenter", f"--net=/proc/{process}/ns/net", "--"]
        words = [*enter, sys.executable, "-m", "tests.egress.extra_services", role, self._internet.directory]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        one = self._stack.enter_context(subprocess.Popen(words, cwd=ROOT, **pipes))
        assert one.stdin is not None
        assert one.stdout is not None
        self._stack.callback(one.stdin.close)
        assert one.stdout.readline() == "ready\n", f"the {role}'s extra services did not start"

    def begin(self) -> None:
        """From here on, what was before is not told."""
        self._begun = {name: (self._internet.directory / name).stat().st_size for name in LOGS}

    def _said(self, name: str) -> list[dict[str, Any]]:
        with (self._internet.directory / name).open("rb") as file:
            file.seek(self._begun[name])
            return [json.loads(line) for line in file]

    def http2(self) -> list[dict[str, Any]]:
        """HTTP/2 requests: port, authority, path, method, sni; each is there before its answer is."""
        return self._said("h2.jsonl")

    def proxied(self) -> list[dict[str, Any]]:
        """What proxies were asked for: proxy (its port), host, port, user; there before it is dialled."""
        return self._said("proxies.jsonl")

    def local(self) -> list[dict[str, Any]]:
        """Requests to the web server on loopback, as `Internet.requests` has them."""
        return self._said("local.jsonl")


async def internet(directory: Path) -> None:
    """HTTP/2 and the proxies."""
    await proxies.Proxies(directory / "proxies.jsonl").serve()
    words = [directory / "tls" / "chain.pem", directory / "h2.jsonl", str(HTTP2), str(HTTP2_PLAIN)]
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    h2 = await asyncio.create_subprocess_exec("node", H2, *words, **pipes)
    assert h2.stdout is not None
    assert await h2.stdout.readline() == b"ready\n"


async def host(directory: Path) -> None:
    """The web server."""
    server = web.Server(web.Log(directory / "local.jsonl"))
    await asyncio.start_server(server.serve, "127.0.0.1", LOCAL)


async def main(role: str, directory: Path) -> None:
    """Plays one role to the end of stdin."""
    await {"internet": internet, "host": host}[role](directory)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
