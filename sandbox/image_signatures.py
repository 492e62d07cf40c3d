"""Who signed a locked image: cosign's signatures at its registry, held against the keys that a profile names.

What the registry says is asked for without any login, over https but for one on this very machine, and
bounded; whatever cannot be asked or checked is said.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from sandbox.errors import SandboxNotBuilt
from sandbox.host.lookup import home_of
from sandbox.policy.model import Policy
from sandbox.policy.paths import expand
from sandbox.records import dataclass
from sandbox.supply import cosign
from sandbox.supply.lock import ImageLock

RULE = "a key that is named under `[supply] image_keys` has signed every image that is locked"
PATIENCE_S = 10.0
ALL_S = 30.0
_DEFAULT = "registry-1.docker.io"
_ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_CHALLENGE = re.compile(r'(realm|service|scope)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Signed:
    """What is known of an image's origin, for its lock."""

    provenance: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()


def judged(locked: ImageLock, policy: Policy, environ: Mapping[str, str], cwd: str) -> Signed:
    """`signed` by the policy's own keys; where provenance is not asked for, nobody is asked."""
    if policy.supply.provenance == "off":
        return Signed()
    found = signed(locked, tuple(_place(path, environ, cwd) for path in policy.supply.image_keys))
    if policy.supply.provenance == "require" and not found.provenance:
        raise _refused(found.unchecked[0], str(policy.origin("supply.provenance")))
    return found


def _place(path: str, environ: Mapping[str, str], cwd: str) -> str:
    try:
        return expand(path, home=home_of(environ), cwd=cwd, environ=environ)
    except ValueError as error:
        raise _refused(str(error)) from error


def signed(locked: ImageLock, keys: tuple[str, ...]) -> Signed:
    """Which of the keys (PEM files) signed the image; raises where some are named and none did.

    Without a key nothing is verified: that it is signed at all is then said as unchecked.
    """
    if not locked.digest:
        return _not_at_a_registry(locked, keys)
    repository = Repository.of(locked.name)
    try:
        found = cosign.signatures(repository.manifest(cosign.tag(locked.digest)))
        by = _signers(repository, locked, found, keys)
    except Unsigned:
        found, by = (), []
    except (OSError, ValueError, HTTPException) as error:
        return _not_asked(locked, keys, error)
    if keys and not by:
        raise _refused(f"none of the {len(found)} signatures of the image `{locked.name}` is by a named key")
    return Signed(
        tuple(f"cosign: signed by `{key}`" for key in by), () if by else (_unverified(locked, found),)
    )


def _not_at_a_registry(locked: ImageLock, keys: tuple[str, ...]) -> Signed:
    what = f"the image `{locked.name}` is of no registry, so nobody can have signed it there"
    if keys:
        raise _refused(what)
    return Signed(unchecked=(what,))


def _not_asked(locked: ImageLock, keys: tuple[str, ...], error: Exception) -> Signed:
    reason = " ".join(str(getattr(error, "reason", error)).split())[:200]
    what = f"the registry of the image `{locked.name}` cannot be asked for signatures: {reason}"
    if keys:
        raise _refused(what) from error
    return Signed(unchecked=(what,))


def _refused(what: str, rule: str = RULE) -> SandboxNotBuilt:
    return SandboxNotBuilt("image-not-signed", what, rule=rule, hint="mcp-sandbox profile schema")


def _unverified(locked: ImageLock, found: tuple[cosign.Signature, ...]) -> str:
    if not found:
        return f"the image `{locked.name}` has no signature of cosign's at its registry"
    if all(one.keyless for one in found):
        return f"the image `{locked.name}` is signed for an identity (keyless), which is not verified"
    return f"the image `{locked.name}` is signed, and `[supply] image_keys` names no key to verify it with"


def _signers(
    repository: Repository, locked: ImageLock, found: tuple[cosign.Signature, ...], keys: tuple[str, ...]
) -> list[str]:
    """The named keys by which a signature is that is about this very image."""
    known = {path: _key(path) for path in keys}
    by: dict[str, None] = {}
    for one in found if known else ():
        payload = repository.blob(one.payload)
        for path, key in known.items():
            if cosign.signed_by(key, payload, one.signature) and cosign.names(payload, locked.digest):
                by[path] = None
    return list(by)


def _key(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            key = file.read(1 << 16)
        cosign.signed_by(key, b"", b"")
    except (OSError, ValueError) as error:
        raise _refused(f"`{path}` is no public key (PEM): {error}") from error
    except ImportError as error:
        what = "verifying a signature needs the package `cryptography`"
        raise SandboxNotBuilt(
            "no-cryptography", what, hint="pip install 'mcp-sandbox[provenance]'"
        ) from error
    return key


# --- the registry ----------------------------------------------------------------------------------


class Unsigned(Exception):
    """The registry has nothing under that tag."""


class _Https(urllib.request.HTTPRedirectHandler):
    """A registry may send us elsewhere for a blob, but not to what can be read on the way."""

    def redirect_request(self, *args: Any) -> urllib.request.Request | None:
        request, url = args[0], str(args[-1])
        if not url.startswith("https://") and request.full_url.startswith("https://"):
            raise urllib.error.URLError("it leads to an address without https")
        return super().redirect_request(*args)


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository of a registry, as anybody may read it."""

    base: str
    """`https://HOST/v2/PATH`"""

    @classmethod
    def of(cls, name: str) -> Repository:
        """Of an image's name, by the rule of every engine: a first part with a dot or a port is a host."""
        place = name.partition("@")[0]
        head, slash, rest = place.partition("/")
        if not slash or not ("." in head or ":" in head or head == "localhost"):
            head, rest = _DEFAULT, place if slash else f"library/{place}"
        elif head in ("docker.io", "index.docker.io"):
            head = _DEFAULT
            rest = rest if "/" in rest else f"library/{rest}"
        folder, slash, last = rest.rpartition("/")
        path = f"{folder}{slash}{last.partition(':')[0]}"
        local = head.rpartition(":")[0] in _LOCAL or head in _LOCAL
        return cls(f"{'http' if local else 'https'}://{head}/v2/{urllib.parse.quote(path)}")

    def manifest(self, tag: str) -> bytes:
        """The manifest under a tag; raises Unsigned where there is none."""
        return self._get(f"{self.base}/manifests/{tag}")

    def blob(self, digest: str) -> bytes:
        """The blob of that SHA-256; ValueError where the registry has another."""
        content = self._get(f"{self.base}/blobs/{urllib.parse.quote(digest, safe=':')}")
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise ValueError(f"`{digest[:80]}` has another hash")
        return content

    def _get(self, url: str) -> bytes:
        try:
            return _asked(url, {"Accept": _ACCEPT})
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    raise Unsigned from None
                if error.code != 401:
                    raise
                challenge = error.headers.get("WWW-Authenticate", "")
        try:
            return _asked(url, {"Accept": _ACCEPT, "Authorization": f"Bearer {self._token(challenge)}"})
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    raise Unsigned from None
                raise

    def _token(self, challenge: str) -> str:
        """A token that the registry gives to anybody."""
        said: Mapping[str, str] = dict(_CHALLENGE.findall(challenge))
        realm = said.get("realm", "")
        if not realm.startswith("https://"):
            raise ValueError("it wants a login")
        query = urllib.parse.urlencode({name: said[name] for name in ("service", "scope") if name in said})
        answer = json.loads(_asked(f"{realm}?{query}", {}))
        token = answer.get("token") or answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise ValueError("it wants a login")
        return token


def _asked(url: str, headers: Mapping[str, str]) -> bytes:
    request = urllib.request.Request(url)  # noqa: S310 - https, or this machine's own registry
    for name, value in headers.items():
        request.add_unredirected_header(name, value)  # a token is the registry's, not its storage's
    until = time.monotonic() + ALL_S
    content = b""
    with urllib.request.build_opener(_Https).open(request, timeout=PATIENCE_S) as answer:
        while piece := answer.read1(1 << 16):
            content += piece
            if len(content) > cosign.MOST_BYTES:
                raise ValueError("it answers with more than a signature can have")
            if time.monotonic() > until:
                raise ValueError(f"it takes longer than {ALL_S:.0f} s")
    return content
