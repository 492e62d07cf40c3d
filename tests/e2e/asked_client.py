"""An MCP client on the Python SDK, of either generation, whose person answers: plays one script.

Its one argument is the script (JSON), its stdout one JSON document: what each call came to, and which
questions were shown.
"""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack
from typing import Any

import anyio
from mcp import ClientSession, StdioServerParameters, stdio_client, types


class Person:
    """Answers every question as the script says; a model of theirs says one word."""

    def __init__(self, script: dict[str, Any]) -> None:
        self.answer = script["answer"]
        self.roots = script["roots"]
        self.questions: list[str] = []
        self.sampled = 0

    async def elicit(self, _context: Any, params: Any) -> types.ElicitResult:
        self.questions.append(params.message)
        if self.answer == "silence":
            await anyio.sleep_forever()
        if self.answer in ("decline", "cancel"):
            return types.ElicitResult(action=self.answer)
        schema = getattr(params, "requested_schema", None) or getattr(params, "requestedSchema", {})
        name = next(iter(schema["properties"]))
        return types.ElicitResult(action="accept", content={name: self.answer})

    async def sample(self, _context: Any, _params: Any) -> types.CreateMessageResult:
        self.sampled += 1
        text = types.TextContent(type="text", text="a model's word")
        return types.CreateMessageResult(role="assistant", content=text, model="none")

    async def list_roots(self, _context: Any) -> types.ListRootsResult:
        roots: list[Any] = [{"uri": f"file://{root}"} for root in self.roots]
        return types.ListRootsResult.model_validate({"roots": roots})

    def callbacks(self) -> dict[str, Any]:
        found = {"sampling_callback": self.sample, "list_roots_callback": self.list_roots}
        return found if self.answer == "none" else {**found, "elicitation_callback": self.elicit}


def plain(model: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped


async def opened(script: dict[str, Any], person: Person, stack: AsyncExitStack) -> Any:
    parameters = StdioServerParameters(
        command=script["argv"][0], args=script["argv"][1:], env=script["env"], cwd=script["cwd"]
    )
    if script["era"] == "modern":
        from mcp import Client

        return await stack.enter_async_context(Client(stdio_client(parameters), **person.callbacks()))
    streams = await stack.enter_async_context(stdio_client(parameters))
    session = ClientSession(*streams, **person.callbacks())
    await stack.enter_async_context(session)
    await session.initialize()
    return session


async def called(session: Any, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A call's result, or the error that it ended with."""
    try:
        return plain(await session.call_tool(name, arguments))
    except Exception as error:
        return {"error": str(error)}


async def play(script: dict[str, Any]) -> dict[str, Any]:
    person = Person(script)
    with anyio.fail_after(50):
        async with AsyncExitStack() as stack:
            session = await opened(script, person, stack)
            tools = await session.list_tools()
            calls = [await called(session, name, arguments) for name, arguments in script["calls"]]
            return {
                "tools": [tool.name for tool in tools.tools],
                "calls": calls,
                "questions": person.questions,
                "sampled": person.sampled,
            }


if __name__ == "__main__":
    json.dump(anyio.run(play, json.loads(sys.argv[1])), sys.stdout)
