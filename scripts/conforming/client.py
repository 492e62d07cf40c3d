"""The client that the client scenarios start: the Python SDK's, at a URL or through `mcp-sandbox run`.

    python client.py bare URL
    python client.py run URL        (the suite puts the URL last)

The scenario, the revision and what it wants to see called are in the environment, as the suite says them.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters

HERE = Path(__file__).resolve().parent
SANDBOX = str(Path(sys.executable).parent / "mcp-sandbox")
MODERN = "2026-07-28"
PLAIN: dict[str, Any] = {"string": "x", "boolean": True, "integer": 1, "number": 1, "object": {}, "array": []}


async def elicited(_context: Any, params: Any) -> types.ElicitResult:
    """Yes, with the form's own defaults."""
    return types.ElicitResult(action="accept", content=filled(getattr(params, "requested_schema", {})))


def filled(schema: dict[str, Any]) -> dict[str, Any]:
    """A value for each property, its default where it has one."""
    properties = schema.get("properties", {})
    return {name: one.get("default", PLAIN.get(one.get("type"))) for name, one in properties.items()}


async def sampled(_context: Any, _params: Any) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="A")
    return types.CreateMessageResult(role="assistant", content=content, model="none")


async def roots(_context: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[])


def target(way: str, url: str) -> str | StdioServerParameters:
    """Where the client asks."""
    if way == "bare":
        return url
    # The suite says `localhost`, which may be two addresses: `run` takes it for the host's loopback.
    at = url.split("/")[2]
    words = ["run", "--quiet", "--profile", str(HERE / "profile.toml"), "--allow-net", at, url]
    return StdioServerParameters(command=SANDBOX, args=words, env=dict(os.environ))


async def everything(client: Client) -> None:
    """All that there is, listed and asked for once."""
    tools = (await client.list_tools()).tools
    async with anyio.create_task_group() as group:
        for tool in tools:
            group.start_soon(called, client, tool.name, filled(tool.input_schema))
    with suppress(MCPError):
        for resource in (await client.list_resources()).resources:
            await client.read_resource(str(resource.uri))
    with suppress(MCPError):
        for prompt in (await client.list_prompts()).prompts:
            await client.get_prompt(prompt.name)


async def called(client: Client, name: str, arguments: dict[str, Any]) -> None:
    # Some scenarios answer with what the SDK refuses: the calls beside it go on.
    with suppress(MCPError, ValueError):
        await client.call_tool(name, arguments)


async def named(client: Client) -> None:
    """The calls that the scenario asks for by name and arguments."""
    await client.list_tools()
    for one in json.loads(os.environ["MCP_CONFORMANCE_CONTEXT"])["toolCalls"]:
        await called(client, one["name"], one["arguments"])


async def added(client: Client) -> None:
    await client.list_tools()
    await client.call_tool("add_numbers", {"a": 5, "b": 3})


async def echoed(client: Client) -> None:
    """The schema of the first tool, as it arrived, given to the second."""
    first, second = (await client.list_tools()).tools
    await client.call_tool(second.name, {"schema": first.input_schema})


async def listed(client: Client) -> None:
    await client.list_tools()


SCENARIOS = {
    "initialize": listed,
    "tools_call": added,
    "http-custom-headers": named,
    "json-schema-2020-12-preservation": echoed,
    "json-schema-ref-no-deref": listed,
}


async def main(way: str, url: str) -> None:
    """One conversation."""
    revision = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "")
    scenario = SCENARIOS.get(os.environ["MCP_CONFORMANCE_SCENARIO"], everything)
    async with Client(
        target(way, url),
        mode="auto" if revision == MODERN else "legacy",
        elicitation_callback=elicited,
        sampling_callback=sampled,
        list_roots_callback=roots,
    ) as client:
        await scenario(client)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[-1])
