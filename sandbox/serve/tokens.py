"""Bearer tokens: a file of ours with one line a client, and whether a request has one of them."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Mapping

from sandbox.errors import UsageError
from sandbox.places import state_dir
from sandbox.serve.words import Head, Principal, Refused, Reply

SHORTEST = 32
"""Signs of a token: fewer could be guessed by trying."""
FILE_MAX = 1 << 20
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_BEARER = re.compile(r"bearer +([^ ]{1,4096})", re.I)
_CHALLENGE = (("WWW-Authenticate", 'Bearer realm="mcp-sandbox"'),)
_INVALID = (("WWW-Authenticate", 'Bearer realm="mcp-sandbox", error="invalid_token"'),)


class Tokens:
    """The default `Authenticator`: who has a token is whom its line names."""

    def __init__(self, named: Mapping[str, str]) -> None:
        """`named` is a name for each token."""
        self._known = [(_digest(token), Principal(name)) for token, name in named.items()]

    async def check(self, head: Head) -> Principal | Refused:
        """Compares with every token there is, so that the time says nothing of any (RFC 6750)."""
        given = head.headers.get("authorization")
        if given is None:
            return Refused(401, "no-token", "a bearer token is needed", _CHALLENGE)
        bearer = _BEARER.fullmatch(given)
        digest = _digest(bearer[1] if bearer else "")
        found = [who for known, who in self._known if hmac.compare_digest(known, digest)]
        if not bearer or not found:
            return Refused(401, "bad-token", "the bearer token is not known", _INVALID)
        return found[0]

    async def document(self, path: str) -> Reply | None:
        """Nothing is told of tokens."""
        return None


class Nobody:
    """Over a unix socket, whose peers were asked for their uid when they came: all of them are its owner."""

    def __init__(self, uid: int) -> None:
        self._principal = Principal(f"uid:{uid}")

    async def check(self, head: Head) -> Principal | Refused:
        """The owner."""
        return self._principal

    async def document(self, path: str) -> Reply | None:
        """There is nothing to know."""
        return None


def _digest(token: str) -> bytes:
    # Of equal length, whatever the lengths of what is compared.
    return hashlib.sha256(token.encode("latin-1", "replace")).digest()


# --- the file -------------------------------------------------------------------------------------------


def usual_path(environ: Mapping[str, str]) -> str:
    """Where the token is that nobody named a place for."""
    return f"{state_dir(environ)}/serve/token"


def obtain(path: str) -> tuple[dict[str, str], str]:
    """The names by token of a file, which is made where it is not there; and the token that was made."""
    try:
        return parse(_read(path), path), ""
    except FileNotFoundError:
        token = secrets.token_urlsafe(32)
        _write(path, f"local {token}\n")
        return {token: "local"}, token
    except OSError as error:
        raise UsageError("token-file", f"cannot read `{path}`: {error.strerror}") from error


def _read(path: str) -> str:
    """The text of a file that nobody else can read; opened before it is looked at."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError("token-file", f"`{path}` is not a regular file")
        if status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o077:
            raise UsageError("token-file", f"`{path}` is open to other users", hint=f"chmod 600 {path}")
        text = file.read(FILE_MAX + 1)
    if len(text) > FILE_MAX:  # the beginning of a token would be one
        raise UsageError("token-file", f"`{path}` has more than {FILE_MAX >> 20} MiB")
    return text.decode("utf-8", "replace")


def _write(path: str, text: str) -> None:
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o700, exist_ok=True)
        # O_EXCL: whatever came to stand there since is not ours to write into.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:
            file.write(text)
    except OSError as error:
        raise UsageError("token-file", f"cannot write `{path}`: {error.strerror}") from error


def parse(text: str, path: str) -> dict[str, str]:
    """The name of each token: lines of `NAME TOKEN`, or of one token alone, which is `local`'s."""
    named: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        name, token = words if len(words) == 2 else ("local", words[0])
        _check(name, token, len(words), f"line {number} of `{path}`")
        if token in named:
            raise UsageError("token-file", f"line {number} of `{path}` has a token that was there before")
        named[token] = name
    if not named:
        raise UsageError("token-file", f"`{path}` has no token", hint=f"rm {path}  # a new one is made then")
    return named


def _check(name: str, token: str, words: int, where: str) -> None:
    """The message never has the line in it: it may be a secret with a slip."""
    if words > 2 or not _NAME.fullmatch(name):
        raise UsageError("token-file", f"{where} is not `NAME TOKEN`")
    if not _TOKEN.fullmatch(token) or len(token) < SHORTEST:
        what = f"{where} has no token of at least {SHORTEST} letters, digits and `._~+/-`"
        raise UsageError("token-file", what, hint="openssl rand -hex 32")
