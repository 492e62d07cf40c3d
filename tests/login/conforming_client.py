"""The client of the conformance suite's scenarios about logins: `mcp-sandbox login URL`, then `run URL`.

`conforming_client.py URL`: logs in as a person would, whose browser agrees to everything, and calls the tools
by the Python SDK's client over stdio; told that the login is not enough any more, it logs in once more, as a
person would too. The suite gives what a person would know in `MCP_CONFORMANCE_CONTEXT`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

from mcp import Client, StdioServerParameters

PROGRAM = ["-c", "import sys; from sandbox.cli.main import main; sys.exit(main())"]
DOCUMENT = "https://conformance-test.local/client-metadata.json"


def options() -> list[str]:
    """What a person who knows the issuer would add."""
    known = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    if os.environ.get("MCP_CONFORMANCE_SCENARIO") == "auth/basic-cimd":
        return ["--client-id", DOCUMENT, "--port", "3000"]
    if "client_id" not in known:
        return []
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write(known.get("client_secret", ""))
    return ["--client-id", known["client_id"], "--client-secret-file", file.name]


def log_in(url: str, *more: str) -> None:
    """The page is opened where one is named; a login that fails ends this with its status."""
    words = [sys.executable, *PROGRAM, "login", url, "--no-browser", *options(), *more]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            sys.stderr.write(line)
            if line.startswith("http") and "response_type=code" in line:
                with urllib.request.urlopen(line.strip(), timeout=10) as page:  # noqa: S310
                    page.read()
    if running.returncode:
        sys.exit(running.returncode)


async def call(url: str) -> None:
    """Lists the tools and calls each, through the sandbox of a remote server."""
    place = url.partition("://")[2].partition("/")[0]
    words = [*PROGRAM, "run", "--allow-net", place, url]
    server = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
    async with Client(server) as client:
        for tool in (await client.list_tools()).tools:
            await client.call_tool(tool.name, {})


if __name__ == "__main__":
    log_in(sys.argv[-1])
    try:
        asyncio.run(call(sys.argv[-1]))
    except Exception as error:
        sys.stderr.write(f"{error!r}\n")
        wanted = re.search(r"--scope '([^']+)'", repr(error))
        log_in(sys.argv[-1], *(["--scope", wanted[1]] if wanted else []))
        asyncio.run(call(sys.argv[-1]))
