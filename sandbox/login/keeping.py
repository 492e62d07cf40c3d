"""Where a login is kept: a private file, its secrets in the keyring instead where one answers."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sandbox.digest import sha256
from sandbox.errors import SandboxNotBuilt
from sandbox.login import ring
from sandbox.places import state_dir
from sandbox.policy.cache import replace_private

FOLDER = "logins"
LARGEST = 256 << 10
LOCK_S = 30.0
"""How long one waits for another that renews the same token: longer than a question may take."""
_PAUSE_S = 0.05
_NAME_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Secrets:
    """What must not be seen; `expires` is in seconds of the epoch, None where nothing was said."""

    access: str = field(repr=False)
    refresh: str = field(default="", repr=False)
    client: str = field(default="", repr=False)
    expires: int | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """One login at one server, with all that renewing and ending it takes."""

    url: str
    issuer: str
    resource: str
    client_id: str
    method: str
    token_endpoint: str
    revocation_endpoint: str = ""
    scopes: str = ""
    private: bool = False
    ca: str = ""
    kept: str = "file"
    secrets: Secrets = field(default=Secrets(""), repr=False)


def path_of(url: str, environ: Mapping[str, str]) -> str:
    """The file of the login at one server, by the canonical spelling of its URL."""
    name = sha256(url.encode()).hexdigest()[:_NAME_DIGITS]
    return os.path.join(state_dir(environ), FOLDER, f"{name}.json")


def known(url: str, environ: Mapping[str, str]) -> bool:
    """Whether there is a login, at the cost of one look."""
    return os.path.lexists(path_of(url, environ))


def load(url: str, environ: Mapping[str, str]) -> Login | None:
    """The login at a server, with its secrets; one that cannot be trusted stops the start."""
    path = path_of(url, environ)
    try:
        found = _read(path)
        if found.url != url:
            raise ValueError("it is of another server")
        if found.kept == "file":
            return found
        held = ring.get(url)
        return replace(found, secrets=_record(Secrets, json.loads(held or "{}")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ring.Silent) as error:
        raise _unusable(path, error) from None


def scopes(url: str, environ: Mapping[str, str]) -> str:
    """What the login at a server may, as far as a file says that can be trusted."""
    with suppress(OSError, ValueError):
        return _read(path_of(url, environ)).scopes
    return ""


def every(environ: Mapping[str, str]) -> list[Login]:
    """All logins, without what is in the keyring; what cannot be read is left out."""
    folder = os.path.join(state_dir(environ), FOLDER)
    found = []
    with suppress(OSError):
        for name in sorted(os.listdir(folder)):
            with suppress(OSError, ValueError):
                found += [_read(os.path.join(folder, name))] if name.endswith(".json") else []
    return found


def save(login: Login, environ: Mapping[str, str]) -> None:
    """Keeps a login, whole or not at all, where `kept` says; `OSError` or `ring.Silent` where that fails."""
    body: dict[str, Any] = {"schema": 1, **asdict(login)}
    if login.kept == "keyring":
        ring.put(login.url, json.dumps(body.pop("secrets")))
    replace_private(path_of(login.url, environ), json.dumps(body).encode())


def forget(url: str, environ: Mapping[str, str]) -> None:
    """Nothing of a login is left; `ring.Silent` where that could not be had of the keyring."""
    path = path_of(url, environ)
    try:
        with suppress(OSError, ValueError):
            if _read(path).kept == "keyring":
                ring.drop(url)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)


@contextmanager
def alone(url: str, environ: Mapping[str, str], seconds: float = LOCK_S) -> Iterator[None]:
    """Nobody else renews or changes this login meanwhile: a refresh token may be good for one use."""
    path = path_of(url, environ).removesuffix(".json") + ".lock"
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _lock(fd, time.monotonic() + seconds)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, until: float) -> None:
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise OSError(errno.ETIMEDOUT, "another process has held its lock for too long") from None
            time.sleep(_PAUSE_S)


def _read(path: str) -> Login:
    """What is in a file that is ours alone; `ValueError` says why it counts for nothing."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        held = os.fstat(fd)
        if held.st_uid != os.geteuid() or stat.S_IMODE(held.st_mode) & 0o077:
            raise ValueError("others can read or write it")
        if not stat.S_ISREG(held.st_mode) or held.st_size > LARGEST:
            raise ValueError("it is no file of a login")
        body = json.loads(file.read(LARGEST))
    if not isinstance(body, dict) or body.pop("schema", None) != 1:
        raise ValueError("it was written by another version")
    secrets = _record(Secrets, body.pop("secrets", {"access": ""}))
    found: Login = replace(_record(Login, body), secrets=secrets)
    return found


def _record(kind: Any, body: Any) -> Any:
    try:
        return kind(**body)
    except TypeError:
        raise ValueError("it was written by another version, or is not whole") from None


def _unusable(path: str, error: Exception) -> SandboxNotBuilt:
    why = (error.strerror or "") if isinstance(error, OSError) else str(error)
    return SandboxNotBuilt(
        "login-unusable",
        f"the login kept in `{path}` cannot be used: {why}",
        rule="a server that was logged in to is not asked without its token",
        hint="`mcp-sandbox logout URL`, then `mcp-sandbox login URL`",
    )
