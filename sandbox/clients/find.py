"""Which clients' files this machine has."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.clients.words import Found


def find(home: str, platform: str, environ: Mapping[str, str], cwd: str) -> list[Found]:
    """Every file of every client for this user, this system (`sys.platform`) and the project of `cwd`."""
    raise NotImplementedError


def content(path: str) -> bytes:
    """The bytes of a regular file of at most `codec.MAX_BYTES`, or a `ConfigError`."""
    raise NotImplementedError
