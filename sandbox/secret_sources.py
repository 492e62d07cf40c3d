"""Reads the secrets that a profile grants, at launch; a value is in no event, plan, cache or message."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sandbox.errors import SandboxNotBuilt

COMMAND_TIMEOUT_S = 30
LARGEST = 1 << 16


def read(secrets: tuple[tuple[str, str], ...], environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Variable and value for every (variable, source); raises what is missing, by name."""
    return tuple((name, _value(name, source, environ)) for name, source in secrets)


def _value(name: str, source: str, environ: Mapping[str, str]) -> str:
    kind, _, rest = source.partition(":")
    if kind == "env":
        value = environ.get(rest or name, "")
    elif kind == "file":
        value = _file(name, os.path.expanduser(rest))
    elif kind == "command":
        value = _command(name, rest)
    elif kind == "keyring":
        value = _keyring(name)
    else:
        raise _missing(name, f"its source `{source}` is not env, keyring, file:PATH or command:…")
    if not value or "\0" in value:
        raise _missing(name, f"`{source}` gave no value")
    return value


def _file(name: str, path: str) -> str:
    try:
        with open(path) as file:
            return file.read(LARGEST).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _missing(name, f"`{path}` cannot be read: {error}") from error


def _command(name: str, line: str) -> str:
    # Imported here: 13 ms that a server without such a secret need not wait for.
    import shlex
    import subprocess

    try:
        done = subprocess.run(  # noqa: S603 - the user's own profile names the program
            shlex.split(line), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=COMMAND_TIMEOUT_S, check=True,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise _missing(name, f"`{line}` failed: {type(error).__name__}") from error
    return done.stdout.rstrip("\r\n")


def _keyring(name: str) -> str:
    try:
        import keyring
    except ImportError as error:
        hint = "pip install 'mcp-sandbox[keyring]'"
        raise SandboxNotBuilt(
            "secret-missing", f"secret `{name}` needs the keyring package", hint=hint
        ) from error
    # Clients pass no variable of the session's on, and by this one the keyring's library finds the bus.
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and os.path.exists(f"{runtime}/bus"):
        os.environ.setdefault("DBUS_SESSION_BUS_ADDRESS", f"unix:path={runtime}/bus")
    return keyring.get_password("mcp-sandbox", name) or ""


def _missing(name: str, why: str) -> SandboxNotBuilt:
    return SandboxNotBuilt("secret-missing", f"secret `{name}` cannot be given to the server: {why}")
