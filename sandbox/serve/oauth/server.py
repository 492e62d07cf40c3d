"""The front as an OAuth 2.1 resource server: who asks is who one issuer's access token says."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sandbox.egress import upstream
from sandbox.errors import SandboxNotBuilt, UsageError
from sandbox.serve.oauth import claims, compact, dpop, metadata, signature
from sandbox.serve.oauth.claims import Granted
from sandbox.serve.oauth.faults import Fault
from sandbox.serve.oauth.fetch import Fetcher
from sandbox.serve.oauth.issuer import Issuer
from sandbox.serve.oauth.keys import Keys, Unreachable
from sandbox.serve.oauth.settings import Settings, read
from sandbox.serve.words import Head, Principal, Refused, Reply

# A laptop that slept does not believe a key for the longer.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_LATER: Final = (("Retry-After", "30"),)


def load(path: str, routes: Iterable[str], environ: Mapping[str, str] = os.environ) -> OAuth:
    """The resource server that the file describes for these routes; UsageError for a file that cannot be."""
    signature.require()
    named = tuple(routes)
    settings = read(path, named)
    fetcher = Fetcher(_trust(settings), upstream.settings(environ))
    return OAuth(settings, named, Issuer(settings, fetcher).keys)


def _trust(settings: Settings) -> ssl.SSLContext:
    """The system's certificates, or the file's in their place."""
    try:
        return ssl.create_default_context(cafile=settings.ca)
    except (OSError, ssl.SSLError):
        what = f"`ca = {settings.ca}` is not a file of certificates that can be read"
        raise UsageError("invalid-oauth", what, rule="the issuer is verified") from None


def _since_boot() -> float:
    return time.clock_gettime(_CLOCK)


class OAuth:
    """Says who asks by an access token, and tells clients where to get one."""

    def __init__(
        self,
        settings: Settings,
        routes: Iterable[str],
        fetch: Callable[[], object],
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = _since_boot,
    ) -> None:
        self._settings = settings
        self._documents = metadata.documents(settings, routes)
        self._keys = Keys(fetch, clock)  # type: ignore[arg-type]
        self._checked = signature.Checked()
        self._seen = dpop.Seen()
        self._now = now

    async def start(self) -> None:
        """Fetches the issuer's keys: a front that could let nobody in does not start."""
        if why := await self._keys.start():
            raise SandboxNotBuilt(
                "oauth-issuer",
                f"the keys of the issuer `{self._settings.issuer}` are not to be had\n{why}",
                rule="a token is believed only after its signature",
            )

    async def close(self) -> None:
        """Ends what is under way."""
        await self._keys.close()

    async def document(self, path: str) -> Reply | None:
        """RFC 9728's metadata of a route."""
        found = self._documents.get(path)
        if found is None:
            return None
        return Reply(200, (("Content-Type", "application/json"), ("Cache-Control", "max-age=300")), found)

    async def check(self, head: Head) -> Principal | Refused:
        """Who asks; a token that does not hold is 401, one that stands for nothing here is 403."""
        given = head.headers.get("authorization")
        if given is None:
            return self._unknown(head, "no-token", "a request needs an access token in Authorization")
        try:
            granted = await self._granted(head, given)
        except Fault as fault:
            error = "invalid_dpop_proof" if fault.code == "dpop-proof" else "invalid_token"
            return self._unknown(head, fault.code, fault.why, error)
        except Unreachable:
            return Refused(503, "oauth-issuer", "the issuer's keys are not to be had just now", _LATER)
        return self._principal(head, granted)

    async def _granted(self, head: Head, given: str) -> Granted:
        scheme, _, token = given.partition(" ")
        if scheme.lower() not in ("bearer", "dpop"):
            raise Fault("token-scheme", "Authorization is neither `Bearer` nor `DPoP`")
        read = compact.read(token)
        granted = self._claimed(head, read)
        await self._signed(read)
        self._possessed(head, token, scheme.lower(), granted)
        return granted

    def _claimed(self, head: Head, read: compact.Compact) -> Granted:
        """What the token claims, before anything is fetched or computed for it."""
        if read.algorithm not in self._settings.algorithms:
            raise Fault("token-algorithm", "the token is not signed by an allowed algorithm")
        claims.check_type(read.header)
        settings = self._settings
        return claims.judge(read.claims, settings.issuer, settings.audiences(head.route), self._now())

    async def _signed(self, read: compact.Compact) -> None:
        """By a key of the issuer's own list: no key and no URL in the token's header is looked at."""
        kid = read.header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise Fault("token-form", "`kid` is not text")
        key = await self._keys.find(kid, read.algorithm)
        if key is None:
            raise Fault("token-key", "the issuer has no such key")
        if not self._checked.holds(key, read):
            raise Fault("token-signature", "the token's signature does not hold")

    def _possessed(self, head: Head, token: str, scheme: str, granted: Granted) -> None:
        """A bound token comes with its proof and is no bearer's; an unbound one is where it may be."""
        if granted.bound is None:
            if scheme == "dpop" or self._settings.dpop == "required":
                raise Fault("token-bound", "the token is bound to no key of its client's")
            return
        proof = head.headers.get("dpop")
        if scheme != "dpop" or proof is None:
            raise Fault("dpop-proof", "the token is bound to a key and comes without its proof")
        url, now = self._settings.url(head.route), self._now()
        name = dpop.check(proof, token, granted.bound, head.method, url, self._settings.algorithms, now)
        self._seen.add(name, granted.bound, now)

    def _principal(self, head: Head, granted: Granted) -> Principal | Refused:
        """The tools of all the token's scopes together; no scope that the route knows is no way in."""
        known = self._settings.of(head.route)
        tools = sorted({glob for scope in granted.scopes & known.keys() for glob in known[scope]})
        if not tools:
            why = "the token has no scope for this route"
            told = metadata.challenge(self._settings, head.route, "insufficient_scope", why)
            return Refused(403, "insufficient-scope", why, told)
        # With the skew, or a token that is still good would open streams that end at once.
        return Principal(granted.name, None if "*" in tools else tuple(tools), granted.until + claims.SKEW)

    def _unknown(self, head: Head, code: str, why: str, error: str = "") -> Refused:
        proven = error == "invalid_dpop_proof"
        told = metadata.challenge(self._settings, head.route, error, why, proven=proven)
        return Refused(401, code, why, told)
