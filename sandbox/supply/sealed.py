"""What starts from locks remember in the cache: believed only with a seal whose key lies beside the locks.

Whoever can write the cache and not the user's settings makes no start believe anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sandbox.digest import sha256
from sandbox.places import cache_dir
from sandbox.policy import cache
from sandbox.supply import accepted

_HEX = 64


def recall(name: str, environ: Mapping[str, str]) -> bytes:
    """What was kept under that name; nothing where it is not there or not ours."""
    key = accepted.seal(environ)
    content = cache.read_private(_path(name, environ))
    if not key or content[:_HEX] != _seal(key, name, content[_HEX:]):
        return b""
    return content[_HEX:]


def keep(name: str, content: bytes, environ: Mapping[str, str]) -> None:
    """Remembers it; what cannot be written costs time, never a start."""
    key = accepted.seal(environ)
    if key:
        try:
            cache.replace_private(_path(name, environ), _seal(key, name, content) + content)
        except OSError:
            return


def _path(name: str, environ: Mapping[str, str]) -> str:
    return os.path.join(cache_dir(environ), "locks", name)


def _seal(key: bytes, name: str, content: bytes) -> bytes:
    """A keyed hash; twice, so that nobody lengthens what was sealed (as RFC 2104 does)."""
    inner = sha256(key + name.encode() + b"\0" + content).digest()
    return str(sha256(key + inner).hexdigest()).encode()
