"""A server of the Python SDK's that is its own issuer: `sdk_issuer.py CERT LASTS` on a port of its choice.

Nothing of it is ours but what it keeps in memory; everybody who asks is let in. It says its port on stdout.
"""

from __future__ import annotations

import secrets
import socket
import sys
import time

import uvicorn
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

Client = OAuthClientInformationFull


class Memory:
    """Clients, codes and tokens (`OAuthAuthorizationServerProvider`)."""

    def __init__(self, lasts: int) -> None:
        self._lasts = lasts
        self._clients: dict[str, Client] = {}
        self._codes: dict[str, AuthorizationCode] = {}
        self._accesses: dict[str, AccessToken] = {}
        self._refreshes: dict[str, RefreshToken] = {}

    async def get_client(self, client_id: str) -> Client | None:
        return self._clients.get(client_id)

    async def register_client(self, client_info: Client) -> None:
        self._clients[str(client_info.client_id)] = client_info

    async def authorize(self, client: Client, params: AuthorizationParams) -> str:
        code = AuthorizationCode(
            code=secrets.token_urlsafe(32),
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=str(client.client_id),
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        self._codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(
        self, client: Client, authorization_code: str
    ) -> AuthorizationCode | None:
        return self._codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: Client, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self._codes[authorization_code.code]
        return self._given(client, authorization_code.scopes, authorization_code.resource)

    async def load_refresh_token(self, client: Client, refresh_token: str) -> RefreshToken | None:
        return self._refreshes.get(refresh_token)

    async def exchange_refresh_token(
        self, client: Client, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        del self._refreshes[refresh_token.token]
        return self._given(client, scopes, None)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self._accesses.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self._refreshes.pop(token.token, None)
        self._accesses.clear()

    def _given(self, client: Client, scopes: list[str], resource: str | None) -> OAuthToken:
        name, access, refresh = str(client.client_id), secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._accesses[access] = AccessToken(
            token=access,
            client_id=name,
            scopes=scopes,
            expires_at=int(time.time()) + self._lasts,
            resource=resource,
        )
        self._refreshes[refresh] = RefreshToken(token=refresh, client_id=name, scopes=scopes)
        return OAuthToken(
            access_token=access, refresh_token=refresh, expires_in=self._lasts, scope=" ".join(scopes)
        )


def main(cert: str, lasts: str) -> None:
    """Serves until it is killed."""
    sock = socket.create_server(("127.0.0.1", 0))
    origin = f"https://localhost:{sock.getsockname()[1]}"
    settings = AuthSettings(
        issuer_url=origin,  # type: ignore[arg-type]
        resource_server_url=f"{origin}/mcp",  # type: ignore[arg-type]
        client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=["tools"]),
        revocation_options=RevocationOptions(enabled=True),
        required_scopes=["tools"],
        validate_token_resource=False,
    )
    server = MCPServer("sdk", auth_server_provider=Memory(int(lasts)), auth=settings)

    @server.tool()
    def greet(name: str) -> str:
        """Greets."""
        return f"hello {name}"

    config = uvicorn.Config(server.streamable_http_app(), ssl_certfile=cert, log_level="warning")
    sys.stdout.write(f"{sock.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[sock])


if __name__ == "__main__":
    main(*sys.argv[1:])
