"""An MCP client on the Python SDK, first or second generation: plays one script, prints what it saw.

Started as a program of its own, by the python of either generation and by either caller. Its one
argument is the script (JSON), its stdout one JSON document.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import AsyncExitStack
from typing import Any

import anyio
from mcp import ClientSession, StdioServerParameters, stdio_client, types

SERVER_PATIENCE_S = 50


class Seen:
    """What reached the client."""

    def __init__(self, roots: list[str]) -> None:
        self.roots = roots
        self.roots_asked = 0
        self.progress: list[float] = []

    async def list_roots(self, _context: Any) -> types.ListRootsResult:
        """Answers the server's own request."""
        self.roots_asked += 1
        roots: list[Any] = [{"uri": f"file://{root}"} for root in self.roots]
        return types.ListRootsResult.model_validate({"roots": roots})

    async def sample(self, _context: Any, params: Any) -> types.CreateMessageResult:
        """Stands for a model: says back what it was asked."""
        asked = params.messages[0].content
        text = types.TextContent(type="text", text=f"a model was asked: {getattr(asked, 'text', asked)}")
        return types.CreateMessageResult(role="assistant", content=text, model="none")

    async def elicit(self, _context: Any, _params: Any) -> types.ElicitResult:
        """Stands for a person, who declines."""
        return types.ElicitResult(action="decline")

    def callbacks(self) -> dict[str, Any]:
        """What a session is given to answer a server's requests."""
        return {
            "list_roots_callback": self.list_roots,
            "sampling_callback": self.sample,
            "elicitation_callback": self.elicit,
        }

    async def on_progress(self, progress: float, _total: float | None, _message: str | None) -> None:
        """Notes one notification of progress."""
        self.progress.append(progress)


def plain(model: Any) -> dict[str, Any]:
    """The message as it is on the wire."""
    dumped: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped


async def converse(script: dict[str, Any], session: Any, seen: Seen) -> dict[str, Any]:
    """Lists the tools, makes the calls one after the other."""
    tools = await session.list_tools()
    calls = []
    for name, arguments in script["calls"]:
        calls.append(plain(await session.call_tool(name, arguments, progress_callback=seen.on_progress)))
    return {
        "tools": [plain(tool) for tool in tools.tools],
        "calls": calls,
        "progress": seen.progress,
        "roots_asked": seen.roots_asked,
    }


async def opened(script: dict[str, Any], seen: Seen, errlog: Any, stack: AsyncExitStack) -> Any:
    """A session in the era that the script names: `legacy` opens with initialize, `auto` discovers first."""
    parameters = StdioServerParameters(
        command=script["argv"][0], args=script["argv"][1:], env=script["env"], cwd=script["cwd"]
    )
    if script["era"] == "auto":
        from mcp import Client

        transport = stdio_client(parameters, errlog=errlog)
        return await stack.enter_async_context(Client(transport, **seen.callbacks()))
    streams = await stack.enter_async_context(stdio_client(parameters, errlog=errlog))
    session = ClientSession(*streams, **seen.callbacks())
    await stack.enter_async_context(session)
    await session.initialize()
    return session


async def play(script: dict[str, Any]) -> dict[str, Any]:
    """The whole conversation, ended as the SDK ends it; stderr is told even where it fails."""
    seen, found = Seen(script["roots"]), {}
    with tempfile.TemporaryFile("w+") as errlog:
        try:
            with anyio.fail_after(SERVER_PATIENCE_S):
                async with AsyncExitStack() as stack:
                    session = await opened(script, seen, errlog, stack)
                    found = await converse(script, session, seen)
                    found["version"] = str(getattr(session, "protocol_version", ""))
        except* anyio.BrokenResourceError:
            # The first generation falls over a message that arrives while it closes, from any server.
            if not found:
                raise
        finally:
            errlog.seek(0)
            found["stderr"] = errlog.read()
            sys.stderr.write(found["stderr"])
        return found


if __name__ == "__main__":
    json.dump(anyio.run(play, json.loads(sys.argv[1])), sys.stdout)
