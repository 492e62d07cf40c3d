"""The issuer's keys, kept: fetched again when they are old or a token names one that is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from sandbox.serve.oauth import key_set
from sandbox.serve.oauth.fetch import NoDocument
from sandbox.serve.oauth.key_set import Key, KeySet

FRESH_S: Final = 600.0
"""A key that the issuer withdrew is believed for so long at most while the issuer answers."""
OLDEST_S: Final = 3600.0
"""And for so long where it does not; then nobody is let in."""
APART_S: Final = 30.0
"""Between two fetches, whatever tokens ask for."""


class Unreachable(Exception):
    """Whether a token is good cannot be told now."""


class Keys:
    """One issuer's keys; `fetch` gives its JWKS document, `clock` seconds that only grow."""

    def __init__(self, fetch: Callable[[], Awaitable[bytes]], clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._set = KeySet()
        self._since = float("-inf")
        self._tried = float("-inf")
        self._why = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Fetches for the first time; what was wrong, or nothing."""
        await self._renewed()
        return self._why

    async def close(self) -> None:
        """Ends a fetch that is under way."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key that a token names, None where the issuer has no such key; Unreachable."""
        age = self._clock() - self._since
        if age > OLDEST_S:
            await self._renewed()
        elif age > FRESH_S:
            self._begin()  # the old ones serve meanwhile
        if self._clock() - self._since > OLDEST_S:
            raise Unreachable
        found = self._set.find(kid, algorithm)
        if found is None:
            await self._renewed()
            found = self._set.find(kid, algorithm)
        if found is None and self._why:
            raise Unreachable
        return found

    async def _renewed(self) -> None:
        """Waits for the fetch that is under way, or for one more if it is time for it."""
        self._begin()
        if self._task is not None:
            # A client that hangs up must not end the fetch that others wait for.
            await asyncio.shield(self._task)

    def _begin(self) -> None:
        if self._task is not None and self._task.done():
            self._task = None
        if self._task is None and self._clock() - self._tried >= APART_S:
            self._tried = self._clock()
            self._task = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        try:
            self._set = key_set.read(await self._fetch())
        except (NoDocument, ValueError) as error:
            self._why = str(error) if isinstance(error, NoDocument) else f"the issuer's JWKS {error}"
        else:
            self._why, self._since = "", self._clock()
