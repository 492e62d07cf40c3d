"""A client in the test's own process: leads a conversation, makes calls, keeps the bytes of every answer."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox.examine.conversation import REVISIONS, Conversation, Era
from sandbox.wire.jsonrpc import Frame, FrameReader

PATIENCE_S = 60.0
DISCOVER_S = 20.0
TELLS = ("relay.dropped", "protocol.found", "poison.found", "secret.found", "secret.redacted", "pin.changed",
         "tool.deny", "tool.found", "request.found")  # fmt: skip
"""Kinds of events that no honest server gives reason for."""


class Client:
    """Leads the conversation of `inspect`, then makes calls; keeps the bytes of every answer."""

    def __init__(
        self, argv: list[str], cwd: Path, environ: dict[str, str], patience: float = PATIENCE_S
    ) -> None:
        self.patience = patience
        self.child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd, env=environ
        )
        self.reader = FrameReader()
        self.answers: list[bytes] = []
        self.conversation = Conversation("legacy")

    def lead(self, era: Era, calls: list[tuple[str, dict[str, Any]]], *, read: bool = True) -> Conversation:
        """All lists, what can be read without arguments (where wanted), and the calls."""
        conversation = self.conversation = Conversation(era, read=read)
        self._say(conversation.start())
        if era == "modern" and not self._speaks(DISCOVER_S):
            conversation.refused = "no answer"  # a server of the legacy era may not even refuse
            return conversation
        for frame in self._heard():
            self._say(conversation.heard(frame))
            if conversation.done:
                break
        for at, (tool, given) in enumerate(calls if conversation.opened else []):
            self.call(era, f"call-{at}", tool, given)
        return conversation

    def _speaks(self, seconds: float) -> bool:
        assert self.child.stdout is not None
        return bool(select.select([self.child.stdout], [], [], seconds)[0])

    def call(self, era: Era, id: str, tool: str, given: dict[str, Any]) -> dict[str, Any]:
        """One call of a tool, and the message that answers it."""
        params: dict[str, Any] = {"name": tool, "arguments": given}
        if era == "modern":
            meta = "io.modelcontextprotocol/"
            params["_meta"] = {
                f"{meta}protocolVersion": REVISIONS["modern"],
                f"{meta}clientCapabilities": {},
            }
        message = {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}
        self._say([json.dumps(message).encode() + b"\n"])
        for frame in self._heard():
            if frame.kind == "request":
                self._say(self.conversation.heard(frame))
            elif frame.id == id:
                return dict(frame.message)
        raise AssertionError("no answer")

    def _say(self, lines: list[bytes]) -> None:
        assert self.child.stdin is not None
        for line in lines:
            self.child.stdin.write(line)
        self.child.stdin.flush()

    def _heard(self) -> Iterator[Frame]:
        assert self.child.stdout is not None
        out, deadline = self.child.stdout.fileno(), time.monotonic() + self.patience
        while True:
            left = max(0.0, deadline - time.monotonic())
            assert select.select([out], [], [], left)[0], "no answer"
            chunk = os.read(out, 1 << 16)
            assert chunk, self.child.stderr.read().decode() if self.child.stderr else ""
            for item in self.reader.feed(chunk):
                assert isinstance(item, Frame), item
                if item.kind == "response":
                    self.answers.append(bytes(item.data))
                yield item

    def end(self) -> str:
        """Its stderr, once all is over."""
        _, told = self.child.communicate(timeout=20)
        return told.decode()

    def kill(self) -> None:
        self.child.kill()
        self.child.communicate()


def events(state: Path) -> list[dict[str, Any]]:
    """All that the logs below a state directory hold, of one session after the other."""
    logs = sorted(state.rglob("*.jsonl"))
    assert logs
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]
