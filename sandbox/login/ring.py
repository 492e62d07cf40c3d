"""The desktop's keyring, if there is one that answers: the one file of logins that asks it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

SERVICE = "mcp-sandbox login"
SECONDS = 20.0
"""A keyring may ask a person to unlock it; one that says nothing for so long has nobody to ask."""
# A file that anybody can read who reads ours, and with looser rules about who may.
_NOT_A_KEYRING = ("keyrings.alt", "keyring.backends.null", "keyring.backends.fail")


class Silent(Exception):
    """There is no keyring, or it does not answer; the message says which."""


def answers() -> bool:
    """Whether what is put there can be had again: tried, since a library that loads says little."""
    try:
        put("a try", "kept")
        found = get("a try")
        drop("a try")
    except Silent:
        return False
    return found == "kept"


def get(name: str) -> str | None:
    """What is kept under a name."""
    found: str | None = _asked(lambda ring: ring.get_password(SERVICE, name))
    return found


def put(name: str, secret: str) -> None:
    """Keeps a secret, in place of what was kept before."""
    _asked(lambda ring: ring.set_password(SERVICE, name, secret))


def drop(name: str) -> None:
    """Keeps it no longer."""
    _asked(lambda ring: ring.delete_password(SERVICE, name))


def _asked(question: Callable[[Any], Any]) -> Any:
    """The answer, within a time; whatever goes wrong in somebody's keyring is `Silent`."""
    outcome: list[Any] = []

    def ask() -> None:
        try:
            outcome.append((question(_keyring()), None))
        except Exception as error:
            outcome.append((None, error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if not outcome:
        raise Silent("the keyring does not answer")
    answer, error = outcome[0]
    if error is not None:
        raise error if isinstance(error, Silent) else Silent(f"the keyring fails: {type(error).__name__}")
    return answer


def _keyring() -> Any:
    _find_bus()
    try:
        import keyring
    except ImportError:
        raise Silent("the keyring package is missing: pip install 'mcp-sandbox[keyring]'") from None
    found = keyring.get_keyring()
    if type(found).__module__.startswith(_NOT_A_KEYRING):
        raise Silent("there is no keyring")
    return found


def _find_bus() -> None:
    """The session's bus where a client did not pass it on (`secret_sources` does the same)."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and os.path.exists(f"{runtime}/bus"):
        os.environ.setdefault("DBUS_SESSION_BUS_ADDRESS", f"unix:path={runtime}/bus")
