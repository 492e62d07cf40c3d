"""Lists of the server's that the relay reads itself, page by page; what they hold is the inspectors' (P)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.wire.jsonrpc import Frame
from sandbox.wire.salvage import Id
from sandbox.wire.structs import msgspec

MOST_PAGES = 100


class Listing:
    """One list that is being read; `params` of the page that was asked for last."""

    def __init__(self, method: str, params: dict[str, Any]) -> None:
        self.method = method
        self.params = params
        self.pages = 0


class Listings:
    """Which lists are being read; each once, however many requests wait for it."""

    def __init__(self, prefix: str, random: Callable[[int], bytes]) -> None:
        self._prefix = prefix
        self._random = random
        self._open: dict[Id, Listing] = {}

    def begin(self, method: str, beside: Frame) -> bytes | None:
        """The request for the first page, or None where the list is being read already.

        A modern request says its revision and capabilities itself: ours says what `beside` said.
        """
        if any(listing.method == method for listing in self._open.values()):
            return None
        said = beside.message.get("params", {}).get("_meta")
        meta = dict(said) if type(said) is dict else {}
        meta.pop("progressToken", None)
        return self._request(Listing(method, {"_meta": meta} if meta else {}))

    def of(self, id: Id) -> Listing | None:
        """The list of which a page was asked for under `id`."""
        return self._open.get(id)

    def forget(self, method: str) -> None:
        """Nobody waits for that list any more; a page that comes late is nobody's."""
        for id in [id for id, listing in self._open.items() if listing.method == method]:
            del self._open[id]

    def turned(self, listing: Listing, page: Frame | None, id: Id) -> bytes | None:
        """The request for the page after `page`, or None: there is none, or none that may be read."""
        self._open.pop(id, None)
        cursor = None if page is None else page.message.get("result", {}).get("nextCursor")
        # Clients take the empty cursor of some servers for none.
        if type(cursor) is not str or not cursor or listing.pages >= MOST_PAGES:
            return None
        listing.params = {**listing.params, "cursor": cursor}
        return self._request(listing)

    def _request(self, listing: Listing) -> bytes:
        listing.pages += 1
        id = self._prefix + self._random(12).hex()
        self._open[id] = listing
        message = {"jsonrpc": "2.0", "id": id, "method": listing.method, "params": listing.params}
        return msgspec.json.encode(message) + b"\n"
