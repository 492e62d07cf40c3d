"""What a session with the server consists of, and the headers that say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.bridge.envelope import Message, modern_version, whole
from sandbox.bridge.http import Headers
from sandbox.bridge.words import Failed
from sandbox.wire import mcp_headers

EITHER = ("Accept", "application/json, text/event-stream")
STREAM = ("Accept", "text/event-stream")
TOOLS_MAX = 4096
TOOL_MAX = 4096
"""Characters of a tool's name and of the ways to its arguments in headers, for it to be remembered."""
_MARK = mcp_headers.VERSION_KEY.encode()
_VERSION_MAX = 64


class Session:
    """Of the revisions with `initialize`: the id and the revision that the server has given."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.version: str | None = None
        self.post_headers: Headers = (EITHER,)

    def begin(self) -> None:
        """Before `initialize`: nothing is agreed yet."""
        self.id = self.version = None
        self._agree()

    def take_id(self, fields: Mapping[str, str]) -> None:
        """What the head of the answer to `initialize` says."""
        given = fields.get("mcp-session-id")
        if given is None:
            return
        if not mcp_headers.is_session_id(given):
            raise Failed("the server's `Mcp-Session-Id` is not visible ASCII of a length that can be borne")
        self.id = given
        self._agree()

    def take_version(self, version: str | None) -> None:
        """What the answer itself says; goes with every later request (MCP 2025-06-18, Transports)."""
        if version is not None and version.isascii() and version.isprintable():
            self.version = version[:_VERSION_MAX].strip() or None
            self._agree()

    def stream_headers(self, last_id: str) -> Headers:
        """For a stream of the server's own, from behind the event of that id."""
        last = (("Last-Event-ID", last_id),) if last_id else ()
        return (STREAM, *self.post_headers[1:], *last)

    def _agree(self) -> None:
        given = ((mcp_headers.SESSION, self.id), (mcp_headers.VERSION, self.version))
        self.post_headers = (EITHER, *((name, value) for name, value in given if value is not None))


class Stateless:
    """Of the revisions without: what a message says is said again in headers."""

    def __init__(self) -> None:
        self.version = ""
        """What the last request has named; a notification may not."""
        self._tools: dict[str, tuple[mcp_headers.Param, ...]] = {}

    def is_modern(self, message: Message) -> bool:
        """Whether this message is of the stateless era."""
        return _MARK in message.line and mcp_headers.is_modern(modern_version(message.line))

    def headers(self, message: Message) -> Headers:
        """For one POST."""
        tree = whole(message.line)
        self.version = mcp_headers.version_of(tree) or self.version
        params = tree.get("params")
        tool = params.get("name") if message.method == "tools/call" and isinstance(params, dict) else None
        wanted = self._tools.get(tool, ()) if isinstance(tool, str) else ()
        return (EITHER, *mcp_headers.headers_for(tree, wanted, self.version))

    def learn(self, answer: Message) -> None:
        """From an answer to `tools/list`: the arguments that go into headers too."""
        result = whole(answer.line).get("result")
        tools = result.get("tools") if isinstance(result, dict) else None
        for tool in tools if isinstance(tools, list) else ():
            if isinstance(tool, dict) and isinstance(tool.get("name"), str):
                self._keep(tool["name"], tool)

    def _keep(self, name: str, tool: dict[str, Any]) -> None:
        try:
            wanted = mcp_headers.tool_params_of(tool)
        except mcp_headers.Malformed:
            wanted = ()
        self._tools.pop(name, None)
        size = len(name) + sum(len(step) for param in wanted for step in param.path)
        if wanted and len(self._tools) < TOOLS_MAX and size <= TOOL_MAX:
            self._tools[name] = wanted
