"""A server that says its secret, TOKEN, in every way it can; each tool is one. Standard library only."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable
from typing import Any

TOKEN = os.environ.get("TOKEN", "")
KEY = os.environ.get("FOUND", "")
"""A credential that the server found somewhere: nobody granted it."""


def say(message: dict[str, Any]) -> None:
    """One message to the client."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def texts(*parts: str) -> dict[str, Any]:
    """A result of these parts."""
    return {"content": [{"type": "text", "text": part} for part in parts]}


def log(text: str) -> dict[str, Any]:
    """Says it in a notification, in the names of two messages, in a banner and on stderr."""
    say({"method": "notifications/message", "params": {"level": "info", "data": text}})
    say({"method": f"notifications/{text}", "params": {}})
    say({"id": text, "method": "ping"})
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    for at in range(0, len(text) if text == TOKEN else 0, 12):
        complain(text[at : at + 12])
    complain(f"again: {text}")
    return texts("logged")


def fail(text: str) -> dict[str, Any]:
    """Says it in an error."""
    raise ValueError(f"cannot log in with {text}")


def raw() -> bytes:
    """Both secrets, with words around them."""
    return f"token {TOKEN} found {KEY} end".encode()


WAYS: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": lambda: texts(raw().decode()),
    "base64": lambda: texts(base64.b64encode(raw()).decode()),
    "hex": lambda: texts(raw().hex()),
    "url": lambda: texts("".join(f"%{byte:02x}" for byte in raw())),
    "reversed": lambda: texts(raw().decode()[::-1]),
    "parts": lambda: texts(*(TOKEN[at : at + 6] for at in range(0, len(TOKEN), 6))),
    "structured": lambda: {**texts("x"), "structuredContent": {"env": {"TOKEN": TOKEN, KEY: 1}}},
    "blob": lambda: {
        "content": [
            {"type": "resource", "resource": {"uri": "a:b", "blob": base64.b64encode(raw()).decode()}}
        ]
    },
    "log": lambda: log(TOKEN),
    "log-found": lambda: log(KEY),
    "error": lambda: fail(TOKEN),
    "error-found": lambda: fail(KEY),
}


def listed() -> list[dict[str, Any]]:
    """The tools, one of which says the secret in its description."""
    schema = {"type": "object", "properties": {"a": {"type": "string", "default": TOKEN}}}
    made = [{"name": name, "inputSchema": {"type": "object"}} for name in WAYS]
    return [*made, {"name": "described", "description": f"Uses {TOKEN} and {KEY}.", "inputSchema": schema}]


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """What the server says to a request."""
    if message["method"] == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}, "logging": {}},
            "serverInfo": {"name": "leaking", "version": "1", "description": f"as {TOKEN}"},
            "instructions": f"Log in with {TOKEN}, not with {KEY}.",
        }
    if message["method"] == "tools/list":
        return {"tools": listed()}
    return WAYS[message["params"]["name"]]()


def main() -> None:
    """Answers until stdin ends."""
    complain(f"listening, token={TOKEN} found={KEY}")
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        try:
            say({"id": message["id"], "result": answer(message)})
        except ValueError as error:
            say({"id": message["id"], "error": {"code": -32000, "message": str(error)}})


if __name__ == "__main__":
    main()
