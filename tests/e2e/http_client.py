"""An MCP client over HTTP on the Python SDK, first or second generation: plays a script as client.py does.

Its one argument is the script (JSON: `url`, `token`, `era`, `roots`, `calls`), its stdout one document.
"""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack
from typing import Any

import anyio
from client import SERVER_PATIENCE_S, Seen, converse
from mcp import ClientSession


async def opened(script: dict[str, Any], seen: Seen, stack: AsyncExitStack) -> Any:
    """A session in the era that the script names."""
    headers = {"Authorization": f"Bearer {script['token']}"}
    if script["generation"] == 1:
        from mcp.client.streamable_http import streamablehttp_client

        streams = await stack.enter_async_context(streamablehttp_client(script["url"], headers=headers))
    else:
        import httpx2
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client

        patience = httpx2.Timeout(30, read=300)
        http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=patience))
        transport = streamable_http_client(script["url"], http_client=http)
        mode = script["era"]
        return await stack.enter_async_context(Client(transport, mode=mode, **seen.callbacks()))
    session = ClientSession(*streams[:2], **seen.callbacks())
    await stack.enter_async_context(session)
    await session.initialize()
    return session


async def play(script: dict[str, Any]) -> dict[str, Any]:
    """The whole conversation, ended as the SDK ends it."""
    seen = Seen(script["roots"])
    with anyio.fail_after(SERVER_PATIENCE_S):
        async with AsyncExitStack() as stack:
            return await converse(script, await opened(script, seen, stack), seen)


if __name__ == "__main__":
    json.dump(anyio.run(play, json.loads(sys.argv[1])), sys.stdout)
