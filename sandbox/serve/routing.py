"""Which of a session's streams a message of its server's goes to (P; MCP 2025-11-25, Transports).

A server over stdio does not say which request its own requests and notifications belong to. What names a
request or its progress token goes there; what tells of the server as a whole to the client's GET stream;
the rest to the one request that is open, and where several are, to the GET stream if somebody listens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.serve.heard import Heard, Key
from sandbox.wire.jsonrpc import Frame

GENERAL = 0
"""The stream that belongs to no request: what a GET opens."""
MAX_ASKED = 4096

_OF_THE_SERVER = frozenset(
    "notifications/tools/list_changed notifications/prompts/list_changed notifications/tasks/status "
    "notifications/resources/list_changed notifications/resources/updated".split()
)


class Routing:
    """The open requests of one client, and the streams that answer them."""

    def __init__(self) -> None:
        self._streams: dict[Key, int] = {}
        self._tokens: dict[Key, int] = {}
        self._asked: OrderedDict[Key, int] = OrderedDict()

    @property
    def open(self) -> Mapping[Key, int]:
        """The streams of the requests that have no answer yet, oldest first."""
        return self._streams

    def ask(self, frame: Frame, stream: int) -> None:
        """The client's request `frame` is answered on `stream`."""
        if frame.id is not None:
            self._streams[frame.id] = stream
        token = progress_token(frame.message)
        if token is not None:
            self._tokens[token] = stream

    def settle(self, id: Key) -> None:
        """The request `id` has its answer, or will get none."""
        stream = self._streams.pop(id, None)
        for token in [token for token, its in self._tokens.items() if its == stream]:
            del self._tokens[token]

    def route(self, heard: Heard, listens: Callable[[int], bool]) -> int | None:
        """The stream for a message of the server's; None where nobody waits for it any more."""
        if heard.kind == "response" and heard.id is not None:
            return self._streams.get(heard.id)
        stream = self._of_a_call(heard, listens)
        if heard.kind == "request" and heard.id is not None:
            self._remember(heard.id, stream)
        return stream

    def _of_a_call(self, heard: Heard, listens: Callable[[int], bool]) -> int:
        if heard.method in _OF_THE_SERVER:
            return GENERAL
        if heard.method == "notifications/progress":
            return GENERAL if heard.token is None else self._tokens.get(heard.token, GENERAL)
        if heard.method == "notifications/cancelled":
            return GENERAL if heard.request is None else self._asked.get(heard.request, GENERAL)
        return self._likeliest(listens)

    def _likeliest(self, listens: Callable[[int], bool]) -> int:
        """Where a message belongs that says nothing of it; if any stream is read, to one that is."""
        heard = [stream for stream in self._streams.values() if listens(stream)]
        if len(heard) == 1:
            return heard[0]
        return GENERAL if listens(GENERAL) or not heard else heard[-1]

    def _remember(self, id: Key, stream: int) -> None:
        self._asked[id] = stream
        if len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)


def progress_token(message: Mapping[str, Any]) -> Key | None:
    """The token under which a request wants to hear of its progress."""
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    return token if isinstance(token, int | str) and not isinstance(token, bool) else None
