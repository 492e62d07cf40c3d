"""Says `hello` over a WebSocket and hears it back: `websocket.py URL…`, one line of JSON for each."""

from __future__ import annotations

import json
import sys
import time

from websockets.sync.client import connect


def said(url: str) -> dict[str, str]:
    with connect(url, open_timeout=10) as socket:
        socket.send("hello")
        return {"body": str(socket.recv(timeout=10))}


for url in sys.argv[1:]:
    began = time.monotonic()
    try:
        result = said(url)
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps({"url": url, **result, "seconds": time.monotonic() - began}) + "\n")
