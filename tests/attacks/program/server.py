"""A hostile MCP server: each tool is one attack, and the answer says what came of it.

Runs inside and, as the control, outside. Standard library only; it must start under any Python.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import bombs
import files
import granted
import hidden
import host
import limits
import processes

MODULES = {module.__name__: module for module in (bombs, files, granted, hidden, host, limits, processes)}


def attempt(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the attack got, or how it failed: `{"got": …}` or `{"failed": "EROFS"}`."""
    module, _, function = name.partition(".")
    attack: Callable[..., Any] = getattr(MODULES[module], function)
    try:
        return {"got": attack(**arguments)}
    except TimeoutError:
        return {"failed": "ETIMEDOUT"}
    except OSError as error:
        return {"failed": errno.errorcode.get(error.errno or 0, repr(error))}


def in_child(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The same in a child, because some attacks change the process that makes them for good."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(told, json.dumps(attempt(name, arguments)).encode())
        finally:
            os._exit(0)
    os.close(told)
    with open(ready) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else {"failed": "killed"}


def main() -> None:
    for line in sys.stdin:
        call = json.loads(line)
        if "id" not in call:
            continue
        name, arguments = call["params"]["name"], call["params"]["arguments"]
        way = in_child if arguments.pop("child", False) else attempt
        answer = {"jsonrpc": "2.0", "id": call["id"], "result": way(name, arguments)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
