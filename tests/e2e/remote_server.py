"""A remote MCP server over TLS for tests: the Python SDK's, and around it what a hostile one would do.

Started as a program of its own: `remote_server.py DIRECTORY WORDS…`; says its port on stdout, and writes
every request's head into DIRECTORY/requests.jsonl, a line each, before anything is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
from mcp import types
from mcp.server.lowlevel import Server

Scope = MutableMapping[str, Any]
Call = Callable[..., Awaitable[Any]]


async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
    """One tool."""
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    tool = types.Tool(name="echo", description="Says the text again", input_schema=schema)
    return types.ListToolsResult(tools=[tool])


async def call_tool(_context: Any, params: Any) -> types.CallToolResult:
    """The text, as it came."""
    text = (params.arguments or {}).get("text", "")
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


class Around:
    """Writes down who asks, and answers some paths in the server's place."""

    def __init__(self, app: Any, log: Path, args: argparse.Namespace) -> None:
        self._app = app
        self._file = log.open("a", buffering=1)
        self._args = args

    async def __call__(self, scope: Scope, receive: Call, send: Call) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode()
        self._file.write(json.dumps({"path": scope["path"], "query": query, "headers": headers}) + "\n")
        refused = self._args.token and headers.get("authorization") != f"Bearer {self._args.token}"
        if refused:
            await answer(send, 401, ("www-authenticate", 'Bearer realm="test"'))
        elif self._args.redirect and scope["path"] == "/mcp":
            await answer(send, self._args.status, ("location", self._args.redirect))
        else:
            await self._app({**scope, "path": "/mcp", "raw_path": b"/mcp"}, receive, send)


async def answer(send: Call, status: int, *headers: tuple[str, str]) -> None:
    """An answer without a body."""
    pairs = [(name.encode(), value.encode()) for name, value in (*headers, ("content-length", "0"))]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": b""})


def main() -> None:
    """Serves until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--chain", help="certificate and key (PEM)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", help="which a request has to have")
    parser.add_argument("--redirect", metavar="URL", help="where `/mcp` is said to be")
    parser.add_argument("--status", type=int, default=307)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    made: Any = Server("remote", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    app = made.streamable_http_app(json_response=args.json, host="0.0.0.0")  # noqa: S104 - no check of Host
    around = Around(app, args.directory / "requests.jsonl", args)
    tls = {"ssl_certfile": args.chain, "ssl_version": ssl.PROTOCOL_TLS_SERVER} if args.chain else {}
    config = uvicorn.Config(around, log_level="error", lifespan="on", timeout_graceful_shutdown=1, **tls)
    with socket.create_server((args.host, args.port)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
