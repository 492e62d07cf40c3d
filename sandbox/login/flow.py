"""One login from its URL to the tokens that are kept, and its end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sandbox.errors import SandboxError
from sandbox.login import browser, discovery, enrolment, grant, keeping, renewal, ring
from sandbox.login.address import Address, Reach, typed
from sandbox.login.discovery import Found
from sandbox.login.fetch import Asking
from sandbox.login.listener import Listener
from sandbox.login.metadata import scopes
from sandbox.login.refused import LoginRefused, shown

PATIENCE_S = 300.0
"""How long a person has for the browser's part."""
CALLBACK = "/callback"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for, as typed."""

    url: str
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    scope: str = ""
    issuer: str = ""
    port: int = 0
    ca: str = ""
    private: bool = False
    browser: bool = True
    terminal: int | None = None
    patience: float = PATIENCE_S


def login(wish: Wish, environ: Mapping[str, str], say: Say) -> keeping.Login:
    """Carries a login through and keeps it; `LoginRefused` where anything about it is not as it has to be."""
    server = typed(wish.url)
    asking = Asking(Reach(loopback=server.loopback, private=wish.private), environ, wish.ca)
    found = discovery.discover(asking, server, wish.issuer)
    # A client made for this login has a path of its own too, so that no issuers are mixed up (RFC 9700 4.4).
    path = CALLBACK if wish.client_id else f"{CALLBACK}/{secrets.token_urlsafe(16)}"
    with _listener(path, wish.port) as listener:
        wanted = _wanted(wish, asking, found, listener.redirect, keeping.scopes(server.name, environ))
        code = _authorized(wish, environ, found, wanted, listener, say)
    fields = grant.redeemed(wanted, code)
    tokens = renewal.tokens_from(asking, found.issuer.token, fields, wanted.client, found.issuer.name)
    return _kept(_login(wish, server, found, wanted, tokens), environ)


def logout(url: str, environ: Mapping[str, str]) -> bool:
    """Forgets a login; whether its issuer agreed that the tokens are good for nothing any more."""
    name = typed(url).name
    if not keeping.known(name, environ):
        raise LoginRefused("login-unknown", f"there is no login at `{name}`", hint="mcp-sandbox login --list")
    with keeping.alone(name, environ):
        try:
            kept = keeping.load(name, environ)
            ended = kept is not None and renewal.revoke(kept, environ)
        except SandboxError:
            ended = False  # what cannot be read can still be forgotten
        _forget(name, environ)
    return ended


def _forget(name: str, environ: Mapping[str, str]) -> None:
    try:
        keeping.forget(name, environ)
    except (OSError, ring.Silent) as error:
        what = f"the login at `{name}` is used no longer, but a secret of it is left: {shown(error)}"
        raise LoginRefused(
            "login-not-forgotten", what, hint=f"look for `{ring.SERVICE}` in your keyring"
        ) from error


def _listener(path: str, port: int) -> Listener:
    try:
        return Listener(path, port)
    except OSError as error:
        what = f"port {port or 'any'} of 127.0.0.1 cannot be listened on: {error.strerror}"
        raise LoginRefused("login-port", what, hint="another `--port`") from error


def _wanted(wish: Wish, asking: Asking, found: Found, redirect: str, had: str) -> grant.Wanted:
    # Who is told that more is needed (403) wants that besides what they have.
    asked = scopes(f"{had} {wish.scope}") if wish.scope else found.scopes
    if "offline_access" in found.issuer.scopes and not wish.scope:
        asked = tuple(dict.fromkeys((*asked, "offline_access")))  # else some give nothing to renew with
    if wish.client_id:
        client = enrolment.given(found.issuer, wish.client_id, wish.client_secret)
    else:
        client = enrolment.made(asking, found.issuer, redirect, asked)
    return grant.Wanted(
        client, redirect, found.resource, asked, secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    )


def _authorized(
    wish: Wish, environ: Mapping[str, str], found: Found, wanted: grant.Wanted, listener: Listener, say: Say
) -> str:
    """The code that the browser brings, once it brings the right one."""
    page = grant.page(found.issuer, wanted, Reach(loopback=typed(wish.url).loopback, private=wish.private))
    for line in told(wish.url, found, wanted, page):
        say(line)
    if wish.browser and browser.show(page, environ):
        say("a browser was asked to show it")
    query = listener.wait(lambda one: grant.belongs(one, wanted.state), wish.patience, wish.terminal)
    if query is None:
        what = f"nobody logged in within {wish.patience:.0f} s"
        raise LoginRefused("login-timeout", what, hint="mcp-sandbox login URL --no-browser")
    return grant.code_of(query, found.issuer)


def told(url: str, found: Found, wanted: grant.Wanted, page: Address) -> list[str]:
    """What a person should know before they type a password, and where."""
    asks = ", ".join(shown(one) for one in wanted.scopes[:20]) or "what the issuer gives by itself"
    return [
        f"`{shown(url)}` has its logins at `{shown(found.issuer.name)}`; the page is on `{page.authority}`",
        f"the token is for `{shown(found.resource)}`, and may: {asks}",
        f"open this address, if no browser does by itself:\n{page}",
    ]


def _login(
    wish: Wish, server: Address, found: Found, wanted: grant.Wanted, tokens: grant.Tokens
) -> keeping.Login:
    client, issuer = wanted.client, found.issuer
    return keeping.Login(
        url=server.name,
        issuer=issuer.name,
        resource=found.resource,
        client_id=client.id,
        method=client.method,
        token_endpoint=str(issuer.token),
        revocation_endpoint=str(issuer.revocation or ""),
        scopes=tokens.scopes or " ".join(wanted.scopes),
        private=wish.private,
        ca=wish.ca,
        kept="keyring" if ring.answers() else "file",
        secrets=keeping.Secrets(tokens.access, tokens.refresh, client.secret, renewal.until(tokens)),
    )


def _kept(login: keeping.Login, environ: Mapping[str, str]) -> keeping.Login:
    try:
        with keeping.alone(login.url, environ):
            keeping.save(login, environ)
    except (OSError, ring.Silent) as error:
        raise LoginRefused("login-not-kept", f"the login cannot be kept: {shown(error)}") from error
    return login
