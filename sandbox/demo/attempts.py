"""The rows of the demo: what is tried, and how the world shows whether it worked."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sandbox.demo.canaries import ENGINE_QUESTION, VARIABLE, World, proof, readable
from sandbox.records import dataclass

Ask = dict[str, Any]
Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row. `reached` gives what the world shows after the probe, or nothing where it shows nothing."""

    id: str
    tried: str
    act: str
    ask: Callable[[str], Ask]
    reached: Callable[[str, Ask, Report], str]
    missed: str


def attempts(world: World) -> list[Attempt]:
    """Every row, in the order of the table: files, processes, network, engine."""
    return [*_files(world), *_processes(world), *_network(world), _engine(world)]


def _files(world: World) -> list[Attempt]:
    shadow = readable("/etc/shadow")
    token = world.token.encode()

    def home(side: str) -> str:
        return f"{world.private}/from-{side}"

    return [
        Attempt(
            "ssh", f"read {world.key.name}", "read", lambda _: {"path": world.key.path},
            _same(world.key.data, f"read, all {len(world.key.data or b'')} bytes"), "",
        ),
        Attempt(
            "shadow", "read /etc/shadow", "read", lambda _: {"path": "/etc/shadow"},
            _same(shadow, f"read, all {len(shadow or b'')} bytes"), "",
        ),
        Attempt(
            "environ", "find a token of yours", "environ", lambda _: {"variable": VARIABLE},
            _same(token, "found"), "not found",
        ),
        Attempt(
            "home", "write into your home", "write",
            lambda side: {"path": home(side), "content": world.token},
            lambda side, *_: "the file is there" if os.path.exists(home(side)) else "", "nothing written",
        ),
        Attempt(
            "change", "change a read-only file", "write",
            lambda side: {"path": world.changed(side), "content": world.token},
            lambda side, *_: "changed" if world.token in Path(world.changed(side)).read_text() else "",
            "unchanged",
        ),
    ]  # fmt: skip


def _processes(world: World) -> list[Attempt]:
    def seen(_side: str, ask: Ask, report: Report) -> str:
        if proof(ask["nonce"], world.token.encode()) not in _proofs(report):
            return ""
        return f"sees {report.get('count', '?')}, ours too"

    return [
        Attempt(
            "processes", "see other processes", "processes", lambda _: {}, seen, "only its own"
        ),
        Attempt(
            "kill", "end another process", "kill", lambda side: {"pid": world.victims[side].pid},
            lambda side, *_: "" if world.alive(side) else "ended", "it lives",
        ),
    ]  # fmt: skip


def _network(world: World) -> list[Attempt]:
    def payload(side: str) -> bytes:
        return f"{world.token} from {side}".encode()

    def query(side: str) -> bytes:
        return dns_query(f"{world.token}.{side}.mcp-sandbox-demo.invalid")

    def to(port: int, data: Callable[[str], bytes]) -> Callable[[str], Ask]:
        return lambda side: {"host": "127.0.0.1", "port": port, "payload": data(side).hex()}

    def asked(side: str, *_: object) -> str:
        return "resolver asked" if world.udp.received(query(side)) else ""

    def arrived(side: str, *_: object) -> str:
        count = world.tcp.received(payload(side))
        return f"{count} bytes arrived" if count else ""

    return [
        Attempt(
            "dns", "resolve a name", "datagram", to(world.udp.port, query), asked, "not asked"
        ),
        Attempt(
            "connect", "connect out and send", "connect", to(world.tcp.port, payload), arrived,
            "0 bytes",
        ),
    ]  # fmt: skip


def _engine(world: World) -> Attempt:
    engine = world.engine

    def words(side: str) -> bytes:
        return ENGINE_QUESTION if engine.sink is None else f"{world.token} from {side}".encode()

    def reached(side: str, ask: Ask, report: Report) -> str:
        if engine.sink is None:
            return "it answered" if proof(ask["nonce"], engine.answer) in _proofs(report) else ""
        return "reached" if engine.sink.received(words(side)) else ""

    return Attempt(
        "engine", f"Docker's socket ({engine.name})", "unix",
        lambda side: {"path": engine.path, "payload": words(side).hex(), "answers": engine.sink is None},
        reached, "",
    )  # fmt: skip


def _same(data: bytes | None, shown: str) -> Callable[[str, Ask, Report], str]:
    """Reached where the very bytes came back; what the user cannot read cannot come back."""

    def reached(_side: str, ask: Ask, report: Report) -> str:
        return shown if data and proof(ask["nonce"], data) in _proofs(report) else ""

    return reached


def _proofs(report: Report) -> list[Any]:
    proofs = report.get("proofs")
    return proofs if isinstance(proofs, list) else []


def dns_query(name: str) -> bytes:
    """A question for the A record of `name` (RFC 1035 4.1), as a stub resolver sends it."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 0x4D43, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
