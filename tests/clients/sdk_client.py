"""A client on the Python SDK that reads a config file as Claude Desktop and Cursor do: a program of its own.

Its one argument is JSON: the file, the calls of each server, and the values of `${env:NAME}`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp import ClientSession, StdioServerParameters, stdio_client

VARIABLE = re.compile(r"\$\{env:([^}]+)\}")


def filled(value: Any, known: dict[str, str]) -> Any:
    """The value with each variable of the client's syntax replaced."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: known[found[1]], value)
    if isinstance(value, list):
        return [filled(one, known) for one in value]
    return {name: filled(one, known) for name, one in value.items()}


async def asked(entry: dict[str, Any], calls: list[list[Any]]) -> dict[str, Any]:
    """What a server says of itself, its tools, and an answer a call."""
    server = StdioServerParameters(command=entry["command"], args=entry["args"], env=entry.get("env"))
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        answers = [await session.call_tool(name, given) for name, given in calls]
    return {"tools": tools, "answers": [one.model_dump(mode="json", by_alias=True) for one in answers]}


async def main(script: dict[str, Any], entries: dict[str, Any]) -> None:
    """Writes one JSON document: by server, what it showed."""
    found = {
        name: await asked(filled(entry, script["env"]), script["calls"][name])
        for name, entry in entries.items()
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    SCRIPT = json.loads(sys.argv[1])
    anyio.run(main, SCRIPT, json.loads(Path(SCRIPT["file"]).read_text())[SCRIPT["key"]])
