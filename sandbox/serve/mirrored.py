"""Whether a request's `Mcp-*` headers say what its body says, the arguments of a tool included.

Which arguments those are only the server's own list of tools tells: it is asked once, before the first call
of a tool, and again where a header disagrees. A server that does not list is not judged by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from sandbox.serve.heard import Heard
from sandbox.wire import mcp_headers
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.mcp_headers import Malformed, Param

PAGES, TOOLS = 100, 4096
LIST_S = 10.0
_LIST, _CALL = "tools/list", "tools/call"
_MARK = b"x-mcp-header"
_PARAM = mcp_headers.PARAM.lower()


class Mirrored:
    """What is known of one server's tools; `ask` sends a request of ours and returns its number."""

    def __init__(self, ask: Callable[[Mapping[str, object]], int]) -> None:
        self._ask = ask
        self._waiting: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
        self._params: dict[str, tuple[Param, ...]] = {}
        self._is_known = False
        self._lock = asyncio.Lock()

    async def differs(self, headers: Mapping[str, str], frame: Frame) -> str | None:
        """Why the headers do not say what the message says; None if they do."""
        why = mcp_headers.mismatch(headers, frame.message)
        if why is not None or not _has_arguments(headers, frame):
            return why
        fresh = not self._is_known
        if fresh:
            await self._learn(frame)
        why = self._judge(headers, frame)
        if why is not None and not fresh:
            # The list may have changed since.
            self._is_known = False
            await self._learn(frame)
            why = self._judge(headers, frame)
        return why

    def saw(self, method: str, heard: Heard) -> None:
        """A client's own listing is news too."""
        if method == _LIST and (self._params or _MARK in heard.data) and (result := heard.result):
            _read(result, self._params)

    def answered(self, number: int, heard: Heard) -> bool:
        """Whether this is the answer to a request of ours."""
        waiting = self._waiting.pop(number, None) if heard.kind == "response" else None
        if waiting is None:
            return False
        if not waiting.done():
            waiting.set_result(heard.result)
        return True

    def lost(self) -> None:
        """No answer comes any more."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def _judge(self, headers: Mapping[str, str], frame: Frame) -> str | None:
        return mcp_headers.mismatch(headers, frame.message, self._params.get(frame.tool or ""))

    async def _learn(self, frame: Frame) -> None:
        async with self._lock:
            if self._is_known:
                return
            params: dict[str, tuple[Param, ...]] = {}
            with suppress(TimeoutError):
                async with asyncio.timeout(LIST_S):
                    await self._pages(frame, params)
            self._params, self._is_known = params, True

    async def _pages(self, frame: Frame, params: dict[str, tuple[Param, ...]]) -> None:
        """Read all pages, in the words of the client that makes it necessary."""
        meta = {
            name: value for name, value in frame.message["params"]["_meta"].items() if name != "progressToken"
        }
        cursor: object = None
        for _ in range(PAGES):
            more = {} if cursor is None else {"cursor": cursor}
            result = await self._answer({"method": _LIST, "params": {"_meta": meta, **more}})
            if result is None:
                return
            _read(result, params)
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str):
                return

    async def _answer(self, request: Mapping[str, object]) -> dict[str, Any] | None:
        number = self._ask(request)
        waiting: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            return await waiting
        finally:
            self._waiting.pop(number, None)


def _has_arguments(headers: Mapping[str, str], frame: Frame) -> bool:
    if frame.method != _CALL:
        return False
    params = frame.message.get("params", {})
    return bool(params.get("arguments")) or any(name.startswith(_PARAM) for name in headers)


def _read(result: dict[str, Any], into: dict[str, tuple[Param, ...]]) -> None:
    """Take the tools of one page; one that follows no rule has no headers that could be judged."""
    tools = result.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        name = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(name, str):
            continue
        into.pop(name, None)
        with suppress(Malformed):
            if len(into) < TOOLS and (found := mcp_headers.tool_params_of(tool)):
                into[name] = found
