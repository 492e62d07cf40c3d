"""Waits until a server speaks, answers it and hears that back: `greeted.py HOST:PORT…`, JSON for each."""

from __future__ import annotations

import json
import socket
import sys
import time


def said(place: str) -> dict[str, str]:
    host, _, port = place.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as one:
        banner = one.makefile("rb").readline()
        one.sendall(b"hello")
        return {"banner": banner.decode(), "body": one.recv(99).decode()}


for place in sys.argv[1:]:
    began = time.monotonic()
    try:
        result = said(place)
    except OSError as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps({"url": place, **result, "seconds": time.monotonic() - began}) + "\n")
