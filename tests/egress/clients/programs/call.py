"""Calls `/test.Echo/Say` by gRPC: `call.py tls|plain HOST:PORT…`, one line of JSON for each."""

from __future__ import annotations

import json
import sys
import time

import grpc


def said(way: str, place: str) -> dict[str, str]:
    secure = grpc.secure_channel(place, grpc.ssl_channel_credentials()) if way == "tls" else None
    with secure or grpc.insecure_channel(place) as channel:
        say = channel.unary_unary("/test.Echo/Say")
        return {"body": say(b"hello", timeout=10).decode()}


way, *places = sys.argv[1:]
for place in places:
    began = time.monotonic()
    try:
        result = said(way, place)
    except grpc.RpcError as error:
        result = {"error": f"{error.code().name}: {error.details()}"}
    sys.stdout.write(json.dumps({"url": place, **result, "seconds": time.monotonic() - began}) + "\n")
