"""A child of the sessions' tests in place of `mcp-sandbox run`: does what each message tells it to.

`echo` answers with its parameters; `say` writes the lines it is given, `ID` in them being its own id, and
answers unless `silent`; `heard` tells all that arrived; `flood` writes notifications; `die` ends at once.
"""

import json
import os
import sys
import time

heard = []


def write(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def answer(id, result):
    write({"jsonrpc": "2.0", "id": id, "result": result})


def say(id, params):
    for line in params["lines"]:
        sys.stdout.write(line.replace('"ID"', json.dumps(id)) + "\n")
    sys.stdout.flush()
    if not params.get("silent"):
        answer(id, {"said": len(params["lines"])})


def flood(id, params):
    text = "x" * params["size"]
    for number in range(params["count"]):
        write({"jsonrpc": "2.0", "method": "notifications/message", "params": {"n": number, "text": text}})
    answer(id, {"flooded": params["count"]})


def work(message):
    heard.append(message)
    id, method, params = message.get("id"), message.get("method"), message.get("params", {})
    if "id" not in message or method is None:
        return
    if method == "initialize":
        time.sleep(params.get("after", 0))
        if params.get("hang"):
            return
        if params.get("refuse"):
            write({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": "no"}})
        else:
            answer(id, {"protocolVersion": params["protocolVersion"], "capabilities": {}, "pid": os.getpid()})
    elif method == "heard":
        answer(id, {"heard": heard, "argv": sys.argv[1:], "pid": os.getpid()})
    elif method == "subscriptions/listen":
        say(id, {"lines": [], **params, "silent": True})
    elif method == "die":
        os._exit(3)
    elif method in ("say", "flood"):
        {"say": say, "flood": flood}[method](id, params)
    elif method == "tools/list":
        tools = [{"name": "mirrored", "inputSchema": SCHEMA}]
        answer(id, {"tools": tools} if params.get("cursor") else {"tools": [], "nextCursor": "more"})
    elif method in ("unknown", "server/discover"):
        write({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "unknown"}})
    else:
        answer(id, {"echo": params})


SCHEMA = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}


for line in sys.stdin if __name__ == "__main__" else ():
    work(json.loads(line))
