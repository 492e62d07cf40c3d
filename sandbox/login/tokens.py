"""The token that a remote server is asked with: kept from `mcp-sandbox login`, renewed where it has run out."""

from __future__ import annotations

from collections.abc import Mapping


def token_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The access token for the server at `url`, good for the next minute at least; None without a login.

    `SandboxNotBuilt` where there was a login and it has ended: nothing is asked without what it was to have.
    """
    del url, environ  # stands until there is a login
    return None
