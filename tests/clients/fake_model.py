"""A model that calls the tools it is told to, one after another: all that an agent needs to run here.

It speaks what the agents speak to theirs: Anthropic's messages, OpenAI's chat completions, Gemini's content,
each as a stream of events, and remembers what every tool answered.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

Body = dict[str, Any]
Call = tuple[str, dict[str, Any]]
DONE = "that is all"
_USAGE = {"input_tokens": 1, "output_tokens": 1}


class Dialect(Protocol):
    """One way of speaking to a model."""

    def tools(self, body: Body) -> list[str]:
        """The names of the tools that it may call."""

    def answers(self, body: Body) -> list[str]:
        """What the tools answered so far."""

    def call(self, name: str, given: dict[str, Any], at: int) -> list[Body]:
        """Events that call a tool."""

    def say(self, text: str) -> list[Body]:
        """Events that say something and end the turn."""


def _text(content: Any) -> str:
    """All text of a message's content."""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content or ())


class Messages:
    """Anthropic's `POST /v1/messages`."""

    def tools(self, body: Body) -> list[str]:
        return [tool["name"] for tool in body.get("tools", ())]

    def answers(self, body: Body) -> list[str]:
        parts = (one["content"] for one in body["messages"] if isinstance(one["content"], list))
        return [_text(part["content"]) for some in parts for part in some if part["type"] == "tool_result"]

    def call(self, name: str, given: dict[str, Any], at: int) -> list[Body]:
        block = {"type": "tool_use", "id": f"toolu_{at}", "name": name, "input": {}}
        return self._turn(block, {"type": "input_json_delta", "partial_json": json.dumps(given)}, "tool_use")

    def say(self, text: str) -> list[Body]:
        return self._turn({"type": "text", "text": ""}, {"type": "text_delta", "text": text}, "end_turn")

    def _turn(self, block: Body, delta: Body, why: str) -> list[Body]:
        message = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "none", "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": _USAGE,
        }  # fmt: skip
        end = {"delta": {"stop_reason": why, "stop_sequence": None}, "usage": _USAGE}
        return [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", **end},
            {"type": "message_stop"},
        ]


class Chat:
    """OpenAI's `POST /v1/chat/completions`, which many others speak too."""

    def tools(self, body: Body) -> list[str]:
        return [tool["function"]["name"] for tool in body.get("tools", ())]

    def answers(self, body: Body) -> list[str]:
        return [_text(one["content"]) for one in body["messages"] if one["role"] == "tool"]

    def call(self, name: str, given: dict[str, Any], at: int) -> list[Body]:
        function = {"name": name, "arguments": json.dumps(given)}
        call = {"index": 0, "id": f"call_{at}", "type": "function", "function": function}
        return [self._chunk({"role": "assistant", "tool_calls": [call]}), self._chunk({}, "tool_calls")]

    def say(self, text: str) -> list[Body]:
        return [self._chunk({"role": "assistant", "content": text}), self._chunk({}, "stop")]

    def _chunk(self, delta: Body, why: str | None = None) -> Body:
        choice = {"index": 0, "delta": delta, "finish_reason": why}
        return {
            "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "none", "choices": [choice],
        }  # fmt: skip


class Content:
    """Gemini's `POST …:streamGenerateContent`."""

    def tools(self, body: Body) -> list[str]:
        return [one["name"] for tool in body.get("tools", ()) for one in tool.get("functionDeclarations", ())]

    def answers(self, body: Body) -> list[str]:
        parts = (part for one in body["contents"] for part in one["parts"])
        return [json.dumps(part["functionResponse"]) for part in parts if "functionResponse" in part]

    def call(self, name: str, given: dict[str, Any], at: int) -> list[Body]:
        return [self._turn({"functionCall": {"name": name, "args": given}})]

    def say(self, text: str) -> list[Body]:
        return [self._turn({"text": text})]

    def _turn(self, part: Body) -> Body:
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        content = {"role": "model", "parts": [part]}
        return {
            "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
            "usageMetadata": usage,
        }


SPOKEN: tuple[tuple[str, Dialect], ...] = (
    ("/messages", Messages()),
    ("/chat/completions", Chat()),
    (":streamGenerateContent", Content()),
)


class Model:
    """A server on loopback that calls `calls` in order; a context manager."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.calls = list(calls)
        self.answers: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Model:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def turn(self, dialect: Dialect, body: Body) -> list[Body]:
        """What it says next: the next call, or that all is done; to who offers no such tool, a word."""
        answers = dialect.answers(body)
        if len(answers) > len(self.answers):
            self.answers = answers
        if len(answers) >= len(self.calls):
            return dialect.say(DONE)
        tool, given = self.calls[len(answers)]
        # Most agents have a prefix for the tools of a server; without one it may be the agent's own tool.
        known = dialect.tools(body)
        names = [name for name in known if name.endswith(f"_{tool}")] or [
            name for name in known if name == tool
        ]
        return dialect.call(names[0], given, len(answers)) if names else dialect.say("a title")


def _handler(model: Model) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            dialect = next((one for end, one in SPOKEN if self.path.partition("?")[0].endswith(end)), None)
            if dialect is None:
                return self.send_error(404)
            lines = []
            for event in model.turn(dialect, json.loads(content)):
                name = f"event: {event['type']}\n" if "type" in event else ""
                lines.append(f"{name}data: {json.dumps(event)}\n\n")
            if isinstance(dialect, Chat):
                lines.append("data: [DONE]\n\n")
            return self._send("".join(lines).encode())

        def _send(self, answer: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    return Handler
