"""The token a remote server is asked with: kept from `mcp-sandbox login`, renewed where it ran out."""

from __future__ import annotations

import os
from collections.abc import Mapping

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.errors import SandboxError
    from sandbox.login.keeping import Login

MARGIN_S = 60
"""A token that ends sooner than that is renewed first."""


def token_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The access token for the server at `url`, good for the next minute at least; None without a login.

    `SandboxNotBuilt` where there was a login and it has ended: nothing is asked without what it was to have.
    """
    if not os.path.isdir(_folder(environ)):
        return None  # the usual case, and not worth one module more
    from sandbox.login import keeping

    name = _name(url)
    if name is None or not keeping.known(name, environ):
        return None
    login = keeping.load(name, environ)
    if login is None or _good(login):
        return login.secrets.access if login else None
    try:
        with keeping.alone(name, environ):
            # Another session may have renewed it while we waited.
            login = keeping.load(name, environ)
            return _renewed(login, environ) if login and not _good(login) else _access(login)
    except OSError as error:
        raise _ended(name, f"it cannot be kept: {error.strerror}") from error


def _name(url: str) -> str | None:
    """What a login at the server would be kept under; None for a URL at which there can be none."""
    from sandbox.login.address import typed
    from sandbox.login.refused import LoginRefused

    try:
        return typed(url).name
    except LoginRefused:
        return None


def _folder(environ: Mapping[str, str]) -> str:
    from sandbox.places import state_dir

    return f"{state_dir(environ)}/logins"


def _good(login: Login) -> bool:
    import time

    expires = login.secrets.expires
    return expires is None or time.time() < expires - MARGIN_S


def _access(login: Login | None) -> str | None:
    return login.secrets.access if login else None


def _renewed(login: Login, environ: Mapping[str, str]) -> str:
    from sandbox.login import keeping, renewal, ring
    from sandbox.login.refused import LoginRefused, Unreachable

    if not login.secrets.refresh:
        raise _ended(login.url, "its token has run out, and the issuer gave none to renew it with")
    try:
        fresh = renewal.renew(login, environ)
    except Unreachable as error:
        raise _later(login.url, error) from error
    except LoginRefused as error:
        raise _ended(login.url, error.what) from error
    try:
        keeping.save(fresh, environ)
    except ring.Silent as error:
        raise _ended(login.url, f"it cannot be kept: {error}") from error
    return fresh.secrets.access


def _ended(url: str, why: str) -> SandboxError:
    from sandbox.errors import SandboxNotBuilt

    return SandboxNotBuilt(
        "login-ended",
        f"the login at `{url}` has ended: {why}",
        rule="a server that was logged in to is not asked without its token",
        hint=f"mcp-sandbox login '{url}'",
    )


def _later(url: str, error: SandboxError) -> SandboxError:
    from sandbox.errors import SandboxNotBuilt

    what = f"the token for `{url}` has run out and cannot be renewed now: {error.what}"
    return SandboxNotBuilt("login-unreachable", what, hint="try again; the login itself is kept")
