"""HTTP on either side of us, against a direct connection and against what others put between.

`inside`: a server that speaks HTTP, a client that speaks stdio. `serve`: a server that speaks stdio, a client
that speaks HTTP. Every way has a server of its own; all live at once and are asked in turn.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmark import memory, subjects
from benchmark.client import Client, Failed
from benchmark.http_client import HttpClient
from benchmark.measure import LARGE, MEDIUM, SMALL, WORDS, turns

HERE = Path(__file__).resolve().parent
HTTP_ECHO, STDIO_ECHO = HERE / "echo_http.py", HERE / "echo_server.py"
VERSIONS = {"supergateway": "4.0.0", "mcp-proxy": "0.13.0", "npm's mcp-proxy": "6.7.19"}
"""The second is PyPI's; the third, of another author, knows one direction only."""
WIDTH, BURST = 8, 200
"""Calls that are open at once where throughput is measured, and how many in all."""
READY_S = 30.0


@dataclass(frozen=True)
class Amount:
    """How many samples of each kind."""

    rounds: int = 20
    calls: int = 15
    large: int = 15
    bursts: int = 12


QUICK = Amount(rounds=5, calls=10, large=3, bursts=3)


class Asking(Protocol):
    """A session with the echo server, on whichever way."""

    @property
    def root(self) -> int: ...

    def list_tools(self) -> None: ...

    def call(self, tool: str, arguments: Mapping[str, object]) -> float: ...

    def burst(self, tool: str, arguments: Mapping[str, object], count: int, width: int) -> float: ...

    def end(self) -> None: ...


Way = Callable[[], AbstractContextManager[Asking]]


@dataclass(frozen=True)
class Place:
    """The measured program, and where its children live."""

    program: str
    environ: Mapping[str, str]
    scratch: str

    @property
    def python(self) -> str:
        return os.path.join(os.path.dirname(self.program), "python")


def measure(place: Place, amount: Amount, say: Callable[[str], None]) -> dict[str, Any]:
    """Milliseconds of calls and calls a second, by side and way."""
    found = {}
    for side, ways in (("inside", inside(place)), ("serve", serving(place))):
        say(f"{side}: {', '.join(ways)}")
        found[side] = _samples(ways, amount)
    return {"http": found, "others": VERSIONS}


def _samples(ways: Mapping[str, Way], amount: Amount) -> dict[str, dict[str, list[float]]]:
    kinds = ("call", "medium", "large", "rate")
    found: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in ways} for kind in kinds}
    names = list(ways)
    with ExitStack() as stack:
        asking = {name: stack.enter_context(way()) for name, way in ways.items()}
        for one in asking.values():
            one.list_tools()
            _calls(one, SMALL, 30)
        for name in turns(names, amount.rounds):
            found["call"][name] += _calls(asking[name], SMALL, amount.calls)
        for name in turns(names, amount.rounds):
            found["medium"][name] += _calls(asking[name], MEDIUM, amount.calls)
        large = [name for name in names if _takes(asking[name], LARGE)]
        for name in turns(large, amount.large):
            found["large"][name] += _calls(asking[name], LARGE, 1)
        for name in turns(names, amount.bursts):
            took = asking[name].burst("echo", _message(SMALL), BURST, WIDTH)
            found["rate"][name].append(round(BURST / took, 1))
        found["memory"] = {name: [_held(one)] for name, one in asking.items() if name != "direct"}
    return found


def _held(one: Asking) -> float:
    """MiB of what stands between, after its work; the echo server is not of it."""
    held: Any = memory.below(one.root, (str(HTTP_ECHO), str(STDIO_ECHO)))
    return float(round(held["kib"] / 1024, 1))


def _calls(one: Asking, size: int, count: int) -> list[float]:
    return [round(one.call("echo", _message(size)) * 1000, 4) for _ in range(count)]


def _takes(one: Asking, size: int) -> bool:
    """Whether a message of this size comes through at all; supergateway refuses bodies over 100 kB."""
    try:
        _calls(one, size, 1)
    except Failed:
        return False
    return True


def _message(size: int) -> dict[str, object]:
    return {"message": (WORDS * (size // len(WORDS) + 1))[:size]}


# --- a server that speaks HTTP, a client that speaks stdio ------------------------------------------


def inside(place: Place) -> dict[str, Way]:
    """The ways from stdio to `echo_http.py`."""
    port = free_port()
    ours = (place.program, "run", "--quiet", "--http", str(port), "--", *_listening(place, port))
    super_gateway = (*_supergateway(), "--logLevel", "none", "--streamableHttp")
    proxy = (_mcp_proxy(), "--log-level", "ERROR", "--transport", "streamablehttp")
    return {
        "direct": lambda: _direct_http(place),
        "mcp-sandbox": lambda: _stdio(place, ours),
        "supergateway": lambda: _through(place, super_gateway),
        "mcp-proxy": lambda: _through(place, proxy),
    }


@contextmanager
def _direct_http(place: Place) -> Iterator[Asking]:
    with _echo_http(place) as url, _ended(HttpClient(url)) as client:
        yield client


@contextmanager
def _stdio(place: Place, argv: Sequence[str]) -> Iterator[Asking]:
    with _ended(Client(argv, place.environ, place.scratch, ended_s=3)) as client:
        yield client


@contextmanager
def _through(place: Place, argv: Sequence[str]) -> Iterator[Asking]:
    with _echo_http(place) as url, _stdio(place, (*argv, url)) as client:
        yield client


@contextmanager
def _echo_http(place: Place) -> Iterator[str]:
    with _running(place, _listening(place, 0), says=True) as (first, _):
        yield f"http://127.0.0.1:{first.strip()}/mcp"


def _listening(place: Place, port: int) -> tuple[str, ...]:
    return (place.python, "-I", str(HTTP_ECHO), str(port))


# --- a server that speaks stdio, a client that speaks HTTP ------------------------------------------


def serving(place: Place) -> dict[str, Way]:
    """The ways from HTTP to `echo_server.py`."""
    echo = (place.python, "-I", str(STDIO_ECHO))
    return {
        "direct": lambda: _stdio(place, echo),
        "mcp-sandbox": lambda: _served(place, echo),
        "supergateway": lambda: _behind(place, _as_supergateway(echo)),
        "mcp-proxy": lambda: _behind(place, _as_mcp_proxy(echo)),
        "npm's mcp-proxy": lambda: _behind(place, _as_npm_mcp_proxy(echo)),
    }


@contextmanager
def _served(place: Place, echo: Sequence[str]) -> Iterator[Asking]:
    """By `serve`, with a token, as everybody has it."""
    token, tokens = secrets.token_urlsafe(32), Path(place.scratch, "tokens")
    tokens.touch(mode=0o600)
    tokens.write_text(f"bench {token}\n")
    profile = Path(place.scratch, "echo.toml")
    profile.write_text(f"schema = 1\n[server]\ncommand = {json.dumps([*echo])}\n")
    words = ("--quiet", "--json", "--listen", "127.0.0.1:0", "--token-file", str(tokens), str(profile))
    with _running(place, (place.program, "serve", *words), says=True) as (first, root):
        (url,) = json.loads(first)["urls"].values()
        with _ended(HttpClient(url, token, root)) as client:
            yield client


def _as_supergateway(echo: Sequence[str]) -> Callable[[int], tuple[str, ...]]:
    words = ("--stdio", shlex.join(echo), "--outputTransport", "streamableHttp", "--stateful")
    return lambda port: (*_supergateway(), *words, "--logLevel", "none", "--port", str(port))


def _as_mcp_proxy(echo: Sequence[str]) -> Callable[[int], tuple[str, ...]]:
    return lambda port: (_mcp_proxy(), "--log-level", "ERROR", "--port", str(port), "--", *echo)


def _as_npm_mcp_proxy(echo: Sequence[str]) -> Callable[[int], tuple[str, ...]]:
    words = _npm("mcp-proxy", VERSIONS["npm's mcp-proxy"], "dist/bin/mcp-proxy.mjs")
    return lambda port: (
        *words,
        "--server",
        "stream",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--",
        *echo,
    )


@contextmanager
def _behind(place: Place, argv: Callable[[int], tuple[str, ...]]) -> Iterator[Asking]:
    port = free_port()
    with _running(place, argv(port), says=False) as (_, root):
        _wait(port)
        with _ended(HttpClient(f"http://127.0.0.1:{port}/mcp", root=root)) as client:
            yield client


# --- processes ------------------------------------------------------------------------------------


@contextmanager
def _running(place: Place, argv: Sequence[str], *, says: bool) -> Iterator[tuple[str, int]]:
    """A process: its first line, where it says one, and its pid."""
    out = subprocess.PIPE if says else subprocess.DEVNULL
    with subprocess.Popen(  # noqa: S603 - the measured command
        argv, env=dict(place.environ), cwd=place.scratch, stdin=subprocess.DEVNULL, stdout=out,
        stderr=subprocess.DEVNULL,
    ) as running:  # fmt: skip
        try:
            first = running.stdout.readline().decode() if running.stdout else ""
            if says and not first:
                raise Failed(f"{shlex.join(argv)}: it did not start")
            yield first, running.pid
        finally:
            running.terminate()
            with suppress(subprocess.TimeoutExpired):
                running.wait(10)
            running.kill()


@contextmanager
def _ended(one: Asking) -> Iterator[Asking]:
    try:
        yield one
    finally:
        one.end()


def _wait(port: int) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise Failed(f"nobody listens on port {port}")


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# --- the others, in versions of our choice -----------------------------------------------------------


def _supergateway() -> tuple[str, str]:
    return _npm("supergateway", VERSIONS["supergateway"], "dist/index.js")


def _npm(package: str, version: str, program: str) -> tuple[str, str]:
    """node, and what it runs of a package in a place of its own."""
    place = subjects.cache() / f"{package}-{version}"
    entry = place / "node_modules" / package / program
    if not entry.exists():
        place.mkdir(parents=True, exist_ok=True)
        quiet = ("--silent", "--no-audit", "--no-fund", "--ignore-scripts", f"--prefix={place}")
        install = ("npm", "install", *quiet, f"{package}@{version}")
        subprocess.run(install, check=True, timeout=600)  # noqa: S603 - our own words
    return str(shutil.which("node")), str(entry)


def _mcp_proxy() -> str:
    place = subjects.cache() / "mcp-proxy"
    entry = place / "bin" / "mcp-proxy"
    if not entry.exists():
        subprocess.run((sys.executable, "-m", "venv", str(place)), check=True, timeout=120)  # noqa: S603
        wanted = f"mcp-proxy=={VERSIONS['mcp-proxy']}"
        install = (str(place / "bin" / "python"), "-m", "pip", "install", "-q", "--no-input", wanted)
        subprocess.run(install, check=True, timeout=600, stderr=subprocess.DEVNULL)  # noqa: S603
    return str(entry)
