"""What a server and an issuer say during a login is fuzzed: it leads to plain addresses, or is refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fuzzing.promises import Broken
from sandbox.login import challenge, grant, metadata
from sandbox.login.address import Reach, checked, typed
from sandbox.login.refused import LoginRefused
from sandbox.wire.strict import Refusal, read_object

_SERVER = typed("https://mcp.example/a/mcp")
_AWAY = Reach()
_NAME = "https://as.example"
_ISSUER: dict[str, Any] = {
    "issuer": _NAME,
    "authorization_endpoint": f"{_NAME}/authorize",
    "token_endpoint": f"{_NAME}/token",
    "code_challenge_methods_supported": ["S256"],
}
_TOKENS = {"access_token": "a", "token_type": "bearer"}
# What is plain in a URL; the rest means something to a shell, a terminal or another parser of URLs.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%+@:=,/?&[]")


def logins(data: bytes) -> None:
    """No address that a shell could misread, no word that no header carries, and no fault of another kind."""
    text = data.decode("utf-8", "replace")
    for said in (challenge.bearer([text]), challenge.bearer([f"Bearer {text}"])):
        _hold_words(metadata.scopes(said.get("scope")))
    for one in (text, f"https://as.example/{text}", f"https://{text}/"):
        with suppress(LoginRefused):
            _hold_address(str(checked(one, "it", _AWAY)))
    grant.belongs(text, "state")
    with suppress(LoginRefused):
        grant.code_of(text, metadata.issuer_of(_ISSUER, _NAME, _AWAY))
    with suppress(Refusal):
        _hold_document(read_object(data))


def _hold_document(found: dict[str, Any]) -> None:
    with suppress(LoginRefused):
        resource = metadata.resource_of({"resource": str(_SERVER), **found}, _SERVER)
        if not resource.name.startswith("https://mcp.example"):
            raise Broken("a token for another origin")
    with suppress(LoginRefused):
        issuer = metadata.issuer_of({**_ISSUER, **found}, _NAME, _AWAY)
        wanted = grant.Wanted(
            grant.Client("c"), "http://127.0.0.1:1/c", str(_SERVER), issuer.scopes, "s", "v"
        )
        _hold_address(str(grant.page(issuer, wanted, _AWAY)))
    with suppress(LoginRefused):
        tokens = grant.tokens_of({**_TOKENS, **found}, _NAME)
        _hold_words((tokens.access,))


def _hold_address(text: str) -> None:
    if not text.startswith("https://") or not _PLAIN.issuperset(text) or "&" in text.partition("?")[0]:
        raise Broken("an address that is not plain")
    if str(checked(text, "it", _AWAY)) != text:
        raise Broken("an address with two spellings")


def _hold_words(words: tuple[str, ...]) -> None:
    if not all(word.isascii() and word.isprintable() and word and " " not in word for word in words):
        raise Broken("a word that is not fit for a header")
