"""A server of either era that crashes on demand; it runs under any Python, the standard library alone.

Its one argument is a directory: `version` there is what it calls itself, and with `broken` it never starts.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

NAME = os.urandom(4).hex()
META = "io.modelcontextprotocol/"
LISTENING: list[object] = []


def say(message: dict[str, Any]) -> None:
    """One message, at once."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def facts(place: str) -> dict[str, Any]:
    """Who this is."""
    path = os.path.join(place, "version")
    version = open(path).read() if os.path.exists(path) else "1"
    able = {"tools": {"listChanged": True}, "logging": {}, "resources": {"subscribe": True}}
    return {"capabilities": able, "serverInfo": {"name": "crashing", "version": version}}


def opened(method: str, place: str) -> dict[str, Any]:
    """The handshake's answer, in the words of its era."""
    found = facts(place)
    if method == "initialize":
        return {"protocolVersion": "2025-11-25", **found}
    meta = {f"{META}serverInfo": found.pop("serverInfo")}
    more = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    return {"supportedVersions": ["2026-07-28"], **found, **more, "_meta": meta}


def call(name: str, arguments: dict[str, Any], heard: list[str]) -> dict[str, Any]:
    """One tool; most of them end the server."""
    if name == "leave":
        os._exit(arguments["status"])
    if name == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "eat":
        held = [bytearray(b"x") * (1 << 20) for _ in range(arguments["mib"])]
        time.sleep(60)
        heard.append(str(len(held)))
    if name == "ask":
        say({"id": 1, "method": "elicitation/create", "params": {"message": "?", "mode": "form"}})
    if name == "change":
        for id in LISTENING:
            params = {"_meta": {f"{META}subscriptionId": id}}
            say({"method": "notifications/tools/list_changed", "params": params})
    text = {"name": NAME, "heard": heard, **arguments}
    content = [{"type": "text", "text": json.dumps(text)}]
    return {"content": content, "resultType": "complete"}


def listen(message: dict[str, Any]) -> None:
    """Acknowledges a subscription; it stays open."""
    LISTENING.append(message["id"])
    meta = {f"{META}subscriptionId": message["id"]}
    params = {"notifications": message["params"]["notifications"], "_meta": meta}
    say({"method": "notifications/subscriptions/acknowledged", "params": params})


def main(place: str) -> None:
    """Until the end of stdin, or a crash."""
    if os.path.exists(os.path.join(place, "broken")):
        sys.exit(3)
    heard: list[str] = []
    for line in sys.stdin:
        message = json.loads(line)
        method, params = message.get("method"), message.get("params", {})
        if method is None:
            heard.append(f"answer {message['id']}")
        elif method == "subscriptions/listen":
            listen(message)
        elif "id" not in message:
            heard.append(method)
        elif method in ("initialize", "server/discover"):
            say({"id": message["id"], "result": opened(method, place)})
        elif method == "tools/call":
            say({"id": message["id"], "result": call(params["name"], params.get("arguments", {}), heard)})
        else:
            heard.append(method)
            extra = {"tools": [], "ttlMs": 0, "cacheScope": "private"} if method == "tools/list" else {}
            say({"id": message["id"], "result": {"resultType": "complete", **extra}})


if __name__ == "__main__":
    main(sys.argv[1])
