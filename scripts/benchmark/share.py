"""`share.py`: what each inspector, and the reading of frames, costs at each size; one JSON document.

Run by the measured program's own interpreter. Every frame has an id of its own, as on the way
through the relay; microseconds, both ways.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Not this folder: its `numbers` would be taken for the library's.
sys.path[0] = str(HERE.parent)

from fuzzing.inspectors import made  # noqa: E402 - beside this folder, which is no package
from fuzzing.stage import Stage  # noqa: E402

from sandbox.inspect.judged import Asked, Inspector, Judged  # noqa: E402
from sandbox.wire.jsonrpc import Frame, FrameReader  # noqa: E402

SIZES = {"200 B": (200, 2000), "4 KiB": (4096, 500), "1 MiB": (1 << 20, 12)}
"""The text's length, and how many calls are timed."""
_WORDS = "The file was read and has 14 lines; the first of them says what the others are for. "
_TOOL = {"name": "echo", "description": "Says it again.", "inputSchema": {
    "type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}}  # fmt: skip


class Timed:
    """An inspector whose calls are timed, each way."""

    def __init__(self, inner: Inspector) -> None:
        self.inner, self.name = inner, inner.name
        self.took: dict[str, list[float]] = {"to-server": [], "to-client": []}

    def to_server(self, frame: Frame, asked: None = None) -> Judged | None:
        """Of a message of the client's."""
        began = time.perf_counter()
        judged = self.inner.to_server(frame)
        self.took["to-server"].append(time.perf_counter() - began)
        return judged

    def to_client(self, frame: Frame, asked: Asked | None) -> Judged | None:
        """Of a message of the server's."""
        began = time.perf_counter()
        judged = self.inner.to_client(frame, asked)
        self.took["to-client"].append(time.perf_counter() - began)
        return judged


def main() -> None:
    """Writes size -> part -> way -> microseconds, all samples."""
    sys.stdout.write(json.dumps({name: shares(*size) for name, size in SIZES.items()}) + "\n")


def shares(length: int, calls: int) -> dict[str, dict[str, list[float]]]:
    """Of one size; `frames` is what reading costs before any inspector."""
    timed = [Timed(one) for one in made("default")]
    stage = Stage(timed)
    for side, message in _opening():
        stage.say(side, _read(message)[0])
    for one in timed:
        for took in one.took.values():
            took.clear()
    reading: dict[str, list[float]] = {"to-server": [], "to-client": []}
    for id in range(10, 10 + calls):
        for way, side, message in _call(id, (_WORDS * (length // len(_WORDS) + 1))[:length]):
            frame, took = _read(message)
            reading[way].append(took)
            if stage.say(side, frame) is not frame:
                raise AssertionError(f"an honest message was changed or withheld: {stage.sent.events[-1:]}")
    return {"frames": _micro(reading), **{one.name: _micro(one.took) for one in timed}}


def _micro(took: dict[str, list[float]]) -> dict[str, list[float]]:
    return {way: [round(1e6 * one, 2) for one in samples] for way, samples in took.items()}


def _opening() -> list[tuple[Any, dict[str, Any]]]:
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    }
    about = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "echo", "version": "1"},
    }
    return [
        ("client", {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}),
        ("server", {"jsonrpc": "2.0", "id": 0, "result": about}),
        ("client", {"jsonrpc": "2.0", "method": "notifications/initialized"}),
        ("client", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
        ("server", {"jsonrpc": "2.0", "id": 1, "result": {"tools": [_TOOL]}}),
    ]


def _call(id: int, text: str) -> list[tuple[str, Any, dict[str, Any]]]:
    params = {"name": "echo", "arguments": {"message": text}}
    result = {"content": [{"type": "text", "text": text}]}
    return [
        ("to-server", "client", {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}),
        ("to-client", "server", {"jsonrpc": "2.0", "id": id, "result": result}),
    ]


def _read(message: dict[str, Any]) -> tuple[Frame, float]:
    line = json.dumps(message).encode() + b"\n"
    reader: Callable[[bytes], list[Any]] = FrameReader().feed
    began = time.perf_counter()
    (frame,) = reader(line)
    return frame, time.perf_counter() - began


main()
