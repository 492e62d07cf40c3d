"""Fetches URLs with one of Python's clients, or with curl: `fetch.py CLIENT URL…`, one line of JSON for each.

Nothing is set up for a proxy or a sandbox: every client is used as its own documentation shows it first.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

PATIENCE_S = 10

Found = dict[str, Any]


def with_urllib(url: str) -> Found:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310
        return {"status": answer.status, "body": answer.read().decode()}


def with_requests(url: str) -> Found:
    import requests

    answer = requests.get(url, timeout=PATIENCE_S)
    return {"status": answer.status_code, "body": answer.text}


def with_httpx(url: str) -> Found:
    import httpx

    answer = httpx.get(url, timeout=PATIENCE_S)
    return {"status": answer.status_code, "body": answer.text}


async def with_aiohttp(url: str) -> Found:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return {"status": answer.status, "body": await answer.text()}


def with_curl(url: str, *options: str) -> Found:
    words = [
        "curl",
        "-sS",
        "--max-time",
        str(PATIENCE_S),
        "-w",
        "\n%{http_code} %{http_version}",
        *options,
        url,
    ]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise ConnectionError(done.stderr)
    body, _, last = done.stdout.rpartition("\n")
    status, version = last.split()
    return {"status": int(status), "body": body, "version": version}


CLIENTS: dict[str, Callable[[str], Found] | Callable[[str], Awaitable[Found]]] = {
    "urllib": with_urllib,
    "requests": with_requests,
    "httpx": with_httpx,
    "aiohttp": with_aiohttp,
    "curl": with_curl,
    "curl -4": lambda url: with_curl(url, "-4"),
    "curl -6": lambda url: with_curl(url, "-6"),
    "curl --http2": lambda url: with_curl(url, "--http2"),
    "curl --http2-prior-knowledge": lambda url: with_curl(url, "--http2-prior-knowledge"),
}


def fetched(client: str, url: str) -> Found:
    """What the client says of the URL: status and body, or its error; and after how long."""
    began = time.monotonic()
    try:
        found = CLIENTS[client](url)
        result = asyncio.run(found) if asyncio.iscoroutine(found) else found
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    return {"url": url, **result, "seconds": time.monotonic() - began}


if __name__ == "__main__":
    client, *urls = sys.argv[1:]
    for url in urls:
        sys.stdout.write(json.dumps(fetched(client, url)) + "\n")
