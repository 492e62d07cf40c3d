"""What the way out costs: one server run directly, one in the sandbox, one through a bare relay, interleaved.

All are alive at once and talk to the same target on loopback.
Also whole starts with and without allowed hosts, the parts of the trap, and what the gateway holds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from benchmark import memory
from benchmark.client import Client, Failed
from benchmark.measure import turns
from benchmark.subjects import HERE

NAME = "example.org"
"""Allowed and looked up; nobody outside is ever asked, since nothing connects to it."""
WAYS = ("direct", "relayed", "sandboxed")
Samples = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Amount:
    """How many rounds, and what each holds."""

    rounds: int
    starts: int
    connections: int = 100
    handshakes: int = 20
    lookups: int = 50
    size: int = 256 << 20
    held: int = 500


QUICK = Amount(rounds=3, starts=3, connections=30, handshakes=5, lookups=20, size=32 << 20)


@dataclass(frozen=True)
class Place:
    """What every part of the run is started with."""

    program: str
    before: str | None
    environ: Mapping[str, str]
    scratch: str

    @property
    def python(self) -> str:
        """The program's own interpreter."""
        return os.path.join(os.path.dirname(self.program), "python")

    def client(self, *argv: str) -> Client:
        """A server that runs until it is ended; what a program remembers of hosts and policies is its own."""
        cache = f"{self.scratch}/cache-{'before' if argv[0] == self.before else 'ours'}"
        return Client(argv, {**self.environ, "XDG_CACHE_HOME": cache}, self.scratch)

    def script(self, name: str) -> str:
        """A script beside this one."""
        return str(HERE / name)


def measure(place: Place, amount: Amount, say: Callable[[str], None]) -> dict[str, Any]:
    """Every sample of a run, by kind and variant."""
    pair = certificate(place.scratch)
    skipped = [] if pair else ["TLS: there is no `openssl` to make a certificate with"]
    for one in skipped:
        say(f"NOT MEASURED: {one}")
    with target(place, pair) as ports:
        say(f"{amount.rounds} rounds of connections, bulk and lookups")
        way = ways(place, amount, ports)
        say(f"{amount.starts} starts of each")
        start, parts = starts(place, amount)
        say(f"memory, with {amount.held} connections too")
        held = memories(place, amount, ports)
    return {"way": way, "start_ms": start, "parts_ms": parts, "memory": held, "skipped": skipped}


# --- the target ---------------------------------------------------------------------------------------


def certificate(scratch: str) -> list[str]:
    """A certificate for `localhost` and its key; empty where there is nothing to make them with."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return []
    found = [f"{scratch}/certificate.pem", f"{scratch}/key.pem"]
    subprocess.run(  # noqa: S603 - our own words
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-out", found[0], "-keyout", found[1]],
        check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    return found


@contextmanager
def target(place: Place, pair: list[str]) -> Iterator[dict[str, int]]:
    """The ports of a running target: `raw`, and `tls` where there is a certificate."""
    with helper(place, "traffic_target.py", *pair) as ports:
        yield ports


@contextmanager
def relay(place: Place, ports: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """The same ports behind a relay that does nothing but copy."""
    with helper(place, "bare_relay.py", *map(str, ports.values())) as found:
        yield dict(zip(ports, found, strict=True))


@contextmanager
def helper(place: Place, name: str, *words: str) -> Iterator[Any]:
    """What a helper says once it listens; it ends with its standard input."""
    argv = [place.python, "-I", place.script(name), *words]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own
    with child:
        assert child.stdin is not None  # noqa: S101 - PIPE above
        assert child.stdout is not None  # noqa: S101 - PIPE above
        line = child.stdout.readline()
        if not line:
            raise Failed(f"{name} did not start")
        yield json.loads(line)
        child.stdin.close()


# --- the way out --------------------------------------------------------------------------------------


def server(place: Place, ports: Mapping[str, int]) -> list[str]:
    """The command line of the server that measures."""
    return [place.python, "-I", place.script("traffic_server.py"), *map(str, ports.values())]


def ways(place: Place, amount: Amount, ports: Mapping[str, int]) -> Samples:
    """Interleaved: in each round every kind by both ways, beginning with another one each time."""
    direct = server(place, ports)
    allowed = [f"localhost:{port}" for port in ports.values()] + [NAME]
    options = [word for one in allowed for word in ("--allow-net", one)]
    kinds = asked(amount, tls="tls" in ports)
    found: Samples = {kind: {way: [] for way in WAYS} for kind in kinds}
    with ExitStack() as stack:
        relayed = stack.enter_context(relay(place, ports))
        clients = {
            "direct": place.client(*direct),
            "relayed": place.client(*server(place, relayed)),
            "sandboxed": place.client(place.program, "run", *options, "--", *direct),
        }
        for one in clients.values():
            stack.callback(one.end)
            one.found("connect", count=20)
        for way in turns(list(clients), amount.rounds):
            for kind, (tool, arguments) in kinds.items():
                found[kind][way] += clients[way].found(tool, **arguments)
        # The host's own resolver would be asked for more than an answer of our own: there is no direct way.
        looked = clients["sandboxed"].found("look_up", count=amount.rounds * amount.lookups, name=NAME)
    return {**found, "lookup": {"sandboxed": looked}}


def asked(amount: Amount, *, tls: bool) -> dict[str, tuple[str, dict[str, object]]]:
    """Kind -> the tool and its arguments."""
    found: dict[str, tuple[str, dict[str, object]]] = {}
    for suffix, more in (("", {}), ("-tls", {"tls": True})) if tls else (("", {}),):
        count = amount.handshakes if more else amount.connections
        found[f"connect{suffix}"] = ("connect", {"count": count, **more})
        for way in ("download", "upload"):
            found[f"{way}{suffix}"] = (way, {"size": amount.size, **more})
    return found


# --- the start ----------------------------------------------------------------------------------------


def starts(place: Place, amount: Amount) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds to the `initialize` result of the echo server, and those of the trap's parts."""
    direct = (place.python, "-I", place.script("echo_server.py"))
    run = (place.program, "run")
    variants = {
        "nothing allowed": (*run, "--", *direct),
        "a host": (*run, "--allow-net", NAME, "--", *direct),
    }
    if place.before:
        variants["before"] = (place.before, "run", "--", *direct)
    found: dict[str, list[float]] = {name: [] for name in variants}
    parts: dict[str, list[float]] = {}
    for number, name in enumerate(turns(list(variants), amount.starts + 1)):
        client = place.client(*variants[name])
        client.end()
        # The first of each variant warms up.
        if number >= len(variants):
            found[name].append(round(client.start_s * 1000, 4))
            if name == "a host":
                _add(parts, _trap(place))
    return found, parts


def _trap(place: Place) -> dict[str, list[float]]:
    argv = [place.python, "-I", place.script("trap_cost.py"), "3"]
    done = subprocess.run(  # noqa: S603 - our own
        argv, env=dict(place.environ), capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise Failed(f"trap_cost.py: {done.stderr[-300:]}")
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def _add(to: dict[str, list[float]], more: Mapping[str, list[float]]) -> None:
    for name, samples in more.items():
        to.setdefault(name, []).extend(round(one, 4) for one in samples)


# --- memory -------------------------------------------------------------------------------------------


def memories(place: Place, amount: Amount, ports: Mapping[str, int]) -> dict[str, dict[str, object]]:
    """Measured alone, so that no second copy of ours shares its pages, after some calls."""
    echo = ("--", place.python, "-I", place.script("echo_server.py"))
    traffic = ("--allow-net", f"localhost:{ports['raw']}", "--", *server(place, {"raw": ports["raw"]}))
    return {
        "nothing allowed": _held(place, *echo),
        "a host, not used yet": _held(place, "--allow-net", NAME, *echo),
        "a host, used": _held(place, *traffic, connections=20),
        f"{amount.held} connections": _held(place, *traffic, held=amount.held),
    }


def _held(place: Place, *words: str, connections: int = 0, held: int = 0) -> dict[str, object]:
    client = place.client(place.program, "run", *words)
    try:
        if connections or held:
            client.found("connect", count=connections)
            client.found("hold", count=held)
        else:
            for _ in range(20):
                client.call("echo", {"message": "x" * 200})
        return memory.own(client.child.pid)
    finally:
        client.end()
