"""A complete MCP server in the standard library, for machines without npm and PyPI: reads one directory.

It stands alone: the demo copies this file and starts it with `python -I`, away from our own package.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

READ = {
    "name": "read_text_file",
    "description": "Returns the text of a file in the directory given at the start",
    "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
LIST = {
    "name": "list_directory",
    "description": "Names the files of the directory given at the start",
    "inputSchema": {"type": "object", "properties": {}},
}
METHOD_NOT_FOUND = -32601


def answer(method: str, params: dict[str, Any], root: str) -> dict[str, Any] | None:
    """The result for one request, None for a method that this server does not know."""
    if method == "initialize":
        version = str(params.get("protocolVersion", "2025-11-25"))
        info = {"name": "tiny-file-server", "version": "1"}
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return {"tools": [READ, LIST]}
    if method == "tools/call":
        return call(str(params.get("name")), params.get("arguments") or {}, root)
    return {} if method == "ping" else None


def call(name: str, arguments: dict[str, Any], root: str) -> dict[str, Any]:
    """A tool's result; what goes wrong is a result too, as the protocol has it."""
    try:
        if name == LIST["name"]:
            return {"content": [{"type": "text", "text": "\n".join(sorted(os.listdir(root)))}]}
        path = os.path.realpath(os.path.join(root, str(arguments.get("path"))))
        if name != READ["name"] or os.path.commonpath([path, root]) != root:
            raise ValueError("no such tool, or a path outside the directory")
        with open(path, encoding="utf-8") as file:
            return {"content": [{"type": "text", "text": file.read()}]}
    except (OSError, ValueError) as error:
        return {"content": [{"type": "text", "text": str(error)}], "isError": True}


def main() -> None:
    """Answers one line at a time until stdin ends."""
    root = os.path.realpath(sys.argv[1])
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        result = answer(message["method"], message.get("params") or {}, root)
        error = {"code": METHOD_NOT_FOUND, "message": "method not found"}
        body = {"error": error} if result is None else {"result": result}
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **body}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
