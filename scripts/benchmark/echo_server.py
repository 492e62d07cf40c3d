"""The smallest MCP server there is: lists a tool and echoes; what remains is the cost of the way."""

from __future__ import annotations

import json
import sys

TOOL = {
    "name": "echo",
    "description": "Says it again.",
    "inputSchema": {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
}

for line in sys.stdin.buffer:
    message = json.loads(line)
    if "id" not in message:
        continue
    if message["method"] == "tools/call":
        text = message["params"]["arguments"]["message"]
        result: dict[str, object] = {"content": [{"type": "text", "text": text}]}
    elif message["method"] == "tools/list":
        result = {"tools": [TOOL]}
    else:
        info = {"name": "echo", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
    answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
    sys.stdout.buffer.write(answer.encode() + b"\n")
    sys.stdout.buffer.flush()
