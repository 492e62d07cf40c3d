"""Where the issuer's keys come from: the place that the settings name, else the one in its metadata."""

from __future__ import annotations

import asyncio
from typing import Final

from sandbox.serve.oauth import metadata, place
from sandbox.serve.oauth.fetch import Fetcher, NoDocument
from sandbox.serve.oauth.settings import Settings

WITHIN_S: Final = 20.0
"""For all documents together: whoever waits for a key waits no longer."""


class Issuer:
    """One issuer, whose keys are where they were found last until they are not there any more."""

    def __init__(self, settings: Settings, fetcher: Fetcher) -> None:
        self._name = settings.issuer
        self._fetcher = fetcher
        self._known = place.secure(settings.jwks) if settings.jwks else None
        self._found: place.Place | None = None

    async def keys(self) -> bytes:
        """The JWKS document; NoDocument."""
        try:
            async with asyncio.timeout(WITHIN_S):
                return await self._keys()
        except TimeoutError:
            raise NoDocument(f"no keys within {WITHIN_S:g} s") from None

    async def _keys(self) -> bytes:
        if self._known is not None:
            return await self._fetcher.get(self._known, named=True)
        where = self._found or await self._discovered()
        self._found = None
        # Its own server is named by the settings; another one only by a document.
        named = where.origin == place.issuer(self._name).origin
        document = await self._fetcher.get(where, named=named)
        self._found = where
        return document

    async def _discovered(self) -> place.Place:
        """By the first metadata that there is; a document of another issuer ends the search."""
        told = []
        for one in metadata.candidates(place.issuer(self._name)):
            try:
                document = await self._fetcher.get(one, named=True)
            except NoDocument as why:
                told.append(str(why))
                continue
            try:
                return metadata.keys_in(document, self._name)
            except ValueError as why:
                raise NoDocument(f"`{one.url}` {why}") from None
        raise NoDocument("\n".join(told))
