"""The table `[server]` of a profile: what is started, or where a server is that runs elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field
from pydantic import model_validator as after_all

from sandbox.policy import remote
from sandbox.policy.argument_table import STRICT
from sandbox.policy.fields import HeaderName, KeyPin, Place, RemoteUrl, Seconds, Text
from sandbox.policy.model import Restart


class ServerTable(BaseModel):
    """What is started and how it speaks."""

    model_config = STRICT

    command: list[Text] = Field(
        default=[], description="Program and arguments, literally: no shell, no `$VAR`"
    )
    transport: Literal["stdio", "http"] = "stdio"
    port: int | None = Field(default=None, ge=1, le=65535)
    path: Annotated[str, Field(pattern=r"^/[!-~]*$")] | None = Field(default=None, description="`/mcp`")
    ready: Seconds | None = Field(
        default=None,
        description="Within which a server that speaks HTTP has to take a connection (30s; a `url` 3s)",
    )
    image: Annotated[str, Field(pattern=r"^[a-z0-9][!-~]*$")] | None = Field(
        default=None, description="The container's root: base, node, python, browser, or NAME@sha256:…"
    )
    unpinned: bool = Field(default=False, description="A waiver: `image` may be a tag, which can be moved")
    restart: Restart = Field(
        default="never", description="`on-crash`: start a crashed server again; never after a breach"
    )
    restarts: int = Field(
        default=5, ge=1, le=1000, description="Restarts in a row after which a crash is the end"
    )

    url: RemoteUrl | None = Field(
        default=None, description="A server that runs elsewhere, in place of `command`: `https://HOST/PATH`"
    )
    headers: dict[HeaderName, Text] = Field(
        default={}, description="Sent to `url`; `${NAME}` stands for a secret or variable of the profile"
    )
    ca: Place | None = Field(
        default=None, description="Certificates (PEM) that `url` is trusted by, in place of the system's"
    )
    pin: list[KeyPin] | None = Field(
        default=None, description="Public keys (`sha256:HEX`), of which the server at `url` has to have one"
    )

    @after_all(mode="after")
    def _elsewhere(self) -> ServerTable:
        local = self.command or self.image or self.port or self.path or self.transport == "http"
        if self.url and local:
            raise ValueError("`url` is a server that runs elsewhere: nothing that starts one goes with it")
        spelt = [name.lower() for name in self.headers]
        if twice := sorted({name for name in spelt if spelt.count(name) > 1}):
            raise ValueError(f"the header `{twice[0]}` is given twice")
        for name, value in self.headers.items():
            remote.header_value(name.lower(), value)
        return self

    @after_all(mode="after")
    def _image(self) -> ServerTable:
        if self.unpinned and not self.image:
            raise ValueError("`unpinned` waives the digest of an `image`, and none is named")
        return self

    @after_all(mode="after")
    def _http_only(self) -> ServerTable:
        if self.transport == "stdio" and (self.port or self.path):
            raise ValueError('`port` and `path` need `transport = "http"`')
        if self.transport == "stdio" and self.ready is not None and not self.url:
            raise ValueError('`ready` needs `transport = "http"`, or a `url`')
        if self.command and not self.command[0]:
            raise ValueError("`command` begins with an empty word")
        return self
