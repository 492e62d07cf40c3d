"""Frames as they come from the wire, for tests of inspectors."""

from __future__ import annotations

from typing import Any

from sandbox.inspect.judged import Judged
from sandbox.verdict import Action
from sandbox.wire.jsonrpc import Frame, FrameReader
from sandbox.wire.structs import msgspec

META = "io.modelcontextprotocol/"
MODERN_META = {f"{META}protocolVersion": "2026-07-28", f"{META}clientCapabilities": {}}
IMPLEMENTATION = {"name": "a", "version": "1"}


def framed(message: dict[str, Any]) -> Frame:
    (frame,) = FrameReader(1 << 30).feed(msgspec.json.encode(message) + b"\n")
    assert isinstance(frame, Frame), frame
    return frame


def spelt(line: str) -> Frame:
    """The frame of a line as it is written."""
    (frame,) = FrameReader().feed(line.encode() + b"\n")
    assert isinstance(frame, Frame), frame
    return frame


def request(id: int | str, method: str, /, **params: Any) -> Frame:
    return framed({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def result(id: int | str, /, **value: Any) -> Frame:
    return framed({"jsonrpc": "2.0", "id": id, "result": value})


def note(method: str, /, **params: Any) -> Frame:
    return framed({"jsonrpc": "2.0", "method": method, "params": params})


def said(judged: Judged | None) -> tuple[str, list[str]]:
    """The action and the rules, as words; of what nothing is said, nothing."""
    if judged is None:
        return "", []
    return judged.verdict.action.value, [finding.rule for finding in judged.findings]


def refused(judged: Judged | None) -> str:
    """The rule by which a message was kept back; empty where it was not."""
    return judged.verdict.rule if judged is not None and judged.verdict.action is Action.DENY else ""
