"""A hostile MCP server that wants out: each tool is one attack, and the answer says what came of it.

Runs inside and, as the control, outside. Standard library only; it must start under any Python.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

import behave
import datagrams
import dns
import own
import streams
import tls

MODULES = {module.__name__: module for module in (behave, datagrams, dns, own, streams, tls)}


def attempt(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the attack got, or how it failed: `{"got": …}` or `{"failed": "ECONNRESET"}`."""
    module, _, function = name.partition(".")
    attack: Callable[..., Any] = getattr(MODULES[module], function)
    try:
        return {"got": attack(**arguments)}
    except TimeoutError:
        return {"failed": "ETIMEDOUT"}
    except (socket.gaierror, ssl.SSLError, UnicodeError) as error:
        return {"failed": type(error).__name__}
    except OSError as error:
        return {"failed": errno.errorcode.get(error.errno or 0, repr(error))}


def in_child(name: str, arguments: dict[str, Any], bare: bool) -> dict[str, Any]:
    """The same in a child, because some attacks change the process that makes them for good."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if bare:
                os.environ.clear()
            os.write(told, json.dumps(attempt(name, arguments)).encode())
        finally:
            os._exit(0)
    os.close(told)
    with open(ready) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else {"failed": "killed"}


def tool(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """One attack: `child` makes it in a process of its own, `bare` in one with no environment."""
    child, bare, honest = (arguments.pop(key, False) for key in ("child", "bare", "honest"))
    found = in_child(name, arguments, bare) if child or bare else attempt(name, arguments)
    if honest:  # as a real server answers, which says that its tool failed
        text = json.dumps(found)
        return {"content": [{"type": "text", "text": text}], "isError": "failed" in found}
    return found


def main() -> None:
    for line in sys.stdin:
        call = json.loads(line)
        name, arguments = call["params"]["name"], call["params"]["arguments"]
        answer = {"jsonrpc": "2.0", "id": call["id"], "result": tool(name, arguments)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
