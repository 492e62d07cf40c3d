"""What both SDKs make of a line, or of a result, each by its own code."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mcp_types
from mcp_types import methods
from pydantic import ValidationError

HERE = Path(__file__).resolve().parent
PACKAGE = "@modelcontextprotocol/sdk"
VERSION = "1.32.2"


@dataclass(frozen=True)
class Reading:
    """Whether something is taken, and as what; `takes` is None where there is nothing to ask."""

    takes: bool | None
    kind: str | None = None
    id: int | str | None = None
    method: str | None = None


REFUSED = Reading(False)


def python_line(line: bytes) -> Reading:
    """As the Python SDK's stdio transport reads a line."""
    try:
        text = line.decode("utf-8")
        read = mcp_types.jsonrpc_message_adapter.validate_json(text, by_name=False)
    except (ValueError, RecursionError):
        return REFUSED
    kinds = {"JSONRPCRequest": "request", "JSONRPCNotification": "notification"}
    kind = kinds.get(type(read).__name__, "response")
    return Reading(True, kind, getattr(read, "id", None), getattr(read, "method", None))


def python_result(method: str, version: str, result: Any) -> Reading:
    """As the Python SDK's client validates the result of its request."""
    try:
        methods.validate_server_result(method, version, result)
    except (ValidationError, TypeError, RecursionError):
        return REFUSED
    except KeyError:
        return Reading(None)
    return Reading(True)


class Npm:
    """The npm SDK in a node of its own; ends with `close`."""

    def __init__(self, sdk: str) -> None:
        self._child = subprocess.Popen(  # noqa: S603 - ours
            [str(shutil.which("node")), str(HERE / "sdks.mjs"), sdk],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def line(self, line: bytes) -> Reading:
        """As its stdio transport reads a line."""
        told = self._ask({"line": base64.b64encode(line).decode()})
        return Reading(True, **told["reads"]) if told["takes"] else REFUSED

    def result(self, method: str, result: Any) -> Reading:
        """As its client validates the result of its request."""
        return Reading(self._ask({"method": method, "result": result})["takes"])

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None  # noqa: S101 - PIPE above
        assert self._child.stdout is not None  # noqa: S101 - PIPE above
        self._child.stdin.write(json.dumps(question).encode() + b"\n")
        self._child.stdin.flush()
        told: dict[str, Any] = json.loads(self._child.stdout.readline())
        return told

    def close(self) -> None:
        """No process is left."""
        assert self._child.stdin is not None  # noqa: S101 - PIPE above
        assert self._child.stdout is not None  # noqa: S101 - PIPE above
        self._child.stdin.close()
        self._child.wait(10)
        self._child.stdout.close()


def npm_sdk(place: Path) -> str | None:
    """Where the npm SDK lies, installed below `place` where it is not yet; None where it cannot be."""
    sdk = place / "npm" / "node_modules" / PACKAGE
    if not (sdk / "package.json").exists():
        if not (shutil.which("node") and shutil.which("npm")):
            return None
        (place / "npm").mkdir(parents=True, exist_ok=True)
        words = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place / "npm")]
        with suppress(subprocess.SubprocessError):
            subprocess.run([*words, f"{PACKAGE}@{VERSION}"], check=True, timeout=120)  # noqa: S603 - npm
    return str(sdk) if (sdk / "package.json").exists() else None
