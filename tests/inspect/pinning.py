"""A server's lists as the inspector of pins gets them, and a store that is a variable."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from sandbox.inspect.judged import Asked, Judged
from sandbox.inspect.pinned import Item, Pinned
from sandbox.inspect.pins import Pins
from sandbox.verdict import Action
from sandbox.wire.jsonrpc import Frame, FrameReader
from sandbox.wire.splice import splice
from sandbox.wire.structs import msgspec

LISTS = {
    "tools": "tools/list",
    "prompts": "prompts/list",
    "resources": "resources/list",
    "resourceTemplates": "resources/templates/list",
}


class Memory:
    """The store of one server between sessions; `full` takes no more."""

    def __init__(self) -> None:
        self.pinned = Pinned("srv")
        self.full = False

    def read(self) -> Pinned:
        return self.pinned

    def first(self, kind: str, items: Mapping[str, Item]) -> Pinned:
        if self.full:
            raise OSError("no space left")
        self.pinned = copy.deepcopy(self.pinned)
        self.pinned.first(kind, items)
        return self.pinned

    def hold(self, kind: str, items: Mapping[str, Item]) -> Pinned:
        if not self.full:
            self.pinned.hold(kind, items)
        return self.pinned

    def withdraw(self, kind: str, keys: list[str]) -> None:
        self.pinned.withdraw(kind, keys)

    def known_as(self, key: str) -> str:
        return key

    def conceal(self, value: Any) -> Any:
        return value

    def approve_all(self) -> None:
        """A person has said yes to all that waits."""
        self.pinned = copy.deepcopy(self.pinned)
        self.pinned.approve({kind: [*items] for kind, items in self.pinned.waiting.items()})


class Ears:
    """Hears what becomes of pins."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, Any]] = []

    def pinned(self, kind: str, keys: list[str]) -> None:
        self.said.append(("pinned", kind, keys))

    def withheld(self, kind: str, key: str, what: str) -> None:
        self.said.append(("withheld", kind, key))

    def approved(self, kind: str, key: str) -> None:
        self.said.append(("approved", kind, key))


def frame(message: dict[str, Any]) -> Frame:
    """The message as the relay reads it."""
    (read,) = FrameReader().feed(msgspec.json.encode({"jsonrpc": "2.0", **message}) + b"\n")
    assert isinstance(read, Frame), read
    return read


class Session:
    """One session of a client with the server `srv`: what the client sees, and what reaches the server."""

    def __init__(self, store: Memory, *, locked: bool = False) -> None:
        self.ears = Ears()
        self.pins = Pins("srv", store, self.ears, locked=locked)
        self.judged: Judged | None = None
        self._id = 0

    def _answer(self, asked: Asked, result: dict[str, Any]) -> dict[str, Any]:
        answer = frame({"id": 1, "result": result})
        self.judged = self.pins.to_client(answer, asked)
        if self.judged is None or not self.judged.edits:
            return result
        seen: dict[str, Any] = msgspec.json.decode(splice(answer.data, self.judged.edits))["result"]
        return seen

    def page(
        self,
        items: list[Any],
        following: str | None = None,
        cursor: str | None = None,
        of: str = "tools",
        ours: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        """What the client sees of one page of a list."""
        result = {of: items, **more} | ({"nextCursor": following} if following else {})
        params: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
        return self._answer(Asked(LISTS[of], params=params, ours=ours), result)

    def listed(self, items: list[Any], of: str = "tools", **more: Any) -> list[Any]:
        """The items that the client sees of a list of one page."""
        seen: list[Any] = self.page(items, of=of, **more)[of]
        return seen

    def initialize(self, version: str = "2025-11-25", **result: Any) -> dict[str, Any]:
        """What the client sees of the answer to `initialize`."""
        result = {"protocolVersion": version, "capabilities": {}, **result}
        return self._answer(Asked("initialize", params={"protocolVersion": version}), result)

    def discover(self, **result: Any) -> dict[str, Any]:
        """What the client sees of the answer to `server/discover`."""
        result = {"supportedVersions": ["2026-07-28"], "capabilities": {}, **result}
        return self._answer(Asked("server/discover", params={}), result)

    def changed(self, of: str = "tools") -> None:
        """The server says that a list is another one now."""
        method = f"notifications/{of}/list_changed"
        assert self.pins.to_client(frame({"method": method, "params": {}}), None) is None

    def ask(self, method: str = "tools/call", id: object = None, **params: Any) -> Judged | None:
        """What is said of a request of the client's."""
        self._id += 1
        return self.pins.to_server(frame({"id": id or self._id, "method": method, "params": params}))

    def call(self, name: str, id: object = None) -> str:
        """What becomes of a call: `passes`, `fetch` or the rule that denies it."""
        return became(self.ask(name=name, id=id))

    def rules(self) -> list[str]:
        """The rules of the findings about the last answer."""
        return [] if self.judged is None else [one.rule for one in self.judged.findings]


def became(judged: Judged | None) -> str:
    """What becomes of a request."""
    if judged is None:
        return "passes"
    if judged.fetch:
        return "fetch"
    assert judged.verdict.action is Action.DENY
    return judged.verdict.rule


def tool(name: str, description: str = "Reads a file.", **schema: Any) -> dict[str, Any]:
    """A tool's definition."""
    properties = schema or {"path": {"type": "string"}}
    return {
        "name": name,
        "description": description,
        "inputSchema": {"type": "object", "properties": properties},
    }
