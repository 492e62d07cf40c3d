"""Calls that a person has allowed and whose server wants more of the client first (P).

Such a call comes again with what was wanted (MCP 2026-07-28, MRTR): it is the same call, and nobody is asked
about it twice.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from sandbox.digest import sha256
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.salvage import Id
from sandbox.wire.structs import msgspec

MOST: Final = 256


class Granted:
    """Which open calls were allowed, and which of them may come again; each once."""

    def __init__(self) -> None:
        self._open: OrderedDict[Id, tuple[bytes, int]] = OrderedDict()
        self._again: OrderedDict[bytes, int] = OrderedDict()

    def note(self, frame: Frame, at: int) -> None:
        """A call was allowed after the inspector at `at` had asked."""
        if frame.method == "tools/call":
            self._open[frame.id] = (_call(frame), at)
            if len(self._open) > MOST:
                self._open.popitem(last=False)

    def answered(self, frame: Frame) -> None:
        """An answer of the server's; if it wants more of the client first, the call may come again."""
        if not self._open or (found := self._open.pop(frame.id, None)) is None:
            return
        state = frame.message.get("result", {}).get("requestState")
        if type(state) is str:
            call, at = found
            self._again[_with(call, state)] = at
            if len(self._again) > MOST:
                self._again.popitem(last=False)

    def goes_on(self, frame: Frame) -> int | None:
        """The inspector that need not ask, where the call is one that may come again."""
        state = frame.message.get("params", {}).get("requestState")
        if not self._again or type(state) is not str or frame.method != "tools/call":
            return None
        call = _call(frame)
        at = self._again.pop(_with(call, state), None)
        if at is not None:
            self._open[frame.id] = (call, at)
        return at


def _call(frame: Frame) -> bytes:
    params: dict[str, Any] = frame.message.get("params", {})
    said = [params.get("name"), params.get("arguments")]
    return sha256(msgspec.json.encode(said, order="sorted")).digest()


def _with(call: bytes, state: str) -> bytes:
    return sha256(call + state.encode()).digest()
